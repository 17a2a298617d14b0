/* cycle_pacer.c -- Go's goal, the back-off, where the trigger lies before the goal, and the bounds.
 *
 * growth = (live + roots) / 100 * percent * backoff, at least up to min_heap, at least 256 KiB. */
#include "cycle/pacer.h"

#include "unit.h"

enum { GROWTH_LEAST = 256 << 10 };

static const int64_t mib = 1 << 20;

static void start(int64_t percent, int64_t min_heap)
{
    struct pacer_settings s = {percent, min_heap, 0};
    pacer_start(&s);
}

static bool same_plan(struct pacer_plan a, struct pacer_plan b)
{
    return a.trigger == b.trigger && a.goal == b.goal && a.hard == b.hard && a.growth == b.growth &&
           a.rest == b.rest;
}

/* The growth after a cycle during which nothing was allocated, from a heap_net() of 0: then the
 * trigger is the goal, and both lie `growth` further on. */
static int64_t next(int64_t live, int64_t roots, int64_t found)
{
    struct pacer_input in = {.live = live, .roots = roots, .found = found, .room = INT64_MAX};
    struct pacer_plan plan = pacer_next(&in);
    EXPECT(plan.trigger == plan.growth && plan.goal == plan.growth);
    EXPECT(plan.hard == 2 * plan.growth);
    return plan.growth;
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

/* Growth after a cycle that found nothing, when heap_net() and heap_returned() read so. */
static int64_t freeing(int64_t now, int64_t returned)
{
    struct pacer_input in = {.live = 100 * mib, .before = now, .now = now, .returned = returned,
                             .room = INT64_MAX};
    return pacer_next(&in).growth;
}

/* Only a program that frees gets more room for nothing found. */
static void test_growing(void)
{
    start(100, 0);
    EXPECT(freeing(100 * mib, 0) == 100 * mib); /* it took 100, and keeps them */
    EXPECT(freeing(200 * mib, 99 * mib) == 100 * mib); /* took 199 */
    EXPECT(freeing(300 * mib, 199 * mib) == 200 * mib); /* took 200, and 100 came back */
    EXPECT(freeing(400 * mib, 199 * mib) == 200 * mib); /* what it has it keeps */
    EXPECT(freeing(300 * mib, 299 * mib) == 400 * mib); /* it shrank */
    EXPECT(freeing(900 * mib, 5000 * mib) == 400 * mib);
    start(100, 0);
    EXPECT(freeing(100 * mib, 0) == 100 * mib);
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

/* ---- the trigger, for a cycle that runs beside the program ---- */

static struct pacer_plan after(int64_t live, int64_t before, int64_t now)
{
    struct pacer_input in = {
        .live = live, .found = live, .before = before, .now = now, .room = INT64_MAX};
    return pacer_next(&in);
}

/* The next cycle begins earlier by what was allocated during the last one, and half as much again;
 * growth counts from the beginning of the last. */
static void test_trigger(void)
{
    start(100, 0);
    struct pacer_plan plan = after(100 * mib, 1000 * mib, 1000 * mib);
    EXPECT(plan.goal == 1100 * mib && plan.trigger == 1100 * mib && plan.growth == 100 * mib);
    EXPECT(plan.hard == 1200 * mib);
    plan = after(100 * mib, 1000 * mib, 1020 * mib);
    EXPECT(plan.goal == 1100 * mib && plan.trigger == 1070 * mib && plan.hard == 1200 * mib);
    plan = after(100 * mib, 1000 * mib, 1030 * mib);
    EXPECT(plan.goal == 1100 * mib && plan.trigger == 1055 * mib); /* 1030 + 100 / 4 is the same */
    /* The heap shrank while the cycle ran: nothing to begin earlier for. */
    plan = after(100 * mib, 1000 * mib, 900 * mib);
    EXPECT(plan.goal == 1100 * mib && plan.trigger == 1100 * mib);
    /* heap_net() may be negative: memory that was counted as found is freed after all. */
    plan = after(100 * mib, -50 * mib, -40 * mib);
    EXPECT(plan.goal == 50 * mib && plan.trigger == 35 * mib && plan.hard == 150 * mib);
}

/* However much was allocated meanwhile, a quarter of the allowance lies between two cycles, and the
 * goal never before the trigger. */
static void test_rest(void)
{
    start(100, 0);
    struct pacer_plan plan = after(100 * mib, 1000 * mib, 1050 * mib);
    EXPECT(plan.trigger == 1075 * mib && plan.goal == 1100 * mib && plan.hard == 1200 * mib);
    plan = after(100 * mib, 1000 * mib, 1090 * mib);
    EXPECT(plan.trigger == 1115 * mib && plan.goal == 1115 * mib && plan.hard == 1215 * mib);
    plan = after(100 * mib, 1000 * mib, 5000 * mib);
    EXPECT(plan.trigger == 5025 * mib && plan.goal == 5025 * mib && plan.hard == 5125 * mib);
    plan = after(0, 1000 * mib, 5000 * mib); /* a quarter of the least allowance */
    EXPECT(plan.trigger == 5000 * mib + GROWTH_LEAST / 4 && plan.goal == plan.trigger);
    for (int64_t meanwhile = 0; meanwhile < 300 * mib; meanwhile += mib / 2) {
        plan = after(100 * mib, 0, meanwhile);
        EXPECT(plan.trigger >= meanwhile + 25 * mib && plan.trigger <= plan.goal);
        EXPECT(plan.hard == plan.goal + plan.growth);
    }
}

/* ---- the edges ---- */

static void test_never(void)
{
    const int64_t never = INT64_MAX / 4;
    const struct pacer_plan plan = {never, never, 2 * never, never, 0};
    struct pacer_input in = {.live = 100 * mib, .roots = mib, .found = 100 * mib,
                             .before = 5 * mib, .now = 90 * mib, .room = INT64_MAX};
    start(-1, 32 * mib);
    EXPECT(same_plan(pacer_first(), plan));
    EXPECT(next(0, 0, 0) == never && next(100 * mib, mib, 100 * mib) == never);
    EXPECT(same_plan(pacer_next(&in), plan));
    /* Not even after a cycle that could not run. */
    EXPECT(same_plan(pacer_retry(5 * mib, 100 * mib), plan));
}

static void test_min_heap(void)
{
    start(100, 32 * mib);
    EXPECT(same_plan(pacer_first(), (struct pacer_plan){32 * mib, 64 * mib, 96 * mib, 32 * mib, 0}));
    EXPECT(next(mib, 0, mib) == 31 * mib);               /* live + growth = min_heap */
    EXPECT(next(16 * mib, 0, mib) == 16 * mib);
    EXPECT(near(next(20 * mib, 0, mib), 20 * mib));
    EXPECT(near(next(40 * mib, 0, mib), 40 * mib));
    start(0, 32 * mib);
    EXPECT(next(mib, 0, mib) == 31 * mib);
    EXPECT(next(32 * mib - 1, 0, mib) == GROWTH_LEAST);
    start(100, 0);
    EXPECT(same_plan(pacer_first(),
                     (struct pacer_plan){0, GROWTH_LEAST, 2 * GROWTH_LEAST, GROWTH_LEAST, 0}));
}

static void test_retry(void)
{
    start(100, 0);
    EXPECT(pacer_retry(0, 80 * mib).growth == 10 * mib);
    EXPECT(same_plan(pacer_retry(7 * mib, 80 * mib),
                     (struct pacer_plan){17 * mib, 17 * mib, 27 * mib, 10 * mib, 0}));
    EXPECT(pacer_retry(0, 0).growth == GROWTH_LEAST);
    start(100, 32 * mib);
    EXPECT(pacer_retry(mib, 0).trigger == 33 * mib);
    EXPECT(pacer_retry(0, 31 * mib).trigger == 31 * mib / 8);
}

/* ---- a limit of memory ---- */

static struct pacer_plan with_room(int64_t live, int64_t room)
{
    struct pacer_input in = {.live = live, .found = live, .before = 900 * mib, .now = 1000 * mib,
                             .room = room, .took = 12345678};
    return pacer_next(&in);
}

/* What is left of it is the allowance, but never less than a part of what lives; and a cycle is
 * followed by as much time without one. */
static void test_limit(void)
{
    start(100, 0);
    struct pacer_plan free = with_room(320 * mib, 320 * mib), plan = with_room(320 * mib, 40 * mib);
    EXPECT(free.rest == 0 && near(free.growth, 320 * mib));
    EXPECT(same_plan(plan, (struct pacer_plan){1020 * mib, 1040 * mib, 1060 * mib, 40 * mib,
                                               12345678}));
    plan = with_room(320 * mib, 320 * mib - 1000);
    EXPECT(plan.rest != 0 && plan.growth == 320 * mib - 1000);
    const struct pacer_plan at_limit = {1005 * mib, 1010 * mib, 1015 * mib, 10 * mib, 12345678};
    EXPECT(same_plan(with_room(320 * mib, 0), at_limit));
    EXPECT(same_plan(with_room(320 * mib, -500 * mib), at_limit));
    EXPECT(with_room(0, 0).growth == GROWTH_LEAST);
    start(-1, 0); /* by nothing but the limit */
    EXPECT(same_plan(with_room(320 * mib, -500 * mib), at_limit));
    struct pacer_settings s = {-1, 0, 77 * mib};
    pacer_start(&s);
    EXPECT(pacer_first().trigger == 77 * mib);
}

/* ---- time ---- */

static void note_cycle(int64_t marked, int64_t roots, uint64_t took)
{
    struct pacer_input in = {
        .marked = marked, .roots = roots, .took = took, .room = INT64_MAX};
    pacer_next(&in);
}

static bool about(uint64_t got, uint64_t want)
{
    return got >= want && got <= want + want / 50 + 1024; /* rounded up, by 1 ns a KiB */
}

static void test_mark_time(void)
{
    start(100, 0);
    EXPECT(pacer_mark_time(0) == 0);
    uint64_t guess = pacer_mark_time(mib); /* before the first cycle: under 2 ms a MiB, over 0.1 */
    EXPECT(guess > 100000 && guess < 2000000);
    note_cycle(64 * mib, 0, 64 * 1024 * 100);
    EXPECT(about(pacer_mark_time(mib), 1024 * 100));
    EXPECT(about(pacer_mark_time((int64_t)1 << 40), (uint64_t)100 << 30));
    note_cycle(32 * mib, 32 * mib, 64 * 1024 * 500); /* roots take their time too, */
    EXPECT(about(pacer_mark_time(mib), 33 * 1024 * 500));     /* and will again */
    note_cycle(0, 0, 123456789); /* of nothing nothing is learnt */
    EXPECT(about(pacer_mark_time(mib), 1024 * 500));
    note_cycle(1023, 0, 123456789);
    EXPECT(about(pacer_mark_time(mib), 1024 * 500));
    note_cycle(mib, 0, 0); /* the fastest there is is not 0 */
    EXPECT(pacer_mark_time(mib) > 0);
    start(-1, 0); /* learnt even where growth never triggers */
    note_cycle(mib, 0, 1024 * 300);
    EXPECT(about(pacer_mark_time(mib), 1024 * 300));
    start(100, 0);
    EXPECT(pacer_mark_time(mib) == guess);
}

/* Settings that change between two cycles count from then on, and do not back off once more. */
static void test_change(void)
{
    struct pacer_settings half = {50, 0, 0}, never = {-1, 0, 0}, whole = {100, 0, 0};
    start(100, 8 * mib);
    EXPECT(same_plan(pacer_again(INT64_MAX), pacer_first()));
    pacer_change(&whole);
    EXPECT(pacer_again(INT64_MAX).growth == GROWTH_LEAST);
    EXPECT(next(100 * mib, 0, 50 * mib) == 100 * mib);
    pacer_change(&half);
    EXPECT(pacer_again(INT64_MAX).growth == 50 * mib);
    pacer_change(&never);
    EXPECT(pacer_again(INT64_MAX).trigger > (int64_t)1 << 50);
    pacer_change(&whole);
    EXPECT(pacer_again(INT64_MAX).growth == 100 * mib);
    EXPECT(pacer_again(10 * mib).growth == 10 * mib && pacer_again(10 * mib).goal == 10 * mib);
    EXPECT(next(100 * mib, 0, 50 * mib) == 100 * mib);
}

UNIT_MAIN(TEST(test_change), TEST(test_goal), TEST(test_least), TEST(test_backoff), TEST(test_growing),
          TEST(test_one_percent), TEST(test_trigger), TEST(test_rest), TEST(test_never),
          TEST(test_min_heap), TEST(test_retry), TEST(test_limit), TEST(test_mark_time))
