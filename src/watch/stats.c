/* stats.c -- the figures of totals.h, from where each is kept. */
#include "watch/stats.h"

#include "cycle/probation.h"
#include "heap/heap_stats.h"
#include "heap/meta.h"
#include "heap/page_heap.h"
#include "watch/history.h"
#include "watch/stack_table.h"

static void read_heap(struct totals *t)
{
    struct page_heap_stats pages = page_heap_stats();
    t->heap_used = (uint64_t)heap_used();
    t->heap_mapped = (uint64_t)pages.top_slabs << SLAB_SHIFT;
    t->heap_free = (uint64_t)pages.free_slabs << SLAB_SHIFT;
    t->heap_released = (uint64_t)(pages.free_slabs - pages.dirty_slabs) << SLAB_SHIFT;
    t->large_bytes = (uint64_t)relaxed_load(&heap_stats.large);
    t->large_blocks = relaxed_load(&heap_stats.large_count);
    t->allocated_bytes = (uint64_t)(heap_net() + heap_returned());
    t->freed_bytes = (uint64_t)heap_returned();
    t->reclaimed_bytes = (uint64_t)relaxed_load(&heap_stats.reclaimed);
    t->reclaimed_blocks = relaxed_load(&heap_stats.reclaimed_count);
    t->meta_bytes = meta_used();
}

static void read_cycles(struct totals *t)
{
    struct history_sums sums = history_sums();
    const struct stats_cycle *last = &sums.last;
    t->heap_live = sums.live;
    t->heap_goal = last->goal;
    t->unreached_bytes = last->unreached_bytes;
    t->unreached_blocks = last->unreached_blocks;
    t->cycles = last->number;
    t->cycles_forced = sums.forced;
    t->last_cycle = last->begun + last->took;
    t->pause_total = sums.pause_total;
    t->pause_longest = sums.pause_longest;
    t->collector_time = sums.collector_time;
    t->stack_bytes = last->stack_bytes;
    t->root_bytes = last->root_bytes;
    t->reclaiming = last->reclaiming;
}

static void read_all(struct totals *t, const struct tally *tally, uint64_t resident)
{
    struct probation_status trust = probation_status();
    struct stack_table_stats stacks = stack_table_stats();
    *t = (struct totals){
        .resident_bytes = resident,
        .threads = tally->threads,
        .mallocs = tally_sum(tally->mallocs),
        .frees = tally_sum(tally->frees),
        .live_bytes = tally->live_bytes,
        .cached_bytes = tally->cached_bytes,
    };
    read_heap(t);
    read_cycles(t);
    t->contradictions = trust.contradictions;
    t->probation_needed = trust.needed;
    t->probation_passed = trust.passed;
    t->stacks = stacks.stacks;
    t->stack_table_bytes = stacks.bytes;
}

void stats_read(struct totals *t, uint64_t resident)
{
    struct tally tally;
    tally_read(&tally, TALLY_OBSERVER);
    read_all(t, &tally, resident);
}

void stats_read_all(struct totals *t, struct tally *tally)
{
    tally_read(tally, TALLY_PROGRAM);
    read_all(t, tally, 0);
}
