/* scan.h -- the range filter: which words of a piece of memory may point into the arena?
 *
 * One contract, two implementations (AVX2 and portable), chosen once by what the processor can do;
 * a test holds them against each other.
 *
 *   .inv.disguise  setjmp disguises the address that it finds in rbp, which may be a block's, and
 *                  be nowhere else (sys/pointer_guard.h). An address has its upper 17 bits clear,
 *                  so a disguised one ends in the guard's upper 17 bits: one word in 131,072 does
 *                  by chance. That is asked of every word beside the range, and only such a word is
 *                  turned back. */
#ifndef GC_SCAN_H
#define GC_SCAN_H

#include "base/base.h"
#include "sys/pointer_guard.h"

enum { SCAN_MOST = 512 }; /* words a call may look at */

/* Copies to out[] the words w of words[0..count) with base <= w < base + extent, in order, and
 * returns how many; of disguised addresses in that range, what they are. count <= SCAN_MOST;
 * `words` may have any address; out has room for `count`. */
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
/* .inv.disguise: libc's number. Before the first mark; until then no word is turned back. */
void scan_set_guard(uint64_t guard);

#define DISGUISE_BITS (((uintptr_t)1 << POINTER_GUARD_ROTATION) - 1)

extern struct disguise {
    uint64_t guard;
    uintptr_t ending; /* of disguised addresses: what DISGUISE_BITS are; UINTPTR_MAX: none exist */
} disguise;

/* `word`, which ends like a disguised address: as what it is to be tested for the range. */
GC_INLINE uintptr_t disguise_turn_back(uintptr_t word, uintptr_t base, size_t extent)
{
    uintptr_t turned = word >> POINTER_GUARD_ROTATION | word << (64 - POINTER_GUARD_ROTATION);
    return word - base < extent ? word : turned ^ disguise.guard;
}

GC_INLINE uintptr_t disguise_plain(uintptr_t word, uintptr_t base, size_t extent)
{
    return GC_UNLIKELY((word & DISGUISE_BITS) == disguise.ending)
               ? disguise_turn_back(word, base, extent)
               : word;
}
/* The best one for this processor, and these bits. */
scan_filter_fn *scan_filter_best(void);

#endif
