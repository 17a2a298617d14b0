/* watch_history.c -- cycles go round, moments are thinned out, and sums forget nothing. */
#include "watch/history.h"

#include "heap/heap.h"
#include "sys/clock.h"
#include "unit.h"

static struct stats_cycle cycles[STATS_CYCLES];
static struct stats_moment moments[STATS_HISTORY];

/* Of cycle `n`, from 1. */
static void add_cycle(uint32_t n)
{
    struct cycle_record r = {.number = n, .reason = n % 5 == 0 ? CYCLE_REQUEST : CYCLE_GROWTH,
                             .begun = n * 100, .took = 10, .pauses = 1, .pause = 1000 + n % 7,
                             .paused = 2000, .marked_bytes = n * 16, .unreached_bytes = n * 3,
                             .total = n * 11};
    history_add_cycle(&r, n * 4096);
}

static void test_empty(void)
{
    EXPECT(heap_init(16 * MIB, true));
    clock_start();
    EXPECT(history_cycles(cycles) == 0 && history_moments(moments) == 0);
    EXPECT(history_sums().last.number == 0);
}

/* One now, and none again so soon; but what was not known is filled in. */
static void test_moments(void)
{
    history_add_moment(0);
    history_add_moment(1234);
    history_add_moment(5678);
    EXPECT(history_moments(moments) == 1 && moments[0].resident_bytes == 1234);
}

static void test_cycles(void)
{
    for (uint32_t n = 1; n <= 100; n++)
        add_cycle(n);
    EXPECT(history_cycles(cycles) == 100 && cycles[0].number == 1 && cycles[99].number == 100);
    EXPECT(cycles[42].begun == 4300 && cycles[42].reason == CYCLE_GROWTH && cycles[42].pauses == 1);
    EXPECT(history_moments(moments) == 101 && moments[100].live == 1600);
    EXPECT(moments[100].unreached_bytes == 300 && moments[100].resident_bytes == 100 * 4096);
}

static void test_round(void)
{
    for (uint32_t n = 101; n <= 1000; n++)
        add_cycle(n);
    EXPECT(history_cycles(cycles) == STATS_CYCLES);
    uint32_t good = 0;
    for (uint32_t i = 0; i < STATS_CYCLES; i++)
        good += cycles[i].number == 1000 - STATS_CYCLES + 1 + i;
    EXPECT(good == STATS_CYCLES);
}

/* Every second one goes when there is no room; the first, and the order, stay. */
static void test_thinned(void)
{
    EXPECT(history_moments(moments) == 1001);
    for (uint32_t n = 1001; n <= STATS_HISTORY; n++)
        add_cycle(n);
    EXPECT(history_moments(moments) == STATS_HISTORY / 2 + 1);
    uint32_t good = 0;
    for (uint32_t i = 1; i < STATS_HISTORY / 2; i++)
        good += moments[i].live == 2 * i * 16 && moments[i].time >= moments[i - 1].time;
    EXPECT(good == STATS_HISTORY / 2 - 1);
    EXPECT(moments[0].resident_bytes == 1234);
    EXPECT(moments[STATS_HISTORY / 2].live == STATS_HISTORY * 16);
}

static void test_sums(void)
{
    struct history_sums s = history_sums();
    EXPECT(s.forced == STATS_HISTORY / 5 && s.pause_total == (uint64_t)STATS_HISTORY * 2000);
    EXPECT(s.pause_longest == 1006 && s.collector_time == STATS_HISTORY * 11);
    EXPECT(s.last.number == STATS_HISTORY && s.live == STATS_HISTORY * 16);
    EXPECT(s.unreached == STATS_HISTORY * 3);
}

UNIT_MAIN(TEST(test_empty), TEST(test_moments), TEST(test_cycles), TEST(test_round),
          TEST(test_thinned), TEST(test_sums))
