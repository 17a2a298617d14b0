/* base.h -- the vocabulary every file shares: attributes, sizes, and rounding.
 *
 * No state, no operating system, no function that is not inline. */
#ifndef GC_BASE_H
#define GC_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GC_LIKELY(x) __builtin_expect(!!(x), 1)
#define GC_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define GC_NOINLINE __attribute__((noinline))
#define GC_COLD __attribute__((cold, noinline))
#define GC_INLINE static inline __attribute__((always_inline))
#define GC_EXPORT __attribute__((visibility("default")))
#define GC_PRINTF_LIKE(a, b) __attribute__((format(printf, a, b)))
/* A large table of zeros, of which a process seldom touches more than a part. It lies behind all
 * small variables, which would else be strewn between such tables, each on a page of its own: a
 * page fault each when the process starts. (clang would write the zeros to the file.) */
#ifdef __clang__
#define GC_LARGE
#else
#define GC_LARGE __attribute__((section(".lbss")))
#endif
#define GC_COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    CACHE_LINE = 64,
    WORD_SIZE = 8,
    PAGE_SHIFT = 12,
    PAGE_SIZE = 1 << PAGE_SHIFT,
    /* Smallest distance between two blocks, and the unit of the slot bytes. */
    GRANULE_SHIFT = 4,
    GRANULE = 1 << GRANULE_SHIFT,
    /* The arena is handed out in slabs; see heap/meta.h. */
    SLAB_SHIFT = 16,
    SLAB_SIZE = 1 << SLAB_SHIFT,
};

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

/* `unit` is a power of two in all four. */
GC_INLINE uintptr_t align_up(uintptr_t value, uintptr_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}
GC_INLINE uintptr_t align_down(uintptr_t value, uintptr_t unit)
{
    return value & ~(unit - 1);
}
GC_INLINE bool is_aligned(uintptr_t value, uintptr_t unit)
{
    return (value & (unit - 1)) == 0;
}
GC_INLINE bool is_power_of_two(uintptr_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

GC_INLINE size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}
GC_INLINE size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}
GC_INLINE size_t size_clamp(size_t value, size_t least, size_t most)
{
    return size_min(size_max(value, least), most);
}

#endif
