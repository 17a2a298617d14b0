/* gc_worklist.c -- a stack that grows in reserved memory, and says so when it cannot.
 *
 * Memory is refused here as the kernel does it: the reservation ends, or a part of it is gone. */
#include "gc/worklist.h"

#include "sys/mem.h"
#include "unit.h"

#include <sys/mman.h>

enum { FIRST_STEP = 64 << 10 };

static struct work numbered(size_t i)
{
    return (struct work){i * 16 + 16, i};
}

static void push_numbered(struct worklist *list, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        worklist_push(list, numbered(i));
}

/* Pops all, expecting numbered(top - 1) … numbered(0). */
static void pop_numbered(struct worklist *list, size_t top)
{
    bool good = list->count == top;
    while (list->count != 0) {
        struct work w = list->items[--list->count];
        good &= w.start == list->count * 16 + 16 && w.size == list->count;
    }
    EXPECT(good);
}

static size_t resident_pages(const void *start, size_t size)
{
    static unsigned char core[4096];
    size_t pages = 0;
    EXPECT(size / PAGE_SIZE <= sizeof core && mincore((void *)(uintptr_t)start, size, core) == 0);
    for (size_t i = 0; i < size / PAGE_SIZE; i++)
        pages += core[i] & 1;
    return pages;
}

static void test_growth(void)
{
    const size_t bytes = 4 * MIB, items = bytes / sizeof(struct work);
    struct worklist list;
    void *memory = mem_reserve(bytes);
    worklist_init(&list, memory, bytes);
    EXPECT(list.count == 0 && list.committed == 0 && list.most == items && !list.overflowed);
    push_numbered(&list, 0, 1);
    EXPECT(list.committed * sizeof(struct work) == FIRST_STEP);
    push_numbered(&list, 1, list.committed);
    EXPECT(list.committed * sizeof(struct work) == FIRST_STEP);
    push_numbered(&list, list.count, list.count + 1);
    EXPECT(list.committed * sizeof(struct work) == 2 * FIRST_STEP);
    push_numbered(&list, list.count, items);
    EXPECT(list.committed == items && !list.overflowed);
    pop_numbered(&list, items);
    mem_release(memory, bytes);
}

static void test_full(void)
{
    const size_t bytes = FIRST_STEP + 2 * PAGE_SIZE, items = bytes / sizeof(struct work);
    struct worklist list;
    void *memory = mem_reserve(bytes);
    worklist_init(&list, memory, bytes);
    push_numbered(&list, 0, items);
    EXPECT(list.count == items && !list.overflowed);
    push_numbered(&list, items, items + 100); /* dropped, and the rest is intact */
    EXPECT(list.count == items && list.overflowed && list.committed == items);
    list.overflowed = false;
    list.count--;
    push_numbered(&list, items - 1, items); /* room again */
    EXPECT(list.count == items && !list.overflowed);
    pop_numbered(&list, items);
    mem_release(memory, bytes);
}

/* Less than a page holds nothing, and a broken page at the end is not used. */
static void test_odd_sizes(void)
{
    struct worklist list;
    char *memory = mem_reserve(4 * PAGE_SIZE);
    worklist_init(&list, memory, PAGE_SIZE - 16);
    push_numbered(&list, 0, 1);
    EXPECT(list.count == 0 && list.overflowed);
    worklist_init(&list, memory, 0);
    push_numbered(&list, 0, 1);
    EXPECT(list.count == 0 && list.overflowed);
    worklist_init(&list, memory, 2 * PAGE_SIZE + 100);
    push_numbered(&list, 0, 3 * PAGE_SIZE / sizeof(struct work));
    EXPECT(list.count == 2 * PAGE_SIZE / sizeof(struct work) && list.overflowed);
    pop_numbered(&list, list.count);
    mem_release(memory, 4 * PAGE_SIZE);
}

static void test_refused(void)
{
    const size_t bytes = 8 * FIRST_STEP, had = 2 * FIRST_STEP / sizeof(struct work);
    struct worklist list;
    char *memory = mem_reserve(bytes);
    mem_release(memory + 3 * FIRST_STEP, FIRST_STEP); /* the third commit meets a hole */
    worklist_init(&list, memory, bytes);
    push_numbered(&list, 0, had);
    EXPECT(list.count == had && !list.overflowed);
    push_numbered(&list, had, had + 3);
    EXPECT(list.count == had && list.overflowed && list.committed == had);
    void *back = mmap(memory + 3 * FIRST_STEP, FIRST_STEP, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    EXPECT(back == memory + 3 * FIRST_STEP);
    push_numbered(&list, had, 2 * had); /* memory is to be had again */
    EXPECT(list.count == 2 * had);
    pop_numbered(&list, 2 * had);
    mem_release(memory, bytes);
}

static void test_shrink(void)
{
    const size_t bytes = 2 * MIB, items = bytes / sizeof(struct work);
    struct worklist list;
    void *memory = mem_reserve(bytes);
    worklist_init(&list, memory, bytes);
    worklist_shrink(&list); /* nothing there: nothing happens */
    push_numbered(&list, 0, 100);
    pop_numbered(&list, 100);
    worklist_shrink(&list);
    EXPECT(resident_pages(memory, bytes) > 0); /* the small rest stays */
    push_numbered(&list, 0, items);
    EXPECT(resident_pages(memory, bytes) == bytes / PAGE_SIZE);
    pop_numbered(&list, items);
    worklist_shrink(&list);
    EXPECT(resident_pages(memory, bytes) <= FIRST_STEP / PAGE_SIZE);
    push_numbered(&list, 0, items); /* and all of it can be used again */
    EXPECT(!list.overflowed);
    pop_numbered(&list, items);
    mem_release(memory, bytes);
}

UNIT_MAIN(TEST(test_growth), TEST(test_full), TEST(test_odd_sizes), TEST(test_refused),
          TEST(test_shrink))
