/* lock.h -- futex locks, and the one list of the order in which they may be taken.
 *
 * LOCKS is the lock order, outermost first: a thread that holds a lock may only take locks further
 * down (several central locks at once only in fork's handler, in class order). Debug builds check
 * it. None of these locks is held while the program's code, or libc code that takes locks, runs;
 * none is taken while the world is stopped, except those whose holder stopped the world. */
#ifndef GC_LOCK_H
#define GC_LOCK_H

#include "base/base.h"

#include <stdatomic.h>

#define LOCKS(X) \
    X(STATISTICS) /* what the program asks for is put together in one place */ \
    X(REPORT)    /* one report at a time is written */ \
    X(PROFILE)   /* one profile at a time is written */ \
    X(CYCLE)     /* one cycle at a time; held from arming to the end of the pause */ \
    X(REGISTRY)  /* the list of threads */ \
    X(CENTRAL)   /* one of them per size class: its slabs and its transfer cache */ \
    X(PAGE_HEAP) /* runs of slabs */ \
    X(SITES)     /* totals per allocation site */ \
    X(HISTORY)   /* cycles and moments that were */ \
    X(OPTIONS)   /* options that change at run time */ \
    X(MODULES)   /* modules that were unloaded */ \
    X(ROOTS)     /* ranges that the program adds to the roots, or takes away */ \
    X(POOLS)     /* the list of object pools, and what they share between threads */ \
    X(WATCHES)   /* blocks whose free() is watched: pins, finalizers. Over a stop, too */ \
    X(META)      /* metadata memory */ \
    X(UNWIND)    /* libunwind's interpreter */

enum lock_rank {
#define LOCK_RANK(name) LOCK_##name,
    LOCKS(LOCK_RANK)
#undef LOCK_RANK
    LOCK_RANK_COUNT
};

struct lock {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody waits */
    uint32_t rank;
};

#define LOCK_INIT(name) {0, LOCK_##name}

void lock_acquire(struct lock *lock);
bool lock_try(struct lock *lock);
void lock_release(struct lock *lock);
/* In the child of fork: the lock is held by this thread, whoever held it before. */
void lock_reset(struct lock *lock);
/* In the child of fork: nobody holds the lock. */
void lock_abandon(struct lock *lock);
/* Does this thread hold any lock? Then this call comes from a signal handler that interrupted one
 * of our slow paths, and must take none. */
bool lock_any_held(void);
/* What lies between counts as a lock held, though it is none. */
void lock_region_begin(void);
void lock_region_end(void);
/* True if this thread holds a lock of this rank; always true unless checks are on. */
bool lock_held(enum lock_rank rank);

/* Sleeps while *word == value; spurious returns are possible. */
void futex_wait(_Atomic uint32_t *word, uint32_t value);
/* The same for a word that the kernel wakes (a thread's end): such wake-ups are not private. */
void futex_wait_shared(_Atomic uint32_t *word, uint32_t value);
/* As futex_wait, with a bound; false when the time ran out. */
bool futex_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
void futex_wake(_Atomic uint32_t *word, int how_many);

#endif
