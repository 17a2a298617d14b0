/* park.h -- where each thread is, and threads that sleep in the kernel.
 *
 * A thread in a blocking call of libc is *parked*: what the program needs of its stack begins at a
 * frame that it has published, and it does not run the program's code before it has seen that the
 * world is not stopped. So a stop of the world (gc/world.h) need not wake it. See park.c.
 *
 * Thread safety: `frame` is the thread's own; a stopper reads it after park_stop. The rest is
 * written by the thread, and read while it is stopped; places are taken and left under the REGISTRY
 * lock. */
#ifndef GC_PARK_H
#define GC_PARK_H

#include "base/atomic.h"
#include "base/base.h"

enum { PARKS_MOST = 8192 };

struct park {
    /* While parked: the lowest address of its stack that the program needs, with all registers of
     * the program's above it. 0: it runs. First: assembly knows it. */
    _Atomic uintptr_t frame;
    _Atomic int32_t tid;     /* 0: nobody's place */
    union {
        uint32_t next_free;
        /* It waits for its child of vfork, which runs in its place: nothing stops the two. */
        _Atomic uint32_t away;
    };
    uintptr_t stack_hint;    /* an address in its own stack */
    uintptr_t stack_low;     /* the lowest of its own stack; 0: its mapping holds nothing else */
    /* Its alternate signal stack, or 0. */
    _Atomic uintptr_t alternate;
    _Atomic size_t alternate_size;
    /* Its own, of this sleep: a stop's signal may have interrupted it; a handler of the program's
     * has run; when it began, or 0: not known. All on one cache line. */
    _Atomic uint32_t woken;  /* also set by the stopper, before the signal */
    uint32_t handled;
    uint64_t begun_ns;
};
_Static_assert(offsetof(struct park, frame) == 0 && offsetof(struct park, away) == 12 &&
                   offsetof(struct park, woken) == 48 && sizeof(struct park) == 64,
               "preload/blocking.c knows it");

/* The calling thread's; NULL: it never parks. */
extern __thread struct park *park_self;
/* The number of the stop under way; 0: none. A futex. */
extern _Atomic uint32_t park_stopping;
/* Parked threads are signalled, too, now and then: who sleeps for some time shall know since when.
 * Set once. */
extern _Atomic uint32_t park_interrupts;

/* A place for the calling thread; NULL: there is none, it stays a stranger. REGISTRY lock. */
struct park *park_take(uintptr_t stack_hint);
/* Its thread ends, or is none of this process's. REGISTRY lock. */
void park_leave(struct park *p);
/* The calling thread's number, as in its place. */
int32_t park_task(void);
/* The calling thread is another task now: the child of fork. */
void park_renumber(void);
/* All places, [0, *count); those with a tid are in use. REGISTRY lock. */
struct park *park_places(uint32_t *count);

/* From here to park_end the program needs of this thread's stack what lies from `frame` upward.
 * Without a place, or with frame == 0, it goes on as a running thread. */
void park_begin(uintptr_t frame);
void park_end(void);
/* Waits while the world is stopped. */
void park_wait(void);
/* The calling thread's alternate signal stack from now on; 0: none. */
void park_note_alternate(uintptr_t start, size_t size);

/* The stopper: from park_stop's return on, a thread whose frame is set stays out of the program
 * until park_start. False: the kernel offers no barrier; frames mean nothing. */
bool park_stop(uint32_t number);
void park_start(void);
/* From now on, for good, frames mean nothing: some thread may run the program's code while one is
 * set. */
void park_forbid(void);
bool park_forbidden(void);

#endif
