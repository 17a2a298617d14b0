/* alloc.h -- malloc and its family, below the exported names.
 *
 * The fast paths are inline (thread_cache.h); everything here is what happens on a miss. All
 * functions return NULL, and set errno to ENOMEM, when there is no memory; none changes errno
 * otherwise.
 *
 * Thread safety: any thread, any time after alloc_start; not from a signal handler that
 * interrupted one of them, as with any malloc. */
#ifndef GC_ALLOC_H
#define GC_ALLOC_H

#include "base/base.h"
#include "heap/slab.h"

/* Upward calls, set once by runtime.c. Each may be NULL. They run on the allocating thread, with no
 * lock held. */
struct alloc_hooks {
    /* The heap is as large as its trigger; `upcoming` bytes are about to be added. */
    void (*pressure)(size_t upcoming);
    /* Somebody has called alloc_interrupt. */
    void (*interrupted)(void);
    /* stress=N: a cycle is due. */
    void (*stress)(void);
    /* Memory ran out. True if trying again may help. */
    bool (*exhausted)(size_t size);
    /* Interns the caller's stack; 0 = could not. */
    uint32_t (*capture)(void);
    /* A block of `bytes`, which stands for `parts` of a block (sampler.h), was allocated there, or
     * freed. */
    void (*born)(uint32_t stack, uint64_t bytes, uint64_t parts);
    void (*died)(uint32_t stack, uint64_t bytes, uint64_t parts);
    /* The program used a block that the last cycle found unreachable. */
    void (*contradiction)(const struct block *block);
    /* The block that begins there has been freed, and nobody has got it yet; or it is resized. Of
     * watched slabs (slab_watch), and guarded ones. */
    void (*ended)(uintptr_t block);
};

enum alloc_sampling { ALLOC_SAMPLE_NONE, ALLOC_SAMPLE_SOME, ALLOC_SAMPLE_ALL };

struct alloc_settings {
    struct alloc_hooks hooks;
    enum alloc_sampling sampling;
    uint64_t sample_bytes;   /* mean distance */
    uint64_t stress;         /* allocations between two calls of hooks.stress; 0 = never */
    bool arena;              /* false: everything goes to libc's malloc */
    uint64_t guard;          /* mean distance, in allocations, of guarded blocks; 0 = none */
    bool whole_pages;        /* every block has pages of its own */
    bool zero_on_free;       /* what is freed is overwritten at once: with zeros, or, */
    bool junk;               /* like what is new, with a pattern that no pointer looks like */
};

/* Before the first allocation, by the only thread. */
void alloc_start(const struct alloc_settings *settings);
/* Registers the main thread, as its first allocation would: it may sleep before that, and be sent a
 * signal. On that thread. */
void alloc_attach(void);
/* heap_net() at which hooks.pressure is called. Any thread. */
void alloc_set_trigger(int64_t bytes);
/* hooks.interrupted is called once, soon. Any thread, also in a handler. */
void alloc_interrupt(void);

/* How many blocks this one stands for, in SAMPLER_PARTS, if its stack was recorded. */
uint64_t alloc_parts(const struct block *block);
/* The same by the size of its class; 0: a large block. */
uint64_t alloc_parts_of_size(uint32_t size);

void *alloc_malloc(size_t size);
/* As alloc_malloc; no pointer is looked for in it, nor in what realloc makes of it. (Libc's blocks,
 * where there is no room for it in the arena, are roots like all of libc's memory.) */
void *alloc_leaf(size_t size);
void *alloc_calloc(size_t count, size_t size);
void *alloc_realloc(void *p, size_t size);
/* realloc leaves a small block where it is. Shrinking to less than half is worth a move. */
GC_INLINE bool alloc_stays(size_t block_size, size_t size)
{
    return size + hot.pad <= block_size && (size >= block_size / 2 || block_size <= 4 * GRANULE);
}
/* `alignment` is a power of two. */
void *alloc_aligned(size_t alignment, size_t size);
/* What the program means when it shows us an address, as a block that it uses: it counts as
 * reachable, now. */
enum alloc_use {
    ALLOC_NONE,  /* no block begins there that is in use */
    ALLOC_BLOCK,
    ALLOC_LIBC,  /* of libc's heap, where no block is ever reclaimed */
};
enum alloc_use alloc_use(const void *p);
/* The block in use that holds the address, for the program: it counts as reachable, now. NULL:
 * none, or of libc's heap. *usable: as alloc_usable_size. */
void *alloc_block_of(const void *p, size_t *usable);
void alloc_free(void *p);
size_t alloc_usable_size(const void *p);

#endif
