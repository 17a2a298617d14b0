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

int64_t sampler_next(uint64_t *rng, uint64_t mean_bytes, size_t size)
{
    uint64_t u = (rng_next(rng) >> 11) + 1;
    double distance = minus_log(u) * (double)mean_bytes / (double)size;
    return distance < 1e15 ? (int64_t)distance + 1 : (int64_t)1e15;
}
