/* touched.h -- writes to blocks that no mark has reached, seen by the barrier.
 *
 * Thread safety: the collector. */
#ifndef GC_TOUCHED_H
#define GC_TOUCHED_H

#include "gc/barrier.h"
#include "heap/slab.h"

/* A mark begins, and has armed the heap up to `armed_end`; there are blocks which the mark before
 * it did not reach. Watches, if the barrier is exact and there is memory for it. */
void touched_begin(const struct barrier *barrier, struct pagemap *pagemap, uintptr_t armed_end);
/* No mark, or one with nothing to watch for. */
void touched_off(void);
/* The barrier's take() is visiting these pages of the heap. */
void touched_note(uintptr_t start, uintptr_t end);
/* World stopped: the mark has ended. Calls told() for each block on a page that the program has
 * written to, though neither this mark nor the one before it reached any block there; the blocks
 * count as reached from then on. `first`: of those on one page. */
typedef void touched_fn(const struct block *block, bool first);
void touched_end(touched_fn *told);

#endif
