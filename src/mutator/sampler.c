/* sampler.c -- exponential distances without libm. */
#include "mutator/sampler.h"

#include "base/rng.h"

/* -ln(u / 2^53) for u in [1, 2^53], error below 1e-4: exponent by count of leading zeros, mantissa
 * by the first terms of the area tangent series, ln m = 2 (t + t^3/3 + t^5/5 + t^7/7). */
static double minus_log(uint64_t u)
{
    int shift = __builtin_clzl(u);
    double m = (double)(u << shift) / 9223372036854775808.0; /* [1, 2) */
    double t = (m - 1) / (m + 1), t2 = t * t;
    double ln_m = 2 * t * (1 + t2 * (1.0 / 3 + t2 * (1.0 / 5 + t2 / 7)));
    int exponent = 63 - shift - 53;
    return -(ln_m + exponent * 0.69314718055994531);
}

/* 1 - exp(-x), relative error below 1e-9: by its series for x / 2^k < 1/8, then k times by
 * 1 - exp(-2y) = e (2 - e) for e = 1 - exp(-y). */
static double probability(double x)
{
    int doublings = 0;
    for (; x >= 0.125; x /= 2)
        doublings++;
    double e = x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6)))));
    for (; doublings > 0; doublings--)
        e *= 2 - e;
    return e;
}

uint64_t sampler_weight(uint64_t mean_bytes, size_t size)
{
    return (uint64_t)(SAMPLER_PARTS / probability((double)size / (double)mean_bytes) + 0.5);
}

int64_t sampler_next(uint64_t *rng, uint64_t mean_bytes, size_t size)
{
    uint64_t u = (rng_next(rng) >> 11) + 1;
    double distance = minus_log(u) * (double)mean_bytes / (double)size;
    return distance < 1e15 ? (int64_t)distance + 1 : (int64_t)1e15;
}
