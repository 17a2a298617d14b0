/* tasks.h -- the threads of a process, and how busy they are. */
#ifndef GC_CLI_TASKS_H
#define GC_CLI_TASKS_H

#include <stddef.h>
#include <stdint.h>

struct task {
    int tid;
    char state;          /* R, S, D … */
    char name[20];
    uint64_t ticks;      /* processor time, in clock ticks */
    double share;        /* of one processor since the last look, 0 … 1 */
};

/* Zeros make an empty one. */
struct tasks {
    struct task *list;   /* by task id */
    size_t count;
    uint64_t read_ns;    /* when */
};

/* Replaces what was there by what is there now. */
void tasks_read(struct tasks *tasks, int pid);
void tasks_free(struct tasks *tasks);

#endif
