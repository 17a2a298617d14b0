/* rng.h -- a small generator for sampling and tree priorities (SplitMix64, Steele et al. 2014). */
#ifndef GC_RNG_H
#define GC_RNG_H

#include "base/base.h"

GC_INLINE uint64_t mix64(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

GC_INLINE uint64_t rng_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return mix64(*state);
}

#endif
