/* heap_size_class.c -- every request, every class, every granule: the tables against division. */
#include "heap/size_class.h"

#include "unit.h"

static void test_rows(void)
{
    for (unsigned c = 1; c < SIZE_CLASS_COUNT; c++) {
        const struct size_class *k = &size_classes[c];
        EXPECT(k->size > size_classes[c - 1].size && is_aligned(k->size, GRANULE));
        EXPECT(k->slabs >= 1 && k->slabs <= 8 && k->slots >= 1);
        EXPECT(k->slots == (size_t)k->slabs * SLAB_SIZE / k->size);
    }
    EXPECT(size_classes[0].size == 0 && size_classes[SIZE_CLASS_COUNT - 1].size == SIZE_CLASS_MAX);
}

/* Each request gets the smallest class that holds it. */
static void test_smallest(void)
{
    unsigned want = 1;
    for (size_t n = 0; n <= SIZE_CLASS_MAX; n++) {
        want += n > size_classes[want].size;
        if (size_class_of(n) != want && !EXPECT(!"the smallest class")) {
            printf("    %zu bytes: class %u, wanted %u\n", n, size_class_of(n), want);
            return;
        }
        size_t waste = size_classes[want].size - n;
        if (n > 128 && waste * 8 > size_classes[want].size && !EXPECT(!"at most an eighth wasted"))
            return;
    }
    EXPECT(want == SIZE_CLASS_COUNT - 1);
}

static void test_medium_formula(void)
{
    for (size_t n = SIZE_CLASS_TABLE_MAX + 1; n <= SIZE_CLASS_MAX; n++)
        if (size_class_of_medium(n) != size_class_of(n) && !EXPECT(!"one answer"))
            return;
    EXPECT(size_class_of_medium(1025) == size_class_of(1024) + 1);
}

/* The multiplication is a division for every granule of every span, the tail included. */
static void test_magic(void)
{
    for (unsigned c = 1; c < SIZE_CLASS_COUNT; c++) {
        const struct size_class *k = &size_classes[c];
        uint64_t granules = (uint64_t)k->slabs * (SLAB_SIZE / GRANULE), wrong = 0;
        for (uint64_t g = 0; g < granules; g++)
            wrong += (g * k->magic) >> 31 != g * GRANULE / k->size;
        if (!EXPECT(wrong == 0))
            printf("    class %u of %u bytes\n", c, k->size);
    }
}

static unsigned aligned_by_search(size_t size, size_t alignment)
{
    for (unsigned c = 1; c < SIZE_CLASS_COUNT; c++)
        if (size_classes[c].size >= size && size_classes[c].size % alignment == 0)
            return c;
    return 0;
}

static void test_aligned(void)
{
    for (size_t alignment = 1; alignment <= 4 * SIZE_CLASS_MAX; alignment *= 2)
        for (size_t size = 0; size <= SIZE_CLASS_MAX + 64; size += size < 2048 ? 1 : 37) {
            unsigned want = aligned_by_search(size, alignment);
            if (size_class_of_aligned(size, alignment) != want && !EXPECT(!"class as searched")) {
                printf("    size %zu, alignment %zu\n", size, alignment);
                return;
            }
        }
    EXPECT(size_class_of_aligned(1, SIZE_CLASS_MAX) == SIZE_CLASS_COUNT - 1);
    EXPECT(size_class_of_aligned(1, 2 * SIZE_CLASS_MAX) == 0);
    EXPECT(size_class_of_aligned(SIZE_CLASS_MAX + 1, 16) == 0);
    EXPECT(size_class_of_aligned(SIZE_MAX, 16) == 0 && size_class_of_aligned(0, 1) == 1);
}

UNIT_MAIN(TEST(test_rows), TEST(test_smallest), TEST(test_medium_formula), TEST(test_magic),
          TEST(test_aligned))
