/* heap_slab.c -- from any address to its block, for every class and every granule, and back to
 * nothing when the span is unmade. */
#include "heap/slab.h"

#include "check/heap_check.h"
#include "heap/heap.h"
#include "heap/page_heap.h"
#include "unit.h"

static void test_start(void)
{
    EXPECT(heap_init(16 * MIB, false));
    EXPECT(heap_check("empty", NULL));
}

/* Counts the granules of the span from which block_find does not answer as division does. */
static unsigned wrong_granules(uint32_t head, unsigned class)
{
    const struct size_class *k = &size_classes[class];
    uintptr_t start = slab_address(head);
    unsigned wrong = 0;
    for (size_t at = 0; at < (size_t)k->slabs * SLAB_SIZE; at += GRANULE) {
        struct block b, c;
        bool found = block_find(start + at, &b), in_slot = at / k->size < k->slots;
        wrong += found != in_slot;
        if (!found)
            continue;
        wrong += b.slot != at / k->size || b.start != start + at / k->size * k->size;
        wrong += b.size != k->size || b.head != slab_at(head);
        wrong += !block_find(start + at + GRANULE - 1, &c) || c.start != b.start;
    }
    return wrong;
}

static void check_class(unsigned class, bool traced)
{
    const struct size_class *k = &size_classes[class];
    bool zeroed;
    uint32_t head = page_heap_alloc(k->slabs, 1, &zeroed);
    if (!EXPECT(head != NO_SLAB))
        return;
    slab_make_classed(head, class, traced, false);
    if (!EXPECT(wrong_granules(head, class) == 0))
        printf("    class %u\n", class);
    EXPECT(slab_span(slab_at(head)) == k->slabs && slab_at(head)->free_slots == k->slots);
    EXPECT(relaxed_load(&slab_at(head)->swept) == relaxed_load(&hot.epoch));
    for (uint32_t i = 0; i < k->slabs; i++)
        EXPECT(hot.slab_class[head + i] == (traced ? 0 : class << SIZE_CLASS_SHIFT));
    slab_unmake(head, k->slabs);
    struct block b;
    for (uint32_t i = 0; i < k->slabs; i++) {
        EXPECT(slab_kind(slab_at(head + i)) == SLAB_TAKEN && hot.slab_class[head + i] == 0);
        EXPECT(!block_find(slab_address(head + i), &b));
    }
    page_heap_free(head, k->slabs);
    EXPECT(!block_find(slab_address(head), &b));
}

static void test_classes(void)
{
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        check_class(class, false);
        check_class(class, true);
    }
    EXPECT(heap_check("classes", NULL));
}

static void expect_block(uintptr_t address, uint32_t head, size_t size)
{
    struct block b = {0};
    EXPECT(block_find(address, &b) && b.start == slab_address(head) && b.size == size);
    EXPECT(b.slot == 0 && b.head == slab_at(head));
}

static void test_large(void)
{
    enum { OLD = 5, MORE = 3 };
    bool zeroed;
    struct block b = {0};
    uint32_t head = page_heap_alloc(OLD + MORE, 1, &zeroed);
    size_t size = OLD * SLAB_SIZE - 48;
    slab_make_large(head, OLD, size);
    for (size_t at = 0; at < OLD * SLAB_SIZE; at += 4080)
        expect_block(slab_address(head) + at, head, size);
    EXPECT(!block_find(slab_address(head + OLD), &b) && slab_span(slab_at(head)) == OLD);
    slab_extend_large(head, OLD, MORE);
    slab_at(head)->slabs = OLD + MORE;
    expect_block(slab_address(head + OLD + MORE) - 1, head, size);
    slab_at(head)->stack = 77;
    if (!EXPECT(block_find(slab_address(head + 6), &b) && block_stack(&b) == 77))
        return;
    EXPECT(block_requested(&b) == size);
    slab_at(head)->slack = 9;
    EXPECT(block_requested(&b) == size - 9);
    slab_unmake(head, OLD + MORE);
    page_heap_free(head, OLD + MORE);
    EXPECT(heap_check("large", NULL));
}

static void test_records(void)
{
    static struct record records[4096];
    bool zeroed;
    struct block b = {0};
    uint32_t head = page_heap_alloc(1, 1, &zeroed);
    slab_make_classed(head, 4, true, false);
    slab_at(head)->records = records;
    records[3] = (struct record){42, 61};
    if (!EXPECT(block_find(slab_address(head) + 3 * 64 + 63, &b)))
        return;
    EXPECT(block_stack(&b) == 42 && block_requested(&b) == 61);
    slab_unmake(head, 1);
    slab_make_classed(head, 4, false, false); /* the next use knows nothing of them */
    if (!EXPECT(block_find(slab_address(head) + 3 * 64, &b)))
        return;
    EXPECT(block_stack(&b) == 0 && block_requested(&b) == 64);
    slab_unmake(head, 1);
    page_heap_free(head, 1);
}

UNIT_MAIN(TEST(test_start), TEST(test_classes), TEST(test_large), TEST(test_records))
