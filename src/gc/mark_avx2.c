/* mark_avx2.c -- the marking loop, four words a compare. */
#include "base/base.h"

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))

struct range {
    __m256i bias, bound;
};

/* Which of four words are in range, but for those of `skip`; from the register: the program may
 * have changed them in memory since. */
TARGET static inline size_t hits_of_four(const uintptr_t *words, struct range r, unsigned skip,
                                         uintptr_t *out)
{
    __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)words);
    __asm__ volatile("" : "+x"(w)); /* one load: see scan_avx2.c */
    __m256i in = _mm256_cmpgt_epi64(r.bound, _mm256_sub_epi64(w, r.bias));
    unsigned mask = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(in)) & ~skip;
    uintptr_t copy[4];
    size_t found = 0;
    if (mask == 0)
        return 0;
    _mm256_storeu_si256((__m256i *)(void *)copy, w);
    for (; mask != 0; mask &= mask - 1)
        out[found++] = copy[__builtin_ctz(mask)];
    return found;
}

/* As scan_filter_avx2, for a few words: without a way to pass over many at a time. */
TARGET static inline size_t hits(const uintptr_t *words, size_t count, uintptr_t base,
                                 size_t extent, uintptr_t *out)
{
    const uint64_t top = (uint64_t)1 << 63;
    struct range r = {_mm256_set1_epi64x((long long)(base + top)),
                      _mm256_set1_epi64x((long long)(extent ^ top))};
    size_t found = 0, i = 0;
    for (; i + 4 <= count; i += 4)
        found += hits_of_four(words + i, r, 0, out + found);
    if (i != count && count > 4) /* the last four, less those that were among the ones before */
        return found + hits_of_four(words + count - 4, r, (1u << (4 - (count - i))) - 1,
                                    out + found);
    for (; i < count; i++) {
        uintptr_t word = __atomic_load_n(words + i, __ATOMIC_RELAXED);
        out[found] = word;
        found += word - base < extent;
    }
    return found;
}

#define LOOP_NAME mark_loop_avx2
#define LOOP_TARGET TARGET
#define LOOP_HITS hits
#include "gc/mark_loop.h"
