/* meta.h -- the arena, its tables, and memory for metadata.
 *
 * One reservation holds, with guard pages between its parts:
 *
 *   arena       size      blocks, in slabs of 64 KiB; aligned to 2 MiB
 *   slots       size/16   the slot bytes (slot.h)
 *   slabs       size/1024 one 64-byte descriptor a slab (slab.h)
 *   slab_class  size/32Ki two bytes a slab: the size class, shifted, or 0 (what free() reads)
 *   slab_dirty  size/64Ki one byte a slab: its pages may hold old data
 *   mark_stack  size/16   the marker's work list
 *   meta        size/32   everything else: thread caches, stack records, tables
 *
 * All of it is PROT_NONE until committed. The tables lie outside the arena, so no marker reaches
 * them, and roots leave out what is reserved: one range at first, a range a part once the
 * reservation has been shrunk.
 *
 *   .inv.past_end  With `pad` 1, every block has at least one byte more than was asked for, so that
 *                  a pointer one past the end of what the program asked for still points into it.
 *                  Programs do keep a block by nothing else (PHP's argument tables); glibc's chunk
 *                  header hides this cost, 16 bytes for sizes that are multiples of 16.
 *
 * Thread safety: `arena` and `hot` are written by arena_init (before a second thread can exist)
 * and then only `hot.epoch`, `hot.window` by the collector, and by arena_shrink what says how much
 * there is. */
#ifndef GC_META_H
#define GC_META_H

#include "base/base.h"
#include "heap/slot.h"

struct slab;

/* What malloc and free read on every call: one cache line, written once a cycle. */
struct hot {
    uintptr_t base;           /* of the arena */
    _Atomic uint64_t granules; /* committed: 16 bytes each; 0 when there is no arena */
    slot_byte *slots;         /* slots[(p - base) / 16] */
    uintptr_t slot_origin;    /* slot_origin + p / 16: the same address */
    uint16_t *slab_class;     /* slab_class[(p - base) / 64 Ki]: class << SIZE_CLASS_SHIFT */
    _Atomic uint8_t epoch;    /* what a new block is born with. Writer: the collector */
    _Atomic uint8_t window;   /* see .inv.window */
    uint8_t pad;              /* see .inv.past_end */
    uint8_t slow_free;        /* free() takes the slow path for all blocks: slab_class stays 0 */
};

/* In address order. */
enum arena_part { ARENA_BLOCKS, ARENA_SLOTS, ARENA_SLABS, ARENA_CLASSES, ARENA_DIRTY,
                  ARENA_MARK_STACK, ARENA_META, ARENA_PARTS };

struct arena {
    uintptr_t base;           /* of the blocks */
    _Atomic uintptr_t end;    /* see .inv.shrunk */
    size_t slab_count;        /* how many slabs the reservation could hold. PAGE_HEAP lock */
    struct slab *slabs;
    uint8_t *slab_dirty;
    char *mark_stack;
    size_t mark_stack_size;   /* bytes reserved. CYCLE lock */
    /* What each part has, its guard behind it included (and the first, what lies before it to
     * align it): never a root. CYCLE lock */
    struct { uintptr_t start, end; } own[ARENA_PARTS];
    _Atomic uint32_t top;     /* slabs [0, top) are in use or in the page heap. PAGE_HEAP lock */
    uint32_t committed;       /* slabs whose tables and memory are usable. PAGE_HEAP lock */
};

extern struct hot hot;
extern struct arena arena;

/* Reserves address space for an arena of up to `most` bytes; halves on failure down to 1 MiB and
 * takes at most half of RLIMIT_AS. False if nothing could be had. Until arena_commit hot.granules
 * is 0. */
bool arena_init(size_t most);
/* The blocks, not the tables, come in huge pages where the kernel has them. False if it refuses. */
bool arena_prefer_huge(void);
/* Bytes reserved, by the CYCLE lock's holder exactly. */
size_t arena_reserved(void);
/* Gives what is not committed back, so that no more than `most` bytes stay reserved, or as few as
 * can be; it does not come back. The marker's work list becomes shorter, too. False: nothing can
 * go. CYCLE, PAGE_HEAP and META locks held, and nobody marks. */
bool arena_shrink(size_t most);
/* Makes slabs [0, count) and their tables usable. PAGE_HEAP lock held. False: no memory. */
bool arena_commit(uint32_t count);

/* Zeroed metadata, 64-byte aligned, never freed. NULL when memory is short. Any thread. */
void *meta_alloc(size_t bytes);
/* Bytes handed out by meta_alloc so far. */
size_t meta_used(void);
/* The META lock, for fork. */
struct lock;
struct lock *meta_lock(void);

/* Is `word` an address in the part of the arena that was ever used? */
GC_INLINE bool arena_contains(uintptr_t word)
{
    return word - arena.base < ((uintptr_t)relaxed_load(&arena.top) << SLAB_SHIFT);
}
/* Bytes that blocks can have at most. */
GC_INLINE size_t arena_size(void)
{
    return relaxed_load(&arena.end) - arena.base;
}
GC_INLINE uint32_t slab_index_of(uintptr_t address)
{
    return (uint32_t)((address - arena.base) >> SLAB_SHIFT);
}
GC_INLINE uintptr_t slab_address(uint32_t index)
{
    return arena.base + ((uintptr_t)index << SLAB_SHIFT);
}
GC_INLINE slot_byte *slot_of(uintptr_t block)
{
    return (slot_byte *)(hot.slot_origin + (block >> GRANULE_SHIFT));
}

#endif
