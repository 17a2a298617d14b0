/* mutator_sampler.c -- distances between samples against the distribution they should have.
 *
 * The distance in allocations is floor(X) + 1 for X exponential with mean m = mean_bytes / size: a
 * geometric distribution with success probability p = 1 - exp(-1/m), mean 1/p, and standard
 * deviation sqrt(1-p)/p. With a fixed seed the results are fixed; the bounds are 4.5
 * standard errors, which a right sampler with another seed would exceed once in 150,000 checks. */
#include "mutator/sampler.h"

#include "unit.h"

#include <math.h>

enum { DRAWS = 200000 };

static const struct {
    uint64_t mean;
    size_t size;
} cases[] = {
    {524288, 16}, {524288, 64}, {524288, 1024}, {524288, 65536}, {524288, 524288},
    {524288, 5000000}, {4096, 4096}, {4096, 16}, {1, 16}, {100, 48},
};

static void test_mean(void)
{
    for (size_t i = 0; i < GC_COUNT(cases); i++) {
        uint64_t rng = 12345;
        double m = (double)cases[i].mean / (double)cases[i].size, p = -expm1(-1 / m), sum = 0;
        for (unsigned n = 0; n < DRAWS; n++) {
            int64_t distance = sampler_next(&rng, cases[i].mean, cases[i].size);
            sum += (double)distance;
            if (distance < 1 && !EXPECT(!"at least 1"))
                return;
        }
        double error = sqrt(1 - p) / p / sqrt(DRAWS);
        /* The logarithm may be off by 1e-4, so the mean too. */
        if (!EXPECT(fabs(sum / DRAWS - 1 / p) <= 4.5 * error + 1e-4 * m + 1e-9))
            printf("    mean %lu size %zu: %.4f, expected %.4f\n", (unsigned long)cases[i].mean,
                   cases[i].size, sum / DRAWS, 1 / p);
    }
}

/* Kolmogorov-Smirnov: the greatest distance of the two distribution functions, at integers. */
static void test_distribution(void)
{
    enum { BINS = 4096 };
    static unsigned counts[BINS];
    const double m = 512;
    uint64_t rng = 67890;
    memset(counts, 0, sizeof counts);
    for (unsigned n = 0; n < DRAWS; n++) {
        int64_t distance = sampler_next(&rng, 512 * 1024, 1024);
        counts[distance < BINS ? distance : BINS - 1]++;
    }
    double worst = 0, seen = 0;
    for (int k = 1; k < BINS - 1; k++) {
        seen += (double)counts[k] / DRAWS;
        worst = fmax(worst, fabs(seen - (1 - exp(-k / m))));
    }
    EXPECT(worst < 2.2 / sqrt(DRAWS)); /* p = 1.2e-4 of a false alarm, were the seed random */
    EXPECT(counts[BINS - 1] > 20);      /* the tail is there: 67 expected beyond 8 means */
}

/* Blocks of a size are sampled in proportion to 1 - exp(-size/mean), whatever the class: what an
 * estimate of the heap divides by. */
static void test_unbiased(void)
{
    static const size_t sizes[] = {16, 256, 4096, 65536};
    const uint64_t mean = 65536;
    uint64_t rng = 777;
    for (size_t i = 0; i < GC_COUNT(sizes); i++) {
        double p = -expm1(-(double)sizes[i] / (double)mean), allocations = 4000 / p;
        int64_t left = sampler_next(&rng, mean, sizes[i]);
        unsigned samples = 0;
        for (double at = (double)left; at <= allocations; samples++)
            at += (double)sampler_next(&rng, mean, sizes[i]);
        double deviation = sqrt(4000 * (1 - p));
        if (!EXPECT(fabs(samples - 4000.0) <= 4.5 * deviation + 1))
            printf("    size %zu: %u samples\n", sizes[i], samples);
    }
}

/* The inverse of the probability, to the next part; at least one block, whatever the mean. */
static void test_weight(void)
{
    static const uint64_t means[] = {1, 64, 4096, 524288, (uint64_t)1 << 40};
    for (size_t m = 0; m < GC_COUNT(means); m++)
        for (size_t size = 16; size <= 65536; size = size * 9 / 8 + 1) {
            double exact = SAMPLER_PARTS / -expm1(-(double)size / (double)means[m]);
            double got = (double)sampler_weight(means[m], size);
            if (!EXPECT(fabs(got - exact) <= 0.501 + exact * 1e-9))
                printf("    mean %lu, size %zu: %.0f, not %.3f\n", means[m], size, got, exact);
        }
    EXPECT(sampler_weight(1, 65536) == SAMPLER_PARTS);
}

static void test_bounds(void)
{
    uint64_t rng = 1;
    for (unsigned i = 0; i < 10000; i++) {
        int64_t far = sampler_next(&rng, (uint64_t)1 << 62, 16);
        EXPECT(far >= 1 && far <= (int64_t)1e15);
        EXPECT(sampler_next(&rng, 1, (size_t)1 << 40) == 1);
    }
    uint64_t a = 5, b = 5, c = 6;
    bool differs = false;
    for (unsigned i = 0; i < 100; i++) {
        int64_t d = sampler_next(&a, 1000000, 16);
        EXPECT(d == sampler_next(&b, 1000000, 16));
        differs |= d != sampler_next(&c, 1000000, 16);
    }
    EXPECT(differs);
}

UNIT_MAIN(TEST(test_mean), TEST(test_distribution), TEST(test_unbiased), TEST(test_weight), TEST(test_bounds))
