/* cycle_pacer.c -- Go's goal, the back-off, and the bounds.
 *
 * growth = (live + roots) / 100 * percent * backoff, at least up to min_heap, at least 256 KiB. */
#include "cycle/pacer.h"

#include "unit.h"

enum { GROWTH_LEAST = 256 << 10 };

static const int64_t mib = 1 << 20;

static void start(int64_t percent, int64_t min_heap)
{
    struct pacer_settings s = {percent, min_heap};
    pacer_start(&s);
}

static int64_t next(int64_t live, int64_t roots, int64_t found)
{
    struct pacer_input in = {live, roots, found};
    return pacer_next(&in);
}

/* The division by 100 comes first, so that nothing overflows: it loses up to 100 bytes times
 * percent and back-off. */
static bool near(int64_t got, int64_t want)
{
    return got <= want && got > want - 100 * 4 * 4;
}

static void test_goal(void)
{
    start(100, 0);
    EXPECT(next(100 * mib, 0, 50 * mib) == 100 * mib);
    EXPECT(near(next(100 * mib, 20 * mib, 50 * mib), 120 * mib)); /* roots count (Go 1.18) */
    start(50, 0);
    EXPECT(next(100 * mib, 100 * mib, 50 * mib) == 100 * mib);
    start(400, 0);
    EXPECT(next(100 * mib, 0, 50 * mib) == 400 * mib);
    EXPECT(near(next((int64_t)1 << 40, 0, (int64_t)1 << 40), (int64_t)4 << 40));
    start(10000, 0); /* no overflow */
    EXPECT(next((int64_t)1 << 40, 0, 0) > (int64_t)199 << 40);
}

static void test_least(void)
{
    start(100, 0);
    EXPECT(next(0, 0, 0) == GROWTH_LEAST);
    EXPECT(next(1000, 0, 1000) == GROWTH_LEAST);
    start(0, 0);
    EXPECT(next(100 * mib, 100 * mib, 100 * mib) == GROWTH_LEAST);
}

static void test_backoff(void)
{
    start(100, 0);
    EXPECT(next(100 * mib, 0, 0) == 200 * mib);
    EXPECT(next(100 * mib, 0, 0) == 400 * mib);
    EXPECT(next(100 * mib, 0, 0) == 400 * mib); /* and no further */
    EXPECT(next(100 * mib, 0, 0) == 400 * mib);
    EXPECT(next(100 * mib, 0, 2 * mib) == 100 * mib); /* a finding brings it back at once */
    EXPECT(next(100 * mib, 0, 0) == 200 * mib);
    start(100, 0); /* so does a new start */
    EXPECT(next(100 * mib, 0, 100 * mib) == 100 * mib);
}

static void test_one_percent(void)
{
    start(100, 0);
    EXPECT(near(next(99 * mib, 0, 1 * mib), 99 * mib)); /* just 1 % of what there was */
    start(100, 0);
    EXPECT(near(next(99 * mib, 0, 1 * mib - 1), 2 * 99 * mib));
    start(100, 0);
    EXPECT(next(0, 100 * mib, 0) == 100 * mib); /* of nothing, nothing is enough */
}

static void test_never(void)
{
    start(-1, 32 * mib);
    EXPECT(pacer_first() == INT64_MAX / 2);
    EXPECT(next(0, 0, 0) == INT64_MAX / 2);
    EXPECT(next(100 * mib, mib, 100 * mib) == INT64_MAX / 2);
}

static void test_min_heap(void)
{
    start(100, 32 * mib);
    EXPECT(pacer_first() == 32 * mib);
    EXPECT(next(mib, 0, mib) == 31 * mib);               /* live + growth = min_heap */
    EXPECT(next(16 * mib, 0, mib) == 16 * mib);
    EXPECT(near(next(20 * mib, 0, mib), 20 * mib));
    EXPECT(near(next(40 * mib, 0, mib), 40 * mib));
    start(0, 32 * mib);
    EXPECT(next(mib, 0, mib) == 31 * mib);
    EXPECT(next(32 * mib - 1, 0, mib) == GROWTH_LEAST);
}

static void test_retry(void)
{
    start(100, 0);
    EXPECT(pacer_retry(80 * mib) == 10 * mib);
    EXPECT(pacer_retry(0) == GROWTH_LEAST);
    start(100, 32 * mib);
    EXPECT(pacer_retry(0) == 32 * mib);
    EXPECT(pacer_retry(31 * mib) == 31 * mib / 8);
    start(-1, 32 * mib); /* never by growth: not even after a cycle that could not run */
    EXPECT(pacer_retry(100 * mib) == INT64_MAX / 2);
}

UNIT_MAIN(TEST(test_goal), TEST(test_least), TEST(test_backoff), TEST(test_one_percent),
          TEST(test_never), TEST(test_min_heap), TEST(test_retry))
