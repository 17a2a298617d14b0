/* watch_stats.c -- figures that add up. */
#include "watch/stats.h"

#include "heap/heap.h"
#include "mutator/alloc.h"
#include "mutator/thread.h"
#include "unit.h"
#include "watch/history.h"
#include "watch/stack_table.h"

#include <unistd.h>

static struct totals before, after;

static void test_start(void)
{
    static const struct alloc_settings plain = {.arena = true};
    EXPECT(heap_init(64 * MIB, true));
    alloc_start(&plain);
    EXPECT(thread_attach((uintptr_t)environ));
    stats_read(&before, 12345);
    EXPECT(before.resident_bytes == 12345 && before.threads == 1 && before.cycles == 0);
    EXPECT(before.heap_live == 0 && before.reclaimed_blocks == 0 && before.meta_bytes != 0);
}

static void test_large(void)
{
    enum { SIZE = 1 << 20, COUNT = 3 };
    void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        blocks[i] = alloc_malloc(SIZE);
    stats_read(&after, 0);
    EXPECT(after.large_blocks == before.large_blocks + COUNT);
    EXPECT(after.large_bytes >= before.large_bytes + COUNT * SIZE &&
           after.large_bytes <= before.large_bytes + COUNT * (SIZE + 65536));
    EXPECT(after.heap_used - before.heap_used == after.large_bytes - before.large_bytes);
    EXPECT(after.allocated_bytes - before.allocated_bytes == after.large_bytes - before.large_bytes);
    EXPECT(after.heap_mapped >= after.heap_used && after.freed_bytes == before.freed_bytes);
    uint64_t used = after.heap_used;
    alloc_free(blocks[1]);
    stats_read(&after, 0);
    EXPECT(after.large_blocks == before.large_blocks + COUNT - 1 && after.heap_used < used);
    EXPECT(after.freed_bytes - before.freed_bytes == used - after.heap_used);
    EXPECT(after.heap_free >= SIZE && after.heap_released <= after.heap_free);
    alloc_free(blocks[0]);
    alloc_free(blocks[2]);
    stats_read(&after, 0);
    EXPECT(after.large_bytes == before.large_bytes && after.heap_used == before.heap_used);
}

static void test_cycles(void)
{
    struct cycle_record r = {.number = 9, .begun = 100, .took = 23, .goal = 4096,
                             .marked_bytes = 50, .unreached_bytes = 7, .unreached_blocks = 2,
                             .paused = 5, .pause = 4, .total = 31, .stack_bytes = 11,
                             .root_bytes = 13, .reclaiming = true};
    history_add_cycle(&r, 0);
    stats_read(&after, 0);
    EXPECT(after.cycles == 9 && after.last_cycle == 123 && after.heap_goal == 4096);
    EXPECT(after.heap_live == 50 && after.unreached_bytes == 7 && after.unreached_blocks == 2);
    EXPECT(after.pause_total == 5 && after.pause_longest == 4 && after.collector_time == 31);
    EXPECT(after.stack_bytes == 11 && after.root_bytes == 13 && after.reclaiming == 1);
}

static void test_stacks(void)
{
    uintptr_t pcs[] = {1, 2, 3};
    EXPECT(stack_table_intern(pcs, 3, 0) != 0 && stack_table_intern(pcs, 2, 0) != 0);
    stats_read(&after, 0);
    EXPECT(after.stacks == 2 && after.stack_table_bytes == stack_table_stats().bytes);
}

UNIT_MAIN(TEST(test_start), TEST(test_large), TEST(test_cycles), TEST(test_stacks))
