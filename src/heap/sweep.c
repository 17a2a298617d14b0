/* sweep.c -- the sweep's cursor.
 *
 * Slabs are handed out in chunks by an atomic cursor. Each span remembers the epoch of its last
 * sweep, so a span that central swept on demand is not swept twice, and one made after the mark
 * (whose `swept` is the current epoch) not at all.
 *
 *   .inv.swept_all   sweep_finish returns only when every slab of the opened range has been
 *                    swept: `busy` counts the threads inside a chunk, and is raised before the
 *                    cursor is read.
 *   .inv.late        A thread that saw the last sweep open may be stopped on its way to the cursor,
 *                    and find the next one open when the world runs again: it takes part. So the
 *                    limit is read after the cursor, and `busy` may be raised in sweep_begin.
 *   .inv.handler     A chunk counts as a lock held: a signal handler on top of one must not wait
 *                    until nobody is inside, and the child that it forks goes on with the chunk.
 */
#include "heap/sweep.h"

#include "base/atomic.h"
#include "base/check.h"
#include "heap/page_heap.h"
#include "heap/slab.h"
#include "sys/lock.h"

#include <limits.h>

/* Slabs a thread takes from the cursor at once: 1 MiB, about 3 us of sweeping. */
enum { SWEEP_CHUNK = 16 };

static struct {
    struct sweepers call;
    _Atomic uint32_t cursor; /* next slab to hand out */
    _Atomic uint32_t limit;  /* end of the range; 0 = no sweep is open */
    _Atomic uint32_t busy;   /* threads inside a chunk; a futex */
    _Atomic uint32_t waiting; /* threads that wait for it to be 0: counted, then `busy` is read */
} sweep;

void sweep_init(const struct sweepers *call)
{
    sweep.call = *call;
}

void sweep_begin(void)
{
    GC_CHECK(relaxed_load(&sweep.limit) == 0);
    relaxed_store(&sweep.cursor, 0);
    atomic_store(&sweep.limit, relaxed_load(&arena.top));
}

static void sweep_slab(uint32_t index)
{
    struct slab *slab = slab_at(index);
    uint8_t kind = slab_kind(slab);
    if (slab->head != index)
        return;
    if (kind == SLAB_CLASSED)
        sweep.call.classed(index);
    else if (kind == SLAB_LARGE)
        sweep.call.large(index);
}

static bool sweep_chunk(void)
{
    if (atomic_load(&sweep.limit) == 0)
        return false;
    uint32_t from = atomic_fetch_add(&sweep.cursor, SWEEP_CHUNK);
    uint32_t limit = atomic_load(&sweep.limit); /* .inv.late */
    if (from >= limit)
        return false;
    uint32_t to = (uint32_t)size_min(from + SWEEP_CHUNK, limit);
    for (uint32_t i = from; i < to; i++)
        sweep_slab(i);
    return true;
}

static bool sweep_some(void)
{
    lock_region_begin(); /* .inv.handler */
    atomic_fetch_add(&sweep.busy, 1);
    bool more = sweep_chunk();
    if (atomic_fetch_sub(&sweep.busy, 1) == 1 && atomic_load(&sweep.waiting) != 0)
        futex_wake(&sweep.busy, INT_MAX);
    lock_region_end();
    return more;
}

static bool sweep_open(void)
{
    return relaxed_load(&sweep.cursor) < relaxed_load(&sweep.limit);
}

void sweep_for(uint32_t slabs)
{
    if (!sweep_open())
        return;
    uint32_t free_before = page_heap_stats().free_slabs;
    while (sweep_some())
        if (page_heap_stats().free_slabs >= free_before + slabs)
            return;
}

void sweep_finish(void)
{
    while (sweep_some())
        continue;
    atomic_fetch_add(&sweep.waiting, 1);
    for (uint32_t busy; (busy = atomic_load(&sweep.busy)) != 0;)
        futex_wait(&sweep.busy, busy);
    atomic_fetch_sub(&sweep.waiting, 1);
    atomic_store(&sweep.limit, 0);
}

bool sweep_reset(void)
{
    atomic_store(&sweep.waiting, 0);
    return atomic_exchange(&sweep.busy, 0) != 0;
}
