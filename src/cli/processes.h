/* processes.h -- the processes of this user that have the library. */
#ifndef GC_CLI_PROCESSES_H
#define GC_CLI_PROCESSES_H

#include <stddef.h>
#include <stdint.h>

struct processes_item {
    int pid;
    uint64_t resident;   /* bytes */
    char command[256];   /* its arguments */
};

struct processes {
    struct processes_item *list; /* by pid */
    size_t count;
};

/* The caller frees `list`. */
struct processes processes_find(void);

#endif
