/* thread_cache.h -- the fast path of malloc and free.
 *
 * Each thread has a magazine per size class: an array of blocks that are SLOT_CACHED. malloc pops
 * one and stores the epoch in its slot byte; free stores SLOT_CACHED and pushes. No lock, no
 * read-modify-write of shared memory, no call, no check of any option.
 *
 * A magazine is three pointers into an array, and a counter: malloc takes what lies below `top`,
 * unless that is `bottom`; free puts at `top`, unless that is `end`. A zeroed magazine is empty and
 * full at once: whatever is asked of it goes to the slow path. That is what a thread starts with
 * (thread-local storage is zero), what class 0 keeps for ever (large, traced and foreign blocks),
 * and what all are like again when the cache was flushed at its thread's end. All four lie in one
 * cache line.
 *
 *   .inv.until   `until` is the number of allocations of the class that pass before the next event
 *                (sampling, stress). The fast path that takes it below 0 has counted itself and
 *                leaves -1; whoever comes to the slow path for another reason has not.
 *
 * The fast paths address magazines relative to the segment register that holds the thread pointer:
 * that takes no instruction to compute where thread-local storage lies.
 *
 * Thread safety: thread-local. Another thread touches it only in the child of fork, where its owner
 * no longer exists. */
#ifndef GC_THREAD_CACHE_H
#define GC_THREAD_CACHE_H

#include "base/base.h"
#include "heap/meta.h"
#include "heap/size_class.h"

struct magazine {
    void **top, **bottom, **end;
    int32_t until; /* .inv.until */
    uint32_t home; /* where its array begins in the thread's items: `bottom` rises (scavenge.c) */
} __attribute__((aligned(32)));
_Static_assert(sizeof(struct magazine) == 1 << SIZE_CLASS_SHIFT, "slab_class");

struct thread;

enum cache_state {
    CACHE_NEW,      /* the thread has not been seen yet */
    CACHE_ATTACHED, /* it has magazines */
    CACHE_STRANGER, /* it is none of ours, or ending: every call goes to central */
};

struct thread_cache {
    struct magazine magazines[SIZE_CLASS_COUNT]; /* first: magazine_here knows */
    struct thread *thread;   /* when CACHE_ATTACHED */
    int64_t bytes;           /* that the magazines may hold together */
    uint8_t state;
    uint8_t in_hook;         /* a hook of the allocator runs: no sampling, no cycle */
    uint8_t victim;          /* the class whose magazine was last made smaller for another's */
    uint8_t busy;            /* magazines are being filled, emptied or moved: scavenge.c */
};

extern __thread struct thread_cache thread_cache;
_Static_assert(offsetof(struct thread_cache, magazines) == 0, "magazine_here");

GC_INLINE unsigned magazine_count(const struct magazine *m)
{
    return (unsigned)(m->top - m->bottom);
}
GC_INLINE unsigned magazine_room(const struct magazine *m)
{
    return (unsigned)(m->end - m->top);
}
/* Where the calling thread has it: thread_cache.magazines[shifted_class >> SIZE_CLASS_SHIFT]. */
GC_INLINE struct magazine __seg_fs *magazine_here(uintptr_t shifted_class)
{
    uintptr_t offset; /* of thread_cache, from the thread pointer */
    __asm__("mov thread_cache@gottpoff(%%rip), %0" : "=r"(offset));
    return (struct magazine __seg_fs *)(offset + shifted_class);
}

/* A block of the class, live; NULL: take the slow path. */
GC_INLINE void *cache_pop(unsigned size_class)
{
    struct magazine __seg_fs *m = magazine_here((uintptr_t)size_class << SIZE_CLASS_SHIFT);
    void **top = m->top;
    if (GC_UNLIKELY(top == m->bottom) || GC_UNLIKELY(--m->until < 0))
        return NULL;
    void *block = top[-1];
    m->top = top - 1;
    /* .inv.newborn (judge.c): the block's address is in a register before the epoch is read. */
    __asm__ volatile("" : "+r"(block) : : "memory");
    if (block == NULL)
        __builtin_unreachable(); /* saves the caller's test on the fast path */
    relaxed_store(slot_of((uintptr_t)block), relaxed_load(&hot.epoch));
    return block;
}

/* Is it a live block that no mark has missed? Then *granule is its first one. Rotating the offset
 * right by four brings misaligned bits to the top, so one compare refuses what lies outside of the
 * arena, or in the part of it that was never used, and what is not a multiple of 16. */
GC_INLINE bool cache_finds(const void *block, uint64_t *granule)
{
    uintptr_t offset = (uintptr_t)block - hot.base;
    *granule = offset >> GRANULE_SHIFT | offset << (64 - GRANULE_SHIFT);
    if (GC_UNLIKELY(*granule >= relaxed_load(&hot.granules)))
        return false;
    /* Acquire: the window that belongs to this epoch, or a later one (.inv.window). Plain bytes are
     * read by the instructions that subtract and compare them. */
    uint8_t age = (uint8_t)(acquire_load(&hot.epoch) - *(const uint8_t *)&hot.slots[*granule]);
    return GC_LIKELY(age <= *(const uint8_t *)&hot.window);
}

/* Of a block that was found; 0: it is not one of an ordinary span. */
GC_INLINE uintptr_t cache_shifted_class(uint64_t granule)
{
    return hot.slab_class[granule >> (SLAB_SHIFT - GRANULE_SHIFT)];
}

/* The size in bytes of a live block of an ordinary span; 0: take the slow path. */
GC_INLINE size_t cache_size_of(const void *block)
{
    uint64_t granule;
    if (!cache_finds(block, &granule))
        return 0;
    return size_classes[cache_shifted_class(granule) >> SIZE_CLASS_SHIFT].size;
}

/* Frees such a block; false: take the slow path. */
GC_INLINE bool cache_push(void *block)
{
    uint64_t granule;
    if (!cache_finds(block, &granule))
        return false;
    struct magazine __seg_fs *m = magazine_here(cache_shifted_class(granule));
    void **top = m->top;
    if (GC_UNLIKELY(top == m->end))
        return false;
    relaxed_store(&hot.slots[granule], SLOT_CACHED);
    slot_note_death(granule);
    *top = block;
    m->top = top + 1;
    return true;
}

/* Bytes that all magazines of a thread together may hold, each of them a few blocks all the same;
 * they are half full on average. With 4 MiB rptest of up to 64,000 bytes took half as long again,
 * and no less memory at its peak; with 16 MiB it is not faster. Few programs use more than a dozen
 * classes at a time: these take from the others. */
enum { CACHE_BYTES = 8 << 20 };

/* Most blocks a magazine of this class may hold. */
unsigned magazine_capacity(unsigned size_class);
/* Gives the cache a thread's magazines, all empty. */
void cache_attach(struct thread_cache *cache, struct thread *thread);
/* Returns all blocks to central; the cache becomes CACHE_STRANGER. In the child of fork also for
 * the caches of threads that are no more: blocks half-way in or out are recognised by their slot
 * bytes. */
void cache_flush(struct thread_cache *cache);
/* Ensures that the magazine has at least one block; false: out of memory. */
bool cache_refill(struct thread_cache *cache, unsigned size_class);
/* False, and once only: the thread frees a block of this class, and has neither allocated nor freed
 * one before. The block is another thread's, and must not be used here: what lies beside it, maybe
 * in the same cache line, is that thread's, too. It is to go back to its span. */
bool cache_knows(struct thread_cache *cache, unsigned size_class);
/* Ensures that the magazine has room for at least one block. */
void cache_make_room(struct thread_cache *cache, unsigned size_class);

#endif
