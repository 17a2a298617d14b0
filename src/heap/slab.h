/* slab.h -- the 64-byte descriptor of a 64 KiB slab.
 *
 * A span is one or more consecutive slabs in one use: slots of a size class (1-8 slabs), one large
 * block, or a free run of the page heap. The first slab of a span is its head. What a marker needs
 * to get from any address to its block stands in every descriptor of the span, so that one cache
 * line answers. */
#ifndef GC_SLAB_H
#define GC_SLAB_H

#include "base/atomic.h"
#include "base/base.h"
#include "heap/meta.h"
#include "heap/size_class.h"

enum slab_kind {
    SLAB_UNUSED,  /* in a free run of the page heap, or above arena.top */
    SLAB_TAKEN,   /* out of the page heap, not (or no longer) a span */
    SLAB_CLASSED, /* slots of one size class */
    SLAB_LARGE,   /* one large block */
};

/* What is known of one allocation. */
struct record {
    uint32_t stack; /* stack id, or 0 */
    uint32_t size;  /* bytes that the program asked for */
};

struct slab {
    /* Written when the span is made and unmade (`kind` last and first, release), by its maker;
     * anyone may read. */
    _Atomic uint8_t kind;
    uint8_t size_class;     /* SLAB_CLASSED */
    uint8_t traced;         /* every slot has a record in `records`; see central.h */
    uint8_t idle;           /* SLAB_CLASSED head: calls of central_discard_pages since its free
                             * slots changed. CENTRAL lock of its class */
    uint32_t magic;         /* granule offset -> slot index; 0 for a large block */
    uint32_t object_size;   /* bytes of a slot; 0 for a large block */
    uint16_t slots;         /* in the span; 1 for a large block */
    uint8_t leaf;           /* no pointer is looked for in its blocks; slab_set_leaf for a large
                             * one, before it is live */
    uint32_t head;          /* index of the head slab */
    uint16_t watched;       /* how many blocks that begin here are: slab_watch. WATCHES lock */

    union {
        struct {            /* SLAB_CLASSED head. CENTRAL lock of its class */
            uint32_t next, prev;    /* in the list of spans with free slots; index + 1, 0 = none */
            uint16_t free_slots;
            uint16_t cursor;        /* granule at which the search for a free slot goes on */
            uint16_t touched;       /* granule from which on no page was touched ever */
            uint8_t listed;
            _Atomic uint8_t swept;  /* epoch of the last sweep. Also the sweeper */
            struct record *records; /* traced: one per slot. Set at creation */
        };
        struct {            /* SLAB_LARGE head. The block's owner */
            size_t bytes;           /* that the program may use */
            uint32_t slabs;         /* in the run */
            uint32_t stack;         /* stack id of the allocation, or 0 */
            uint32_t slack;         /* bytes more than the program asked for */
        };
        struct {            /* SLAB_UNUSED in a free run. PAGE_HEAP lock */
            uint32_t left, right;   /* tree of free runs; index + 1, 0 = none */
            uint32_t run;           /* head: slabs in the run */
            uint32_t longest;       /* head: longest run in this subtree */
            uint32_t run_head;      /* last slab: index of the run's head */
            uint32_t freed_at;      /* head: seconds, for decay */
            uint32_t dirty;         /* head: slabs of the run whose slab_dirty is set */
        };
    };
} __attribute__((aligned(CACHE_LINE)));

_Static_assert(sizeof(struct slab) == CACHE_LINE, "one line a descriptor");

GC_INLINE struct slab *slab_at(uint32_t index)
{
    return &arena.slabs[index];
}
GC_INLINE uint8_t slab_kind(const struct slab *slab)
{
    return acquire_load(&((struct slab *)(uintptr_t)slab)->kind);
}
GC_INLINE uint32_t slab_index(const struct slab *slab)
{
    return (uint32_t)(slab - arena.slabs);
}

/* Fills the descriptors of a span; its slot bytes are 0 already (.inv.free_zero). */
void slab_make_classed(uint32_t head, unsigned size_class, bool traced, bool leaf);
/* The large block of the span at `head`, which is not live yet, holds no pointers. */
void slab_set_leaf(uint32_t head);
/* From here to as many slab_unwatch, free() of a block that begins in the same slab takes the slow
 * path. The caller holds the WATCHES lock, and the block is live. */
void slab_watch(uintptr_t block);
void slab_unwatch(uintptr_t block);
void slab_make_large(uint32_t head, uint32_t slabs, size_t bytes);
/* Adds `more` taken slabs to the large block of `old` slabs at `head`. */
void slab_extend_large(uint32_t head, uint32_t old, uint32_t more);
/* The span's slabs become SLAB_TAKEN. */
void slab_unmake(uint32_t head, uint32_t slabs);
/* Number of slabs in the span of which `head` is the head. */
uint32_t slab_span(const struct slab *head);

/* A block found from an address somewhere in it. */
struct block {
    uintptr_t start;
    size_t size;           /* usable bytes */
    struct slab *head;
    uint32_t slot;         /* index in the span */
};

/* Resolves an address in the arena to the slot it lies in, live or not. False if it lies in no
 * slot (an unused slab, the tail of a span). Any thread, any time: it reads descriptors only. */
GC_INLINE bool block_find(uintptr_t address, struct block *out)
{
    struct slab *slab = slab_at(slab_index_of(address));
    if (slab_kind(slab) < SLAB_CLASSED)
        return false;
    uint32_t head = slab->head;
    uintptr_t head_address = slab_address(head);
    uint64_t granule = (address - head_address) >> GRANULE_SHIFT;
    uint64_t slot = (granule * slab->magic) >> 31;
    if (GC_UNLIKELY(slot >= slab->slots))
        return false;
    out->slot = (uint32_t)slot;
    out->head = slab_at(head);
    out->start = head_address + slot * slab->object_size;
    out->size = slab->object_size != 0 ? slab->object_size : out->head->bytes;
    return true;
}

/* Stack id recorded for the block, or 0. */
GC_INLINE uint32_t block_stack(const struct block *b)
{
    if (slab_kind(b->head) == SLAB_LARGE)
        return b->head->stack;
    return b->head->traced ? b->head->records[b->slot].stack : 0;
}

/* Bytes that the program asked for where that is known, else the bytes it got. */
GC_INLINE size_t block_requested(const struct block *b)
{
    if (slab_kind(b->head) == SLAB_LARGE)
        return b->size - b->head->slack;
    return b->head->traced ? b->head->records[b->slot].size : b->size;
}

#endif
