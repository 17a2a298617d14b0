/* sampler.h -- which allocations have their stack recorded.
 *
 * Sampling is a Poisson process over allocated bytes, as in Go and tcmalloc: the distance to the
 * next sample is exponential with mean `sample` bytes. It is run per size class, which is the same
 * process (superposition), and needs no division on the fast path: the distance is drawn in
 * allocations of the class. */
#ifndef GC_SAMPLER_H
#define GC_SAMPLER_H

#include "base/base.h"

/* How many blocks of `size` bytes a sampled one stands for, in SAMPLER_PARTS: the inverse of the
 * probability 1 - exp(-size / mean_bytes). */
enum { SAMPLER_PARTS = 256 };
uint64_t sampler_weight(uint64_t mean_bytes, size_t size);
/* Of a sum of such parts. */
GC_INLINE uint64_t sampler_whole(uint64_t parts)
{
    return (parts + SAMPLER_PARTS / 2) / SAMPLER_PARTS;
}

/* Allocations of `size` bytes up to and including the next sampled one, at least 1. */
int64_t sampler_next(uint64_t *rng, uint64_t mean_bytes, size_t size);

#endif
