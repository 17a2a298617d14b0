/* heap_stats.h -- running totals of the heap, relaxed atomics that any thread may add to and read.
 *
 * Changed per batch, never on the fast path. */
#ifndef GC_HEAP_STATS_H
#define GC_HEAP_STATS_H

#include "base/atomic.h"
#include "base/base.h"

struct heap_stats {
    _Atomic int64_t net;              /* bytes the program took from spans, less `returned` */
    _Atomic int64_t returned;         /* bytes that it freed, and spans got back */
    _Atomic int64_t reclaimed;        /* bytes that the sweeper took back */
    _Atomic uint64_t reclaimed_count;
    _Atomic int64_t large;            /* bytes in large blocks */
    _Atomic uint64_t large_count;
    _Atomic uint64_t large_made;      /* large blocks ever allocated, */
    _Atomic int64_t large_bytes_made; /* and their bytes, growth in place included */
};

extern struct heap_stats heap_stats;

GC_INLINE void heap_note_used(int64_t bytes)
{
    relaxed_add(&heap_stats.net, bytes);
}
GC_INLINE void heap_note_returned(int64_t bytes)
{
    relaxed_add(&heap_stats.net, -bytes);
    relaxed_add(&heap_stats.returned, bytes);
}
GC_INLINE void heap_note_reclaimed(uint64_t blocks, uint64_t bytes)
{
    relaxed_add(&heap_stats.reclaimed, (int64_t)bytes);
    relaxed_add(&heap_stats.reclaimed_count, blocks);
}
/* Taken less freed by the program: grows and shrinks with what the program does, not with sweeping,
 * so that a trigger set when a mark ends need not wait for the sweep. */
GC_INLINE int64_t heap_net(void)
{
    return relaxed_load(&heap_stats.net);
}
GC_INLINE int64_t heap_returned(void)
{
    return relaxed_load(&heap_stats.returned);
}
/* Bytes in blocks outside of spans: live, or in a thread or transfer cache. */
GC_INLINE int64_t heap_used(void)
{
    return relaxed_load(&heap_stats.net) - relaxed_load(&heap_stats.reclaimed);
}

#endif
