/* size_class.c -- the tables, from the generated header. */
#include "heap/size_class.h"

const struct size_class size_classes[SIZE_CLASS_COUNT] = {
#define ROW(number, size, slabs, slots, magic) [number] = {size, magic, slabs, slots},
    SIZE_CLASS_TABLE(ROW)
#undef ROW
};

const uint8_t size_class_small[SIZE_CLASS_TABLE_MAX / GRANULE + 2] = {SIZE_CLASS_SMALL};

unsigned size_class_of_aligned(size_t size, size_t alignment)
{
    if (size_max(size, alignment) > SIZE_CLASS_MAX)
        return 0;
    unsigned class = size_class_of(size_max(size, alignment));
    while (class < SIZE_CLASS_COUNT && size_classes[class].size % alignment != 0)
        class++;
    return class < SIZE_CLASS_COUNT ? class : 0;
}
