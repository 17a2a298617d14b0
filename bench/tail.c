/* tail.c -- how long is the longest wait among a thousand single calls, and among ten thousand?
 *
 * A live set of BLOCKS blocks, mostly small, some up to 64 KiB, is replaced at random; each malloc
 * and each free is timed alone with the time stamp counter. A mean hides what a refill, a purge or
 * a lock costs; the p99.9 of single calls shows it. The timing itself costs about 20 ns a call and
 * is part of every figure, the same for all allocators. `max` holds the kernel's preemption and is
 * there to be distrusted.
 *
 *     tail [BLOCKS=20000] [STEPS=5000000] */
#include "bench.h"

#include <x86intrin.h>

/* Log-linear histogram: each power of two in 64 steps, so that a percentile is right to 1.6 %. */
enum { STEP_BITS = 6, STEPS_PER_OCTAVE = 1 << STEP_BITS, BINS = 64 * STEPS_PER_OCTAVE };

struct histogram {
    uint64_t bins[BINS], count, max;
};

static struct histogram of_malloc, of_free;

static inline uint64_t ticks(void)
{
    _mm_lfence();
    uint64_t t = __rdtsc();
    _mm_lfence();
    return t;
}

static size_t bin_of(uint64_t value)
{
    if (value < STEPS_PER_OCTAVE)
        return value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - STEP_BITS;
    return (shift + 1) * STEPS_PER_OCTAVE + (value >> shift) - STEPS_PER_OCTAVE;
}

static uint64_t bin_floor(size_t bin)
{
    if (bin < STEPS_PER_OCTAVE)
        return bin;
    unsigned shift = (unsigned)(bin / STEPS_PER_OCTAVE) - 1;
    return (uint64_t)(STEPS_PER_OCTAVE + bin % STEPS_PER_OCTAVE) << shift;
}

static void histogram_add(struct histogram *h, uint64_t value)
{
    h->bins[bin_of(value)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

static uint64_t histogram_percentile(const struct histogram *h, double fraction)
{
    uint64_t below = 0, wanted = (uint64_t)(fraction * (double)h->count);
    size_t bin = 0;
    for (; bin < BINS - 1; bin++) {
        below += h->bins[bin];
        if (below > wanted)
            break;
    }
    return bin_floor(bin);
}

/* 94 % up to 512 bytes, 5 % up to 8 KiB, 1 % up to 64 KiB: the sizes of a request server. */
static size_t random_size(uint64_t *rng)
{
    uint64_t dice = rng_below(rng, 100);
    return rng_between(rng, 8, dice < 94 ? 512 : dice < 99 ? 8192 : 65536);
}

static void step(void **slot, size_t size)
{
    uint64_t t0 = ticks();
    free(*slot);
    uint64_t t1 = ticks();
    char *p = malloc(size);
    uint64_t t2 = ticks();
    if (!p)
        die("out of memory");
    p[0] = p[size - 1] = 1;
    histogram_add(&of_free, t1 - t0);
    histogram_add(&of_malloc, t2 - t1);
    *slot = p;
}

static double ns_per_tick(void)
{
    uint64_t ns = now_ns(), t = ticks();
    while (now_ns() - ns < 50000000)
        ;
    return (double)(now_ns() - ns) / (double)(ticks() - t);
}

static void histogram_report(const char *name, const struct histogram *h, double scale)
{
    static const struct { const char *metric; double fraction; } rows[] = {
        {"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t value = histogram_percentile(h, rows[i].fraction);
        report(name, rows[i].metric, scale * (double)value, "ns");
    }
    report(name, "max", scale * (double)h->max, "ns");
}

int main(int argc, char **argv)
{
    size_t count = arg_count(argc, argv, 1, 20000);
    uint64_t steps = arg_count(argc, argv, 2, 5000000), rng = 3;
    void **blocks = table_map(count * sizeof *blocks);
    double scale = ns_per_tick();
    for (size_t i = 0; i < count; i++)
        blocks[i] = allocate(random_size(&rng));
    for (uint64_t i = 0; i < steps; i++) {
        void **slot = &blocks[rng_below(&rng, count)];
        step(slot, random_size(&rng));
    }
    histogram_report("tail.malloc", &of_malloc, scale);
    histogram_report("tail.free", &of_free, scale);
    report_peak("tail");
}
