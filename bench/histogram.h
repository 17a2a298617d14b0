/* histogram.h -- times by their logarithm: 32 buckets for each power of two, so 3 % of error.
 *
 * One writer each; static, so that no allocator sees it. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include "bench.h"

enum { BUCKETS_LOG = 5, BUCKETS = 1 << BUCKETS_LOG, OCTAVES = 40 };

struct histogram {
    uint64_t count, most;
    uint64_t buckets[OCTAVES * BUCKETS];
};

static inline size_t histogram_index(uint64_t ns)
{
    if (ns < BUCKETS)
        return ns;
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns) - BUCKETS_LOG;
    size_t index = (octave + 1) * (size_t)BUCKETS + (ns >> octave) - BUCKETS;
    return index < OCTAVES * BUCKETS ? index : OCTAVES * BUCKETS - 1;
}

/* The middle of a bucket. */
static inline double histogram_value(size_t index)
{
    if (index < BUCKETS)
        return (double)index;
    size_t octave = index / BUCKETS - 1;
    return ((double)(index % BUCKETS + BUCKETS) + 0.5) * (double)(1ull << octave);
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    h->buckets[histogram_index(ns)]++;
    h->count++;
    if (ns > h->most)
        h->most = ns;
}

static inline double histogram_quantile(const struct histogram *h, double quantile)
{
    uint64_t wanted = (uint64_t)((double)h->count * quantile), seen = 0;
    for (size_t i = 0; i < OCTAVES * BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > wanted)
            return histogram_value(i) < (double)h->most ? histogram_value(i) : (double)h->most;
    }
    return (double)h->most;
}

/* The quantiles as figures, and the whole as lines `histogram NAME NS COUNT` for the chart. */
static inline void histogram_report(const struct histogram *h, const char *name)
{
    report(name, "count", (double)h->count, "count");
    report(name, "p50", histogram_quantile(h, 0.5) / 1000, "us");
    report(name, "p99", histogram_quantile(h, 0.99) / 1000, "us");
    report(name, "p99.9", histogram_quantile(h, 0.999) / 1000, "us");
    report(name, "max", (double)h->most / 1000, "us");
    for (size_t i = 0; i < OCTAVES * BUCKETS; i++)
        if (h->buckets[i])
            printf("histogram %s %.0f %lu\n", name, histogram_value(i), h->buckets[i]);
}

#endif
