/* api_stats.c -- gcmalloc_read_stats: the figures of totals.h and tally.h under Go's names.
 *
 * They are put together in one place, under the STATISTICS lock, and copied out from there: the
 * caller may have a small stack, and a struct of another length than ours. */
#define GCMALLOC_IMPLEMENTATION
#include "gcmalloc.h"

#include "api.h"
#include "api_stats.h"
#include "runtime.h"

#include "base/base.h"
#include "cycle/collector.h"
#include "cycle/finalizer.h"
#include "heap/heap_stats.h"
#include "heap/size_class.h"
#include "mutator/pins.h"
#include "mutator/tally.h"
#include "mutator/thread_cache.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/options.h"
#include "sys/sandbox.h"
#include "sys/task.h"
#include "watch/history.h"
#include "watch/stats.h"

#include <errno.h>
#include <string.h>

_Static_assert((int)GCMALLOC_SIZES >= (int)SIZE_CLASS_COUNT, "a row for each class, and no class");
_Static_assert((int)GCMALLOC_PAUSES == (int)STATS_CYCLES, "one ring");

static struct lock lock = LOCK_INIT(STATISTICS);
/* STATISTICS lock. */
static struct gcmalloc_stats stats;
static struct totals totals;
static struct tally tally;

struct lock *api_stats_lock(void)
{
    return &lock;
}

static void fill_sizes(struct gcmalloc_stats *s)
{
    for (unsigned class = 0; class < SIZE_CLASS_COUNT; class++) {
        s->by_size[class].size = size_classes[class].size;
        s->by_size[class].mallocs = tally.mallocs[class];
        s->by_size[class].frees = tally.frees[class];
    }
}

static void fill_heap(struct gcmalloc_stats *s, const struct totals *t)
{
    uint64_t in_use = t->heap_mapped - t->heap_free;
    s->alloc = s->heap_alloc = t->live_bytes;
    s->total_alloc = tally.allocated_bytes;
    s->mallocs = t->mallocs;
    s->frees = t->frees;
    s->heap_objects = t->mallocs - t->frees;
    s->heap_sys = t->heap_mapped;
    s->heap_idle = t->heap_free;
    s->heap_inuse = in_use;
    s->heap_released = t->heap_released;
    s->cached = t->cached_bytes;
    s->stack_inuse = t->stack_bytes;
    s->mcache_inuse = t->threads * sizeof(struct thread_cache);
    s->buck_hash_sys = t->stack_table_bytes;
    s->gc_sys = t->meta_bytes;
    s->sys = t->heap_mapped - t->heap_released + t->meta_bytes;
    s->threads = (uint32_t)t->threads;
}

static void fill_attached(struct gcmalloc_stats *s)
{
    s->finalizers = registration_count(REGISTRATION_FINALIZER);
    s->weak_references = registration_count(REGISTRATION_WEAK);
    s->finalizers_in_cycles = finalizer_cyclic();
}

static double processor_share(uint64_t collector_time)
{
    uint64_t up = clock_uptime_ns();
    unsigned processors = sandbox_on() ? 1 : task_processors();
    return up == 0 ? 0 : (double)collector_time / ((double)up * processors);
}

static void fill_pauses(struct gcmalloc_stats *s, uint64_t started)
{
    history_pauses(s->pause_ns, s->pause_end);
    for (unsigned i = 0; i < GCMALLOC_PAUSES; i++)
        s->pause_end[i] += s->pause_end[i] != 0 ? started : 0;
}

static void fill_cycles(struct gcmalloc_stats *s, const struct totals *t)
{
    uint64_t started = clock_started_unix_ns();
    fill_pauses(s, started);
    s->next_gc = t->heap_goal;
    s->last_gc = t->cycles == 0 ? 0 : started + t->last_cycle;
    s->pause_total_ns = t->pause_total;
    s->num_gc = (uint32_t)t->cycles;
    s->num_forced_gc = (uint32_t)t->cycles_forced;
    s->gc_cpu_fraction = processor_share(t->collector_time);
    s->enable_gc = runtime_collects() && !collector_is_inhibited();
    s->debug_gc = once(options.gctrace) != 0;
    s->live = t->heap_live;
    s->unreached_blocks = t->unreached_blocks;
    s->unreached_bytes = t->unreached_bytes;
    s->reclaimed_blocks = t->reclaimed_blocks;
    s->reclaimed_bytes = t->reclaimed_bytes;
    s->contradictions = t->contradictions;
    s->probation_needed = (uint32_t)t->probation_needed;
    s->probation_passed = (uint32_t)t->probation_passed;
    s->reclaiming = (uint32_t)t->reclaiming;
    s->pinned = pins_counts().pinned;
    s->ignored = pins_counts().ignored;
}

int gcmalloc_read_stats(struct gcmalloc_stats *out)
{
    if (out == NULL || out->size < sizeof out->size)
        return api_fail(EINVAL);
    if (!tally_can_read())
        return api_fail(EAGAIN);
    runtime_start();
    lock_acquire(&lock);
    stats_read_all(&totals, &tally);
    fill_sizes(&stats);
    fill_heap(&stats, &totals);
    fill_cycles(&stats, &totals);
    fill_attached(&stats);
    stats.size = size_min(out->size, sizeof stats);
    memcpy(out, &stats, stats.size);
    lock_release(&lock);
    return 0;
}
