/* scan_avx2.h -- four words against the range and the disguise of scan.h, for both loops of AVX2.
 *
 * AVX2 compares signed only; shifting both sides by 2^63 turns w - base < extent (unsigned) into a
 * signed compare: one subtraction and one compare per four words. */
#ifndef GC_SCAN_AVX2_H
#define GC_SCAN_AVX2_H

#include "gc/scan.h"

#include <immintrin.h>

#define TARGET_AVX2 __attribute__((target("avx2")))

struct range {
    __m256i bias, bound, ending, mask;
    uintptr_t base;
    size_t extent;
};

TARGET_AVX2 static inline struct range range_of(uintptr_t base, size_t extent)
{
    const uint64_t top = (uint64_t)1 << 63;
    return (struct range){.bias = _mm256_set1_epi64x((long long)(base + top)),
                          .bound = _mm256_set1_epi64x((long long)(extent ^ top)),
                          .ending = _mm256_set1_epi64x((long long)disguise.ending),
                          .mask = _mm256_set1_epi64x((long long)DISGUISE_BITS),
                          .base = base,
                          .extent = extent};
}

/* One load: what the compiler knows to be memory it may read twice, and the program may write it in
 * between. */
TARGET_AVX2 static inline __m256i load_words(const uintptr_t *words)
{
    __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)words);
    __asm__ volatile("" : "+x"(w));
    return w;
}

TARGET_AVX2 static inline __m256i in_range(__m256i words, struct range r)
{
    return _mm256_cmpgt_epi64(r.bound, _mm256_sub_epi64(words, r.bias));
}

/* Those which end like a disguised address. */
TARGET_AVX2 static inline __m256i disguised(__m256i words, struct range r)
{
    return _mm256_cmpeq_epi64(_mm256_and_si256(words, r.mask), r.ending);
}

TARGET_AVX2 static inline bool is_any(__m256i words)
{
    return !_mm256_testz_si256(words, words);
}

/* One of the words is disguised. */
TARGET_AVX2 GC_NOINLINE static size_t keep_plain(const uintptr_t *copy, unsigned skip,
                                                 const struct range *r, uintptr_t *out)
{
    size_t found = 0;
    for (unsigned i = 0; i < 4; i++)
        if (!(skip & 1u << i))
            found += scan_filter_portable(copy + i, 1, r->base, r->extent, out + found);
    return found;
}

/* The words of which `any` are wanted, without those of `skip`; from the register: the program may
 * have changed them in memory since. */
TARGET_AVX2 static inline size_t keep(__m256i words, unsigned skip, struct range r, uintptr_t *out)
{
    uintptr_t copy[4];
    size_t found = 0;
    unsigned mask = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(in_range(words, r))) & ~skip;
    _mm256_storeu_si256((__m256i *)(void *)copy, words);
    if (GC_UNLIKELY(is_any(disguised(words, r))))
        return keep_plain(copy, skip, &r, out);
    for (; mask != 0; mask &= mask - 1)
        out[found++] = copy[__builtin_ctz(mask)];
    return found;
}

#endif
