/* thread_cache.h -- the fast path of malloc and free.
 *
 * Each thread has a magazine per size class: an array of blocks that are SLOT_CACHED. malloc pops
 * one and stores the epoch in its slot byte; free stores SLOT_CACHED and pushes. No lock, no
 * read-modify-write of shared memory, no call, no check of any option.
 *
 * A magazine is one word of three counters and a pointer:
 *
 *   bits 0-15   blocks in the magazine
 *   bits 16-31  room for more
 *   bits 32-63  allocations until the next event (sampling, stress), signed
 *
 * so that malloc and free keep all three by one addition. A zeroed magazine is empty, full, and due
 * for an event: whatever is asked of it goes to the slow path. That is what a thread starts with
 * (thread-local storage is zero), what class 0 keeps for ever (large, traced and foreign blocks),
 * and what a thread has again when its cache was flushed at its end.
 *
 * Thread safety: thread-local. Another thread touches it only in the child of fork, where its owner
 * no longer exists. */
#ifndef GC_THREAD_CACHE_H
#define GC_THREAD_CACHE_H

#include "base/base.h"
#include "heap/meta.h"
#include "heap/size_class.h"

#define MAGAZINE_ROOM_ONE ((uint64_t)1 << 16)
#define MAGAZINE_EVENT_ONE ((uint64_t)1 << 32)

struct magazine {
    uint64_t word;
    void **items;
};

struct thread;

enum cache_state {
    CACHE_NEW,      /* the thread has not been seen yet */
    CACHE_ATTACHED, /* it has magazines */
    CACHE_STRANGER, /* it is none of ours, or ending: every call goes to central */
};

struct thread_cache {
    struct magazine magazines[SIZE_CLASS_COUNT];
    struct thread *thread;   /* when CACHE_ATTACHED */
    uint8_t state;
    uint8_t in_hook;         /* a hook of the allocator runs: no sampling, no cycle */
};

extern __thread struct thread_cache thread_cache;

GC_INLINE unsigned magazine_count(uint64_t word)
{
    return (uint16_t)word;
}
GC_INLINE unsigned magazine_room(uint64_t word)
{
    return (uint16_t)(word >> 16);
}
GC_INLINE int32_t magazine_until(uint64_t word)
{
    return (int32_t)(word >> 32);
}
GC_INLINE uint64_t magazine_word(unsigned count, unsigned room, int32_t until)
{
    return (uint64_t)count | (uint64_t)room << 16 | (uint64_t)(uint32_t)until << 32;
}

/* A block of the class, live; NULL: take the slow path. */
GC_INLINE void *cache_pop(unsigned size_class)
{
    struct magazine *m = &thread_cache.magazines[size_class];
    uint64_t word = m->word;
    uint64_t after = word - (MAGAZINE_EVENT_ONE - MAGAZINE_ROOM_ONE + 1);
    if (GC_UNLIKELY(magazine_count(word) == 0 || (int64_t)after < 0))
        return NULL;
    void *block = m->items[magazine_count(word) - 1];
    m->word = after;
    /* .inv.newborn (judge.c): the block's address is in a register before the epoch is read. */
    __asm__ volatile("" : "+r"(block) : : "memory");
    if (block == NULL)
        __builtin_unreachable(); /* saves the caller's test on the fast path */
    uintptr_t granule = ((uintptr_t)block - hot.base) >> GRANULE_SHIFT;
    relaxed_store(&hot.slots[granule], relaxed_load(&hot.epoch));
    return block;
}

/* Frees a live block of an ordinary span; false: take the slow path. Rotating the offset right by
 * four brings misaligned bits to the top, so one compare refuses what is outside of the arena, and
 * what is not a multiple of 16. */
GC_INLINE bool cache_push(void *block)
{
    uintptr_t offset = (uintptr_t)block - hot.base;
    uint64_t granule = offset >> GRANULE_SHIFT | offset << (64 - GRANULE_SHIFT);
    if (GC_UNLIKELY(granule >= hot.granules))
        return false;
    slot_byte *byte = &hot.slots[granule];
    /* Acquire: the window that belongs to this epoch, or a later one (.inv.window). */
    uint8_t age = (uint8_t)(acquire_load(&hot.epoch) - relaxed_load(byte));
    if (GC_UNLIKELY(age > relaxed_load(&hot.window)))
        return false;
    struct magazine *m =
        &thread_cache.magazines[hot.slab_class[granule >> (SLAB_SHIFT - GRANULE_SHIFT)]];
    uint64_t word = m->word;
    if (GC_UNLIKELY(magazine_room(word) == 0))
        return false;
    relaxed_store(byte, SLOT_CACHED);
    slot_note_death(granule);
    m->items[magazine_count(word)] = block;
    m->word = word - MAGAZINE_ROOM_ONE + 1;
    return true;
}

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
/* Ensures that the magazine has room for at least one block. */
void cache_make_room(struct thread_cache *cache, unsigned size_class);

#endif
