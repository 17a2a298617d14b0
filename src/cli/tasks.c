/* tasks.c -- the threads of a process, and how busy they are. */
#include "cli/tasks.h"

#include "cli/instant.h"
#include "cli/procfs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "TID (NAME) STATE …", times of the user and of the kernel being the 12th and 13th word from the
 * state on. A name may contain brackets: the last one ends it. */
static bool parse(struct task *task, const char *stat)
{
    const char *name = strchr(stat, '('), *end = strrchr(stat, ')');
    if (name == NULL || end == NULL || end < name)
        return false;
    snprintf(task->name, sizeof(task->name), "%.*s", (int)(end - name - 1), name + 1);
    unsigned long user, kernel;
    if (sscanf(end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &task->state, &user,
               &kernel) != 3)
        return false;
    task->ticks = user + kernel;
    return true;
}

static int compare_tids(const void *a, const void *b)
{
    const struct task *left = a, *right = b;
    return (left->tid > right->tid) - (left->tid < right->tid);
}

static void set_share(struct task *task, const struct tasks *before, uint64_t now)
{
    const struct task *old = before->count == 0 ? NULL
                                                : bsearch(task, before->list, before->count,
                                                          sizeof(*task), compare_tids);
    double seconds = (double)(now - before->read_ns) / (double)NS_PER_SECOND;
    if (old != NULL && seconds > 0 && task->ticks >= old->ticks)
        task->share = (double)(task->ticks - old->ticks) / (double)sysconf(_SC_CLK_TCK) / seconds;
}

void tasks_read(struct tasks *tasks, int pid)
{
    struct procfs_numbers tids = procfs_numbers("/proc/%d/task", pid);
    struct tasks fresh = {.list = calloc(tids.count + 1, sizeof(struct task)),
                          .read_ns = instant_now()};
    for (size_t i = 0; i < tids.count && fresh.list != NULL; i++) {
        char stat[1024];
        struct task *task = &fresh.list[fresh.count];
        task->tid = tids.list[i];
        if (!procfs_read(stat, sizeof(stat), "/proc/%d/task/%d/stat", pid, task->tid) ||
            !parse(task, stat))
            continue;
        set_share(task, tasks, fresh.read_ns);
        fresh.count++;
    }
    free(tids.list);
    tasks_free(tasks);
    *tasks = fresh;
}

void tasks_free(struct tasks *tasks)
{
    free(tasks->list);
    *tasks = (struct tasks){0};
}
