/* processes.c -- the processes of this user that have the library. */
#include "cli/processes.h"

#include "cli/process.h"
#include "cli/procfs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_ours(int pid)
{
    char path[32];
    struct stat owner;
    snprintf(path, sizeof(path), "/proc/%d", pid);
    return stat(path, &owner) == 0 && owner.st_uid == geteuid();
}

/* /proc ends each argument with NUL. */
static void read_command(char *text, size_t size, int pid)
{
    FILE *file = procfs_open("/proc/%d/cmdline", pid);
    size_t got = file == NULL ? 0 : fread(text, 1, size - 1, file);
    if (file != NULL)
        fclose(file);
    while (got > 0 && text[got - 1] == '\0')
        got--;
    for (size_t i = 0; i < got; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    text[got] = '\0';
}

static uint64_t read_resident(int pid)
{
    char text[128];
    unsigned long pages = 0;
    if (procfs_read(text, sizeof(text), "/proc/%d/statm", pid) &&
        sscanf(text, "%*u %lu", &pages) != 1)
        pages = 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct processes processes_find(void)
{
    struct procfs_numbers pids = procfs_numbers("/proc");
    struct processes found = {.list = calloc(pids.count + 1, sizeof(struct processes_item))};
    for (size_t i = 0; i < pids.count && found.list != NULL; i++) {
        int pid = pids.list[i];
        if (!is_ours(pid) || !process_has_library(pid))
            continue;
        struct processes_item *item = &found.list[found.count++];
        item->pid = pid;
        item->resident = read_resident(pid);
        read_command(item->command, sizeof(item->command), pid);
    }
    free(pids.list);
    return found;
}
