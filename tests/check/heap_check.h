/* heap_check.h -- the whole heap against its invariants, for tests.
 *
 * heap_check() walks every slab below arena.top, every slot byte, every free run and every list of
 * spans, from the descriptors alone. It prints each violation with the invariant's name and returns
 * true if there was none. *census, unless NULL, says what it saw.
 *
 * Thread safety: none. No other thread may use the heap meanwhile, no sweep be half done. Cost:
 * O(slabs used): 4 KiB of slot bytes a slab, and 64 KiB where a slab is said to read as zeros. */
#ifndef HEAP_CHECK_H
#define HEAP_CHECK_H

#include "base/base.h"

struct heap_census {
    uint32_t unused, taken, classed, large; /* slabs */
    uint32_t free_runs, spans, empty_spans, large_blocks;
    uint64_t live, cached;                  /* blocks, large ones included */
    uint64_t used_bytes;                    /* in these */
};

bool heap_check(const char *when, struct heap_census *census);

#endif
