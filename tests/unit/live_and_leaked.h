/* live_and_leaked.h -- a heap for whole cycles: a list that lives, and blocks that nothing holds.
 *
 * Blocks are hidden (hidden.h): what is live hangs on the list in `live_list`. The observers count
 * what the collector says, from whatever thread. */
#ifndef UNIT_LIVE_AND_LEAKED_H
#define UNIT_LIVE_AND_LEAKED_H

#include "cycle/cycle.h"
#include "cycle/pacer.h"
#include "cycle/probation.h"
#include "gc/world.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "hidden.h"
#include "mutator/thread.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/options.h"
#include "unit.h"

#include <sched.h>
#include <unistd.h>

enum { LIVE = 500, LEAKS = 20, SIZE = 100 };

static _Atomic int64_t trigger;
static _Atomic unsigned judged_count, judged_indirect, judged_reclaimed;
static _Atomic unsigned least_age, most_age;

static inline void set_trigger(int64_t bytes)
{
    trigger = bytes;
}

static inline void note_judged(const struct block *b, unsigned age, bool indirect, bool reclaimed)
{
    (void)b;
    unsigned before = judged_count++;
    judged_indirect += indirect;
    judged_reclaimed += reclaimed;
    least_age = before == 0 || age < least_age ? age : least_age;
    most_age = age > most_age ? age : most_age;
}

static inline struct cycle_settings cycle_settings(int mode, unsigned confirm)
{
    return (struct cycle_settings){.mode = mode,
                                   .confirm = confirm,
                                   .workers = 1,
                                   .stop_timeout_ns = (uint64_t)5000000000u,
                                   .pause_ns = 500000,
                                   .classify = true,
                                   .oracle = GC_CHECK_LEVEL >= 1,
                                   .judged = note_judged,
                                   .set_trigger = set_trigger};
}

/* The heap, and all below the collector. The caller's thread is registered. */
static inline void begin_heap(unsigned probation)
{
    struct pacer_settings pacing = {.percent = 100};
    EXPECT(hidden_heap(256 * MIB, true));
    pacer_start(&pacing);
    probation_start(probation);
    world_set_signal(0);
    EXPECT(thread_attach((uintptr_t)environ)); /* above all that the tests have on the stack */
}

static char *live_list;
static hidden live[LIVE], leak[LEAKS];

/* Word 0 links, word 1 says which one it is. */
HIDDEN_STEP void number(hidden h, size_t i)
{
    ((uintptr_t *)reveal(h))[1] = i;
}

HIDDEN_STEP bool is_number(hidden h, size_t i)
{
    return ((const uintptr_t *)reveal(h))[1] == i;
}

static inline void make_live(void)
{
    for (size_t i = 0; i < LIVE; i++) {
        live[i] = hidden_new(SIZE + i % 5 * 200);
        number(live[i], i);
        if (i == 0)
            hidden_store(&live_list, live[i], 0);
        else
            hidden_link(live[i - 1], 0, live[i], i % 8 * 8);
    }
}

static inline void make_leaks(void)
{
    for (size_t i = 0; i < LEAKS; i++)
        leak[i] = hidden_new(SIZE);
}

/* Whole, and reached by the last mark; by the last but one if this one could not be finished. */
static inline void expect_live(void)
{
    size_t good = 0, current = 0;
    for (size_t i = 0; i < LIVE; i++) {
        uint8_t byte = hidden_byte(live[i]);
        good += is_number(live[i], i);
        current += slot_is_epoch(byte) &&
                   epoch_age(relaxed_load(&hot.epoch), byte) <= relaxed_load(&hot.window);
    }
    EXPECT(good == LIVE && current == LIVE);
}

/* How many leaks are still there. */
static inline size_t leaks_left(void)
{
    size_t left = 0;
    for (size_t i = 0; i < LEAKS; i++)
        left += slot_is_live(hidden_byte(leak[i]));
    return left;
}

static inline bool before_time(uint64_t until)
{
    sched_yield();
    return clock_now_ns() < until;
}

/* Waits for what another thread does; an expectation that fails after ten seconds. */
#define EXPECT_SOON(condition) \
    do { \
        uint64_t until_ = clock_now_ns() + 10000000000u; \
        while (!(condition) && before_time(until_)) \
            continue; \
        EXPECT(condition); \
    } while (0)

#endif
