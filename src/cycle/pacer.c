/* pacer.c -- growth as in Go, with a back-off for programs that do not leak.
 *
 * Go's rule (1.18 and later): the heap may grow to live + (live + roots) * percent / 100. A program
 * that frees its memory gains nothing from cycles, so while cycles find less than 1 % of the heap,
 * the allowance doubles each time, up to BACKOFF_MOST; any real finding brings it back. */
#include "cycle/pacer.h"

/* The allowance is at most this many times Go's. A leak that begins late may then grow the heap
 * to (1 + 4 * percent/100) times what lives before it is seen. */
enum { BACKOFF_MOST = 4, RETRY_SHARE = 8 };

/* The least allowance, bytes: with min_heap=0 a heap of nothing would collect at every miss. */
enum { GROWTH_LEAST = 256 << 10 };

static struct {
    struct pacer_settings settings;
    int64_t backoff;
} pacer;

void pacer_start(const struct pacer_settings *settings)
{
    pacer.settings = *settings;
    pacer.backoff = 1;
}

int64_t pacer_first(void)
{
    return pacer.settings.percent < 0 ? INT64_MAX / 2 : pacer.settings.min_heap;
}

static int64_t at_least_min_heap(int64_t growth, int64_t live)
{
    int64_t to_min = pacer.settings.min_heap - live;
    if (growth < to_min)
        growth = to_min;
    return growth > GROWTH_LEAST ? growth : GROWTH_LEAST;
}

int64_t pacer_next(const struct pacer_input *in)
{
    if (pacer.settings.percent < 0)
        return INT64_MAX / 2;
    bool worthwhile = in->found * 100 >= in->live + in->found;
    pacer.backoff = worthwhile ? 1 : pacer.backoff * 2;
    if (pacer.backoff > BACKOFF_MOST)
        pacer.backoff = BACKOFF_MOST;
    int64_t growth = (in->live + in->roots) / 100 * pacer.settings.percent * pacer.backoff;
    return at_least_min_heap(growth, in->live);
}

int64_t pacer_retry(int64_t live)
{
    if (pacer.settings.percent < 0)
        return INT64_MAX / 2;
    return at_least_min_heap(live / RETRY_SHARE, live);
}
