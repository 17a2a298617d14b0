/* mark_avx2.c -- the marking loop, four words a compare. */
#include "gc/scan_avx2.h"

TARGET_AVX2 static inline size_t hits_of_four(const uintptr_t *words, struct range r, unsigned skip,
                                              uintptr_t *out)
{
    __m256i w = load_words(words);
    if (!is_any(_mm256_or_si256(in_range(w, r), disguised(w, r))))
        return 0;
    return keep(w, skip, r, out);
}

/* As scan_filter_avx2, for a few words: without a way to pass over many at a time. */
TARGET_AVX2 static inline size_t hits(const uintptr_t *words, size_t count, uintptr_t base,
                                      size_t extent, uintptr_t *out)
{
    struct range r = range_of(base, extent);
    size_t found = 0, i = 0;
    for (; i + 4 <= count; i += 4)
        found += hits_of_four(words + i, r, 0, out + found);
    if (i != count && count > 4) /* the last four, less those that were among the ones before */
        return found + hits_of_four(words + count - 4, r, (1u << (4 - (count - i))) - 1,
                                    out + found);
    return found + scan_filter_portable(words + i, count - i, base, extent, out + found);
}

#define LOOP_NAME mark_loop_avx2
#define LOOP_TARGET TARGET_AVX2
#define LOOP_HITS hits
#include "gc/mark_loop.h"
