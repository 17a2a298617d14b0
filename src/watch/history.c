/* history.c -- cycles and moments of the process's life.
 *
 * Cycles go round in a ring. Moments cover the whole life: when there is no room every second one
 * goes, and from then on they are taken half as often. So the chart of a day has as many points as
 * that of a minute.
 *
 *   .inv.apart   Two moments are at least `apart` apart, but for those of cycles, which count as
 *                moments too: they are what the heap's saw teeth consist of. */
#include "watch/history.h"

#include "heap/heap_stats.h"
#include "sys/clock.h"
#include "sys/lock.h"

#include <string.h>

enum {
    /* A tenth of a second: 100 s until the first thinning. */
    APART_FIRST = 100000000,
};

static struct {
    struct lock lock;
    struct history_sums sums;
    uint32_t next;              /* cycles ever added */
    uint32_t count;             /* moments */
    uint64_t apart;
} history = {.lock = LOCK_INIT(HISTORY), .apart = APART_FIRST};

/* By themselves: with zeros they take no room in the file. */
static GC_LARGE struct stats_cycle cycles[STATS_CYCLES];
static GC_LARGE struct stats_moment moments[STATS_HISTORY];
static uint64_t paused[STATS_CYCLES], ended[STATS_CYCLES]; /* of cycles, side by side */

static void thin_out(void)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < history.count; i += 2)
        moments[kept++] = moments[i];
    history.count = kept;
    history.apart *= 2;
}

static void add_moment(uint64_t resident)
{
    if (history.count == STATS_HISTORY)
        thin_out();
    moments[history.count++] = (struct stats_moment){
        .time = clock_uptime_ns(),
        .heap_used = (uint64_t)heap_used(),
        .live = history.sums.live,
        .reclaimed_bytes = (uint64_t)relaxed_load(&heap_stats.reclaimed),
        .unreached_bytes = history.sums.unreached,
        .resident_bytes = resident,
    };
}

void history_add_moment(uint64_t resident)
{
    lock_acquire(&history.lock);
    struct stats_moment *last = history.count == 0 ? NULL : &moments[history.count - 1];
    if (last == NULL || clock_uptime_ns() - last->time >= history.apart)
        add_moment(resident);
    else if (last->resident_bytes == 0)
        last->resident_bytes = resident;
    lock_release(&history.lock);
}

static struct stats_cycle cycle_of(const struct cycle_record *r)
{
    return (struct stats_cycle){
        .number = r->number,
        .reason = r->reason,
        .begun = r->begun,
        .took = r->took,
        .stopping = r->stopping,
        .pauses = r->pauses,
        .pause = r->pause,
        .paused = r->paused,
        .heap_before = (uint64_t)r->heap_before,
        .heap_marked = (uint64_t)r->heap_marked,
        .live = (uint64_t)r->live,
        .goal = (uint64_t)r->goal,
        .stack_bytes = r->stack_bytes,
        .root_bytes = r->root_bytes,
        .unreached_blocks = r->unreached_blocks,
        .unreached_bytes = r->unreached_bytes,
        .reclaimed_blocks = relaxed_load(&heap_stats.reclaimed_count),
        .reclaimed_bytes = (uint64_t)relaxed_load(&heap_stats.reclaimed),
        .contradictions = r->trust.contradictions,
        .reclaiming = r->reclaiming,
    };
}

void history_add_cycle(const struct cycle_record *r, uint64_t resident)
{
    lock_acquire(&history.lock);
    history.sums.last = cycle_of(r);
    cycles[history.next++ % STATS_CYCLES] = history.sums.last;
    uint32_t place = (r->number + STATS_CYCLES - 1) % STATS_CYCLES;
    paused[place] = r->paused;
    ended[place] = r->begun + r->took;
    history.sums.collector_time = r->total;
    history.sums.forced += r->reason != CYCLE_GROWTH;
    history.sums.pause_total += r->paused;
    if (r->pause > history.sums.pause_longest)
        history.sums.pause_longest = r->pause;
    history.sums.live = r->marked_bytes;
    history.sums.unreached = r->unreached_bytes;
    add_moment(resident);
    lock_release(&history.lock);
}

struct history_sums history_sums(void)
{
    lock_acquire(&history.lock);
    struct history_sums sums = history.sums;
    lock_release(&history.lock);
    return sums;
}

void history_pauses(uint64_t paused_out[STATS_CYCLES], uint64_t ended_out[STATS_CYCLES])
{
    lock_acquire(&history.lock);
    memcpy(paused_out, paused, sizeof paused);
    memcpy(ended_out, ended, sizeof ended);
    lock_release(&history.lock);
}

uint32_t history_cycles(struct stats_cycle out[STATS_CYCLES])
{
    lock_acquire(&history.lock);
    uint32_t count = (uint32_t)size_min(history.next, STATS_CYCLES);
    for (uint32_t i = 0; i < count; i++)
        out[i] = cycles[(history.next - count + i) % STATS_CYCLES];
    lock_release(&history.lock);
    return count;
}

uint32_t history_moments(struct stats_moment out[STATS_HISTORY])
{
    lock_acquire(&history.lock);
    uint32_t count = history.count;
    for (uint32_t i = 0; i < count; i++)
        out[i] = moments[i];
    lock_release(&history.lock);
    return count;
}

struct lock *history_lock(void)
{
    return &history.lock;
}
