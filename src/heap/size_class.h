/* size_class.h -- the sizes in which blocks of up to 64 KiB come.
 *
 * Classes are numbered from 1; class 0 means "none" and is what the slab_class entry of anything
 * holds that free() must not treat as an ordinary small block. */
#ifndef GC_SIZE_CLASS_H
#define GC_SIZE_CLASS_H

#include "base/base.h"
#include "heap/size_class_table.h"

enum {
    SIZE_CLASS_COUNT = SIZE_CLASS_ROWS + 1, /* with the empty class 0 */
    SIZE_CLASS_MAX = 65536,                 /* bytes; larger blocks are runs of slabs */
    SIZE_CLASS_TABLE_MAX = 1024,            /* bytes; up to here one table look-up */
    /* slab_class holds classes shifted by this: what a thread cache keeps for a class takes so many
     * bytes, and free() finds it without an instruction more. */
    SIZE_CLASS_SHIFT = 5,
};

struct size_class {
    uint32_t size;  /* bytes */
    uint32_t magic; /* slot index = (granule offset in the span * magic) >> 31 */
    uint16_t slabs; /* per span */
    uint16_t slots; /* per span */
};

extern const struct size_class size_classes[SIZE_CLASS_COUNT];
extern const uint8_t size_class_small[SIZE_CLASS_TABLE_MAX / GRANULE + 2];

/* Class of a request of 1025 to 65536 bytes: eight classes a doubling. */
GC_INLINE unsigned size_class_of_medium(size_t size)
{
    size_t last = size - 1;
    unsigned log = 63 - (unsigned)__builtin_clzl(last); /* 10 … 15 */
    return 9 + (log - 7) * 8 + (unsigned)((last >> (log - 3)) & 7);
}

/* Class of a request of at most SIZE_CLASS_MAX bytes; 0 bytes count as 1. */
GC_INLINE unsigned size_class_of(size_t size)
{
    if (GC_LIKELY(size <= SIZE_CLASS_TABLE_MAX))
        return size_class_small[(size + GRANULE - 1) >> GRANULE_SHIFT];
    return size_class_of_medium(size);
}

/* Smallest class of at least `size` bytes whose blocks are all aligned to `alignment` (a power of
 * two of at most 64 KiB; spans start at slab boundaries). 0 if there is none. */
unsigned size_class_of_aligned(size_t size, size_t alignment);

#endif
