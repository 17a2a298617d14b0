/* world.h -- stopping every other thread, and knowing where it stopped.
 *
 * All tasks of the process that the kernel knows are stopped, whoever created them: by one reserved
 * real-time signal, or, if they are parked (mutator/park.h), by being kept where they are.
 *
 * Thread safety: one stop at a time, under the CYCLE and REGISTRY locks. Between world_stop and
 * world_start no lock may be taken, and nothing of libc entered, that a stopped thread may hold. */
#ifndef GC_WORLD_H
#define GC_WORLD_H

#include "base/base.h"
#include "gc/tid_table.h"

enum { WORLD_TASKS_MOST = TID_TABLE_MOST };

enum world_result {
    WORLD_STOPPED,
    WORLD_LATE,      /* a thread did not stop in time (it is in vfork, or in the kernel) */
    WORLD_NO_TASKS,  /* /proc/self/task could not be read, or lists too many */
};

enum world_who {
    WORLD_RUNNING,   /* parked threads are left alone, if possible */
    WORLD_EVERYBODY, /* they, too, are brought into their handlers */
};

struct stopped_task {
    int32_t tid;
    uint32_t generation;          /* of the last stop it was listed in. The collector */
    bool parked;                  /* no registers are in use but those that lie in its stack */
    struct park *place;           /* NULL: it has none */
    /* The task, in its signal handler; valid once `here` holds the stop's generation. */
    _Atomic uint32_t here;
    uintptr_t stack_pointer;      /* where it was interrupted, or its parking frame */
    uintptr_t frame;              /* of its signal frame, where registers lie; or 0 */
    uintptr_t alternate;          /* its alternate signal stack, or 0 */
    size_t alternate_size;
    uintptr_t thread_pointer;     /* its fs base, or 0: not known */
};

/* What each task calls as it leaves a stop, in its handler, with the context that it returns to:
 * what is changed there is changed for good. Raw system calls only; the task may have no
 * thread-local storage. Set while the world is stopped. */
typedef void world_leave_fn(void *context);
void world_on_leave(world_leave_fn *leave);
/* The signal to use: 0 = the library's choice. Before the first stop. */
void world_set_signal(int signal);
/* From now on the signal has its handler, also while no stop is under way, and `ask` is told of
 * those that carry WORLD_ASK_VALUE | commands (at most 255): in the handler, on any thread of the
 * program's, or on one of ours that has the signal unblocked. */
#define WORLD_ASK_VALUE 0x67636d00u
typedef void world_ask_fn(uint32_t commands);
void world_on_ask(world_ask_fn *ask);
/* In a handler of ours: the call that it interrupted goes on as if it had not been. */
void world_excuse(void *context);
int world_signal(void);
/* Those which a task that waits for others must not block, lest no stop succeeds: a mask. */
uint64_t world_signals(void);
/* Stops all other tasks, or none. The REGISTRY lock is held, until world_start. */
enum world_result world_stop(enum world_who who, uint64_t timeout_ns);
void world_start(void);
/* Waits until every task has left the last stop's handler. */
void world_await_left(void);
/* How many there were; wraps. Any thread. */
uint32_t world_stops(void);
/* Wipes what signal frames, and calls, have left of the calling thread's stack below here, down to
 * `low`, its lowest address. For a thread that is about to end, or to sleep. */
void world_wipe_stack(uintptr_t low);
/* The stopped tasks; valid until world_start. */
const struct stopped_task *world_tasks(size_t *count);
/* In the child of fork. */
void world_after_fork(void);

#endif
