/* scan.c -- the portable filter, and the choice.
 *
 * w - base < extent, unsigned, is both bounds in one compare. The program may be writing the words:
 * each is read once, so that what was compared is what is copied. */
#include "gc/scan.h"

#include <cpuid.h>

size_t scan_filter_portable(const uintptr_t *words, size_t count, uintptr_t base, size_t extent,
                            uintptr_t *out)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uintptr_t word = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
        word = disguise_plain(word, base, extent);
        out[found] = word;
        found += word - base < extent;
    }
    return found;
}

struct disguise disguise = {0, UINTPTR_MAX};

void scan_set_guard(uint64_t guard)
{
    disguise = (struct disguise){guard, guard >> (64 - POINTER_GUARD_ROTATION)};
}

static uintptr_t untagged = UINTPTR_MAX; /* the bits that count */

void scan_set_tag_bits(unsigned bits)
{
    untagged = UINTPTR_MAX >> bits;
}

uintptr_t scan_untag(uintptr_t word)
{
    return word & untagged;
}

size_t scan_filter_tagged(const uintptr_t *words, size_t count, uintptr_t base, size_t extent,
                          uintptr_t *out)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uintptr_t word = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
        uintptr_t plain = scan_untag(word);
        if (plain - base >= extent)
            plain = scan_untag(disguise_plain(word, base, extent));
        out[found] = plain;
        found += plain - base < extent;
    }
    return found;
}

static uint64_t enabled_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* The processor has it, and the kernel saves the registers (Intel SDM vol. 1, 14.3). */
bool scan_has_avx2(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
        return false;
    if ((enabled_state() & 6) != 6)
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

scan_filter_fn *scan_filter_best(void)
{
    if (untagged != UINTPTR_MAX)
        return scan_filter_tagged;
    return scan_has_avx2() ? scan_filter_avx2 : scan_filter_portable;
}
