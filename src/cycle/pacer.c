/* pacer.c -- growth as in Go, with a back-off for programs that do not leak.
 *
 * Go's rule (1.18 and later): the heap may grow to live + (live + roots) * percent / 100. A program
 * that frees its memory gains nothing from cycles, so while cycles find less than 1 % of the heap,
 * and half of what it takes has come back since the last one, the allowance doubles each time, up
 * to BACKOFF_MOST; any real finding brings it back. A program that only grows shows neither that it
 * leaks nor that it does not: it keeps the allowance that it has.
 *
 * The goal is where the next cycle should end, so it begins earlier, by what the program allocated
 * while the last one ran, and half as much again. Growth is counted from the moment the last cycle
 * began: what was allocated while it ran was not judged.
 *
 * Near a limit of memory (GOMEMLIMIT, a control group's) the allowance is what is left of it. A
 * program that lives there would do nothing but collect; so the allowance never falls below a part
 * of the live heap, and a cycle is followed by as much time without one: half of a processor at
 * most, which is Go's bound too. The limit gives way, not the program.
 *
 * All is told in heap_net(), which what the sweep takes back does not change. */
#include "cycle/pacer.h"

#include "base/atomic.h"

/* The allowance is at most this many times Go's. A leak that begins late may then grow the heap
 * to (1 + 4 * percent/100) times what lives before it is seen. */
enum { BACKOFF_MOST = 4, RETRY_SHARE = 8 };

/* The least allowance, bytes: with min_heap=0 a heap of nothing would collect at every miss. */
enum { GROWTH_LEAST = 256 << 10 };

/* At least this part of the allowance lies between two cycles, or they would never end. */
enum { REST_SHARE = 4 };

/* At a limit the heap may still grow by this part of what lives. */
enum { LIMITED_SHARE = 32 };

/* Before the first cycle: 64-byte blocks in random order, 20 million a second. */
enum { NS_PER_KIB_FIRST = 800 };

#define NEVER (INT64_MAX / 4)

static struct {
    struct pacer_settings settings;
    int64_t backoff;
    int64_t net, returned;   /* when the last cycle ended */
    struct pacer_input last; /* what was known of it; */
    bool any;                /* if there was one */
    _Atomic uint64_t ns_per_kib;
    _Atomic int64_t roots;   /* bytes, in the last cycle */
} pacer;

void pacer_start(const struct pacer_settings *settings)
{
    pacer.settings = *settings;
    pacer.backoff = 1;
    pacer.net = pacer.returned = 0;
    pacer.any = false;
    relaxed_store(&pacer.roots, 0);
    relaxed_store(&pacer.ns_per_kib, NS_PER_KIB_FIRST);
}

static struct pacer_plan plan_from(int64_t from, int64_t trigger, int64_t growth)
{
    int64_t goal = from + growth > trigger ? from + growth : trigger;
    return (struct pacer_plan){trigger, goal, goal + growth, growth, 0};
}

struct pacer_plan pacer_first(void)
{
    if (pacer.settings.percent < 0)
        return plan_from(0, pacer.settings.limit != 0 ? pacer.settings.limit : NEVER, NEVER);
    return plan_from(pacer.settings.min_heap, pacer.settings.min_heap,
                     pacer.settings.min_heap > GROWTH_LEAST ? pacer.settings.min_heap
                                                            : GROWTH_LEAST);
}

static int64_t at_least_min_heap(int64_t growth, int64_t live)
{
    int64_t to_min = pacer.settings.min_heap - live;
    if (growth < to_min)
        growth = to_min;
    return growth > GROWTH_LEAST ? growth : GROWTH_LEAST;
}

static void note_speed(const struct pacer_input *in)
{
    int64_t kib = (in->marked + in->roots) >> 10;
    relaxed_store(&pacer.roots, in->roots);
    if (kib > 0)
        relaxed_store(&pacer.ns_per_kib, in->took / (uint64_t)kib + 1);
}

/* `growth` would pass the limit. */
static struct pacer_plan limited_plan(const struct pacer_input *in)
{
    int64_t growth = in->live / LIMITED_SHARE;
    if (growth < in->room)
        growth = in->room;
    if (growth < GROWTH_LEAST)
        growth = GROWTH_LEAST;
    int64_t half = growth / 2, goal = in->now + growth;
    return (struct pacer_plan){in->now + half, goal, goal + half, growth, in->took};
}

static void back_off(const struct pacer_input *in)
{
    int64_t returned = in->returned - pacer.returned, taken = in->now - pacer.net + returned;
    pacer.net = in->now;
    pacer.returned = in->returned;
    if (in->found * 100 >= in->live + in->found)
        pacer.backoff = 1;
    else if (returned >= taken / 2 && pacer.backoff < BACKOFF_MOST)
        pacer.backoff *= 2;
}

static struct pacer_plan plan_after(const struct pacer_input *in)
{
    if (pacer.settings.percent < 0)
        return in->room == INT64_MAX ? plan_from(0, NEVER, NEVER) : limited_plan(in);
    int64_t growth = (in->live + in->roots) / 100 * pacer.settings.percent * pacer.backoff;
    growth = at_least_min_heap(growth, in->live);
    if (growth > in->room)
        return limited_plan(in);
    int64_t meanwhile = in->now > in->before ? in->now - in->before : 0;
    int64_t rest = in->now + growth / REST_SHARE;
    int64_t trigger = in->before + growth - meanwhile - meanwhile / 2;
    return plan_from(in->before, trigger > rest ? trigger : rest, growth);
}

struct pacer_plan pacer_next(const struct pacer_input *in)
{
    note_speed(in);
    if (pacer.settings.percent >= 0)
        back_off(in);
    pacer.last = *in;
    pacer.any = true;
    return plan_after(in);
}

void pacer_change(const struct pacer_settings *settings)
{
    pacer.settings = *settings;
}

struct pacer_plan pacer_again(int64_t room)
{
    pacer.last.room = room;
    return pacer.any ? plan_after(&pacer.last) : pacer_first();
}

struct pacer_plan pacer_retry(int64_t now, int64_t live)
{
    if (pacer.settings.percent < 0)
        return plan_from(0, NEVER, NEVER);
    int64_t growth = at_least_min_heap(live / RETRY_SHARE, live);
    return plan_from(now, now + growth, growth);
}

uint64_t pacer_mark_time(int64_t bytes)
{
    int64_t kib = (bytes + relaxed_load(&pacer.roots)) >> 10;
    return (uint64_t)kib * relaxed_load(&pacer.ns_per_kib);
}
