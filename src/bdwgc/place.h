/* place.h -- the blocks that links lie in, each known by one weak reference, however many links.
 *
 * Thread safety: all under the allocator lock. */
#ifndef GC_BDWGC_PLACE_H
#define GC_BDWGC_PLACE_H

struct place;
/* Counted; NULL: no memory, or that is no block. */
struct place *place_take(void *block);
void place_drop(struct place *place);
/* NULL: it has gone, and no finalizer will see it any more. */
void *place_block(const struct place *place);

#endif
