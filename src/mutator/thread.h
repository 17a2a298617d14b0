/* thread.h -- the registry of threads that have a cache.
 *
 * The main thread registers itself on its first allocation, others when they start (the wrapper of
 * pthread_create). A thread that neither saw (libc's helper threads, raw clone) is a stranger: it
 * allocates from central, and is stopped and scanned like any other, by its id (gc/world.h).
 *
 * Thread safety: the list is guarded by the REGISTRY lock; the fields of a thread are its own,
 * except as said. */
#ifndef GC_THREAD_H
#define GC_THREAD_H

#include "base/atomic.h"
#include "base/base.h"
#include "heap/size_class.h"
#include "mutator/park.h"
#include "mutator/thread_cache.h"

enum { THREAD_ITEMS = 32768 };

struct thread {
    /* REGISTRY lock. */
    struct thread *next, *prev;
    /* Fixed while registered. */
    struct park *park;
    struct thread_cache *cache;
    unsigned shard;                        /* of the transfer caches */
    /* The thread's own. */
    uint64_t rng;
    int64_t sample_left[SIZE_CLASS_COUNT]; /* allocations until the next sampled one */
    int64_t guard_left[SIZE_CLASS_COUNT];  /* the same for the next guarded one */
    int32_t loaded[SIZE_CLASS_COUNT];      /* what `until` was last set to */
    uint64_t made[SIZE_CLASS_COUNT];       /* allocations until then */
    _Atomic uint32_t moves;                /* odd: made, loaded, magazines are being changed */
    _Atomic uint64_t counted[SIZE_CLASS_COUNT]; /* allocations, at the last change */
    uint16_t capacity[SIZE_CLASS_COUNT];   /* of the magazines */
    uint32_t growths;                      /* of magazines, tried so far */
    struct {                               /* when room was last looked for there in vain */
        int32_t until;
        uint32_t growths;
    } in_use[SIZE_CLASS_COUNT];
    /* What scavenge_look last saw of the magazines. REGISTRY lock. */
    struct {
        void **top;
        int32_t until;
    } seen[SIZE_CLASS_COUNT];
    void *items[THREAD_ITEMS];             /* the magazines' blocks */
};

/* Around a change of what must be read together (tally.c, .inv.moves). */
GC_INLINE void thread_move(struct thread *t)
{
    relaxed_store(&t->moves, relaxed_load(&t->moves) + 1);
    atomic_thread_fence(memory_order_release);
}
GC_INLINE bool thread_is_moving(const struct thread *t)
{
    return relaxed_load(&t->moves) % 2 != 0;
}
/* Allocations since `until` was `loaded`: .inv.until. */
GC_INLINE uint64_t thread_loaded_less(int32_t loaded, int32_t until)
{
    return (uint64_t)((int64_t)loaded - (until < 0 ? -1 : until));
}

/* Registers the calling thread. False when memory is short: it stays a stranger. */
bool thread_attach(uintptr_t stack_hint);
/* Ends the calling thread's registration; its cache is flushed. Harmless if it has none. */
void thread_detach(void);
unsigned thread_count(void);
/* The first of the list. REGISTRY lock. */
struct thread *thread_first(void);
/* In the child of fork: only the caller is left; the caches of the others are returned. */
void thread_after_fork(void);
struct lock *thread_registry_lock(void);

#endif
