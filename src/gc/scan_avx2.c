/* scan_avx2.c -- the filter, four words an instruction.
 *
 * AVX2 compares signed only; shifting both sides by 2^63 turns w - base < extent (unsigned) into a
 * signed compare: one subtraction and one compare per four words. Sixteen words without a hit, the
 * common case in data, cost four loads and one branch. */
#include "gc/scan.h"

#include <immintrin.h>

struct range {
    uintptr_t base;
    size_t extent;
};

#define TARGET __attribute__((target("avx2")))

TARGET static inline __m256i in_range(const uintptr_t *words, __m256i bias, __m256i bound)
{
    __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)words);
    return _mm256_cmpgt_epi64(bound, _mm256_sub_epi64(w, bias));
}

/* A word is loaded anew here, and may have been changed since it was tested: it is tested again. */
TARGET static inline size_t keep(const uintptr_t *words, __m256i hits, struct range range,
                                 uintptr_t *out)
{
    size_t found = 0;
    unsigned mask = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(hits));
    for (; mask != 0; mask &= mask - 1) {
        uintptr_t word = scan_load(&words[__builtin_ctz(mask)]);
        out[found] = word;
        found += word - range.base < range.extent;
    }
    return found;
}

TARGET size_t scan_filter_avx2(const uintptr_t *words, size_t count, uintptr_t base, size_t extent,
                               uintptr_t *out)
{
    const uint64_t top = (uint64_t)1 << 63;
    __m256i bias = _mm256_set1_epi64x((long long)(base + top));
    __m256i bound = _mm256_set1_epi64x((long long)(extent ^ top));
    const struct range range = {base, extent};
    size_t found = 0, i = 0;
    for (; i + 16 <= count; i += 16) {
        __m256i a = in_range(words + i, bias, bound), b = in_range(words + i + 4, bias, bound);
        __m256i c = in_range(words + i + 8, bias, bound), d = in_range(words + i + 12, bias, bound);
        __m256i any = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
        if (_mm256_testz_si256(any, any))
            continue;
        found += keep(words + i, a, range, out + found);
        found += keep(words + i + 4, b, range, out + found);
        found += keep(words + i + 8, c, range, out + found);
        found += keep(words + i + 12, d, range, out + found);
    }
    for (; i + 4 <= count; i += 4)
        found += keep(words + i, in_range(words + i, bias, bound), range, out + found);
    return found + scan_filter_portable(words + i, count - i, base, extent, out + found);
}
