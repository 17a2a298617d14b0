/* task.c -- the kernel's list of threads.
 *
 * The library learns of most threads from its wrapper of pthread_create, but not of all: libc
 * starts some behind its own doors, and a program may call clone(2). Stopping the world is sound
 * only if it stops every thread that can write memory, so the list that counts is the kernel's.
 *
 * Traps
 *   - The list is not a snapshot. A thread that starts or ends while it is read may be missed, and
 *     a thread's end can make the kernel skip or repeat a neighbour. Who needs a complete list
 *     repeats it until two readings agree and nobody listed is still running.
 *   - A main thread that has called pthread_exit stays listed, as a zombie ('Z').
 *   - The name in the stat file may hold blanks and parentheses: the state follows the *last* ')'.
 *
 * Thread safety: no state. */
#include "sys/task.h"

#include "base/check.h"
#include "sys/directory.h"
#include "sys/print.h"
#include "sys/proc_text.h"
#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
    /* "2147483647 (fifteen letters!) S", with ample room for longer names. */
    STAT_MAX = 128,
    /* Bytes of the status file that are read at a time, and kept: the lines of signals take 100. */
    STATUS_PIECE = 2048,
    STATUS_CARRY = 256,
};

/* The number a name spells, or 0 for "." and "..": no thread has id 0. */
int32_t task_of_name(const char *name)
{
    uint32_t tid = 0;
    for (; *name >= '0' && *name <= '9'; name++)
        tid = tid * 10 + (uint32_t)(*name - '0');
    return *name == '\0' ? (int32_t)tid : 0;
}

struct list {
    int32_t *tids;
    size_t capacity, count;
};

static bool take_entry(const char *name, void *data)
{
    struct list *list = data;
    int32_t tid = task_of_name(name);
    if (tid == 0)
        return true;
    if (list->count < list->capacity)
        list->tids[list->count] = tid;
    list->count++;
    return true;
}

long task_list(int32_t *tids, size_t capacity)
{
    struct list list = {tids, capacity, 0};
    bool read = directory_each("/proc/self/task", take_entry, &list);
    return read && list.count > 0 ? (long)list.count : -1;
}

/* The directory has a link for each, and two as any. */
long task_count(void)
{
    struct stat s;
    long result = syscall4(__NR_newfstatat, AT_FDCWD, (long)"/proc/self/task", (long)&s, 0);
    return result == 0 ? (long)s.st_nlink - 2 : -1;
}

struct task_path task_path(int32_t tid, const char *folder, const char *name)
{
    struct printer p;
    struct task_path path;
    printer_start(&p, -1);
    if (tid == 0)
        printer_printf(&p, "/proc/thread-self/%s", folder);
    else
        printer_printf(&p, "/proc/self/task/%d/%s", tid, folder);
    if (name != NULL)
        printer_printf(&p, "/%s", name);
    GC_CHECK(p.used < sizeof path.text);
    memcpy(path.text, p.text, p.used + 1);
    return path;
}

char task_state(int32_t tid)
{
    char text[STAT_MAX];
    if (tid == 0)
        return 0;
    struct task_path path = task_path(tid, "stat", NULL);
    long fd = syscall3(__NR_open, (long)path.text, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd == -ENOENT || fd == -ESRCH ? 0 : '?';
    long got = syscall3(__NR_read, fd, (long)text, sizeof text - 1);
    syscall1(__NR_close, fd);
    if (got <= 0)
        return got == 0 || got == -ESRCH ? 0 : '?'; /* it ended between open and read */
    text[got] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' ? name_end[2] : 0;
}

bool task_lives(int32_t tid)
{
    char state = task_state(tid);
    return state != 0 && state != 'Z' && state != 'X';
}

static bool find_set(const char *text, const char *key, uint64_t *set)
{
    const char *rest = proc_text_hex(text, key, set);
    return rest != NULL && *rest == '\n';
}

static bool find_signals(const char *text, struct task_signals *out)
{
    return find_set(text, "\nSigPnd:", &out->pending) &&
           find_set(text, "\nShdPnd:", &out->pending_for_all) &&
           find_set(text, "\nSigBlk:", &out->blocked);
}

/* In pieces: in front of the signals stand the groups, of which there may be 65,536. */
enum task_known task_signals(int32_t tid, struct task_signals *out)
{
    char text[STATUS_PIECE + STATUS_CARRY + 1];
    size_t have = 0;
    long got;
    struct task_path path = task_path(tid, "status", NULL);
    long fd = syscall3(__NR_open, (long)path.text, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd == -ENOENT || fd == -ESRCH ? TASK_GONE : TASK_UNKNOWN;
    bool found = false;
    while (!found && (got = syscall3(__NR_read, fd, (long)(text + have), STATUS_PIECE)) > 0) {
        have += (size_t)got;
        text[have] = '\0';
        found = find_signals(text, out);
        size_t keep = size_min(have, STATUS_CARRY);
        memmove(text, text + have - keep, keep);
        have = keep;
    }
    syscall1(__NR_close, fd);
    if (found)
        return TASK_KNOWN;
    return got == -ESRCH ? TASK_GONE : TASK_UNKNOWN;
}

/* linux/sched/types.h, in its first version. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};
_Static_assert(sizeof(struct scheduling) == 48, "the kernel's SCHED_ATTR_SIZE_VER0");

void task_set_slice(uint64_t ns)
{
    enum { ORDINARY = 0, RESET_ON_FORK = 1 };
    struct scheduling s = {.size = sizeof s};
    if (syscall4(__NR_sched_getattr, 0, (long)&s, sizeof s, 0) != 0 || s.policy != ORDINARY)
        return;
    s.flags &= RESET_ON_FORK;
    s.runtime = ns;
    syscall3(__NR_sched_setattr, 0, (long)&s, 0);
}

unsigned task_processors(void)
{
    uint64_t mask[16] = {0};
    long bytes = syscall3(__NR_sched_getaffinity, 0, sizeof(mask), (long)mask);
    unsigned count = 0;
    for (long i = 0; i < bytes / 8; i++)
        count += (unsigned)__builtin_popcountl(mask[i]);
    return count == 0 ? 1 : count;
}
