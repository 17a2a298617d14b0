/* scan.h -- the range filter: which words of a piece of memory may point into the arena?
 *
 * One contract, two implementations (AVX2 and portable), chosen once by what the processor can do;
 * a test holds them against each other. */
#ifndef GC_SCAN_H
#define GC_SCAN_H

#include "base/base.h"

enum { SCAN_MOST = 512 }; /* words a call may look at */

/* Copies to out[] the words w of words[0..count) with base <= w < base + extent, in order, and
 * returns how many. count <= SCAN_MOST; `words` may have any address; out has room for `count`. */
typedef size_t scan_filter_fn(const uintptr_t *words, size_t count, uintptr_t base, size_t extent,
                              uintptr_t *out);

scan_filter_fn scan_filter_portable;
scan_filter_fn scan_filter_avx2;
bool scan_has_avx2(void);
/* For programs that keep something else in the upper bits of their pointers: as the others, of the
 * words without these, which is what it copies. */
scan_filter_fn scan_filter_tagged;
/* So many upper bits of a word, 0 to 16, do not count. Before the first mark. */
void scan_set_tag_bits(unsigned bits);
/* The word as a pointer. */
uintptr_t scan_untag(uintptr_t word);
/* The best one for this processor, and these bits. */
scan_filter_fn *scan_filter_best(void);

#endif
