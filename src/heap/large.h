/* large.h -- blocks above 64 KiB: runs of slabs, one block a run.
 *
 * The slot byte of a large block is that of its first granule, as for any block. Thread safety:
 * a block belongs to the thread that allocates, resizes or frees it; the runs to the page heap. */
#ifndef GC_LARGE_H
#define GC_LARGE_H

#include "base/base.h"
#include "heap/slab.h"

/* A block of at least `size` bytes at a multiple of `alignment` (a power of two), its slot byte
 * SLOT_CACHED: the caller makes it live. *zeroed: it reads as zeros. NULL: no room or no memory. */
void *large_alloc(size_t size, size_t alignment, bool *zeroed);
/* Frees the block whose slot byte the caller has turned to SLOT_FREE. */
void large_free(struct slab *head);
/* Grows or shrinks in place. False if the slabs behind are taken. */
bool large_resize(struct slab *head, size_t size);
/* Sweeps the large block headed by this slab, if it is one. */
void large_sweep(uint32_t head);

#endif
