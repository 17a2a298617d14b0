/* heap_stats.h -- running totals of the heap, relaxed atomics that any thread may add to and read.
 *
 * Changed per batch, never on the fast path. */
#ifndef GC_HEAP_STATS_H
#define GC_HEAP_STATS_H

#include "base/atomic.h"
#include "base/base.h"

struct heap_stats {
    _Atomic int64_t used;             /* bytes in blocks outside of spans: live, cached, transfer */
    _Atomic int64_t large;            /* of these, in large blocks */
    _Atomic uint64_t large_count;
};

extern struct heap_stats heap_stats;

GC_INLINE void heap_note_used(int64_t bytes)
{
    relaxed_add(&heap_stats.used, bytes);
}
GC_INLINE int64_t heap_used(void)
{
    return relaxed_load(&heap_stats.used);
}

#endif
