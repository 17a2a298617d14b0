/* gc_oracle.c -- a right mark passes, a wrong one ends the process and says which block. */
#include "gc/oracle.h"

#include "child.h"
#include "gc/own_stack.h"
#include "gc/team.h"
#include "gc/world.h"
#include "hidden.h"
#include "mutator/thread.h"
#include "stopped.h"
#include "sys/lock.h"
#include "sys/syscall.h"

#include <unistd.h>

enum { STACK = 256 << 10, COUNT = 300 };

static struct lock cycle_lock = LOCK_INIT(CYCLE);
static char *list, *stack_top;
static hidden blocks[COUNT], lost, large;
static int spoilt = -1; /* this block's byte is put back */
static bool spoil_large, passed;

static void mark_and_check(void *data, uintptr_t low)
{
    struct roots_files files;
    struct roots_stats stats;
    struct own_stack self = {(int32_t)syscall0(__NR_gettid), low};
    (void)data;
    EXPECT(roots_prepare() == NULL && roots_open(&files) == NULL);
    EXPECT(stop_world(WORLD_RUNNING, (uint64_t)5000000000u) == WORLD_STOPPED);
    uint8_t before = relaxed_load(&hot.epoch);
    EXPECT(oracle_begin());
    relaxed_store(&hot.epoch, epoch_next(before));
    struct roots_request request = {.pass = ROOTS_ALL, .files = &files, .self = self};
    team_start(1, &files.pagemap);
    EXPECT(roots_scan(team_leader(), &request, &stats) == NULL);
    team_drain(0);
    if (spoilt >= 0)
        hidden_set_byte(blocks[spoilt], before);
    if (spoil_large)
        hidden_set_byte(large, before);
    struct team_totals totals = team_totals();
    static uint8_t all[1 << 20];
    size_t size = size_min((size_t)relaxed_load(&arena.top) * (SLAB_SIZE / GRANULE), sizeof(all));
    memcpy(all, (const void *)(uintptr_t)hot.slots, size);
    oracle_check(&request);
    passed = true;
    EXPECT(memcmp(all, (const void *)(uintptr_t)hot.slots, size) == 0);
    EXPECT(relaxed_load(&hot.epoch) == epoch_next(before));
    struct team_totals after = team_totals();
    EXPECT(memcmp(&totals, &after, sizeof(totals)) == 0 && totals.marked_blocks >= COUNT);
    team_end();
    resume_world();
    roots_close(&files);
}

static GC_NOINLINE void check_now(void)
{
    wipe_stack();
    lock_acquire(&cycle_lock);
    call_on_stack(mark_and_check, NULL, stack_top);
    lock_release(&cycle_lock);
}

static void start(void)
{
    EXPECT(hidden_heap(256 * MIB, true) && team_init());
    world_set_signal(0);
    EXPECT(thread_attach((uintptr_t)environ));
    stack_top = (char *)meta_alloc(STACK) + STACK;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = hidden_new(48 + i % 7 * 100);
        if (i == 0)
            hidden_store(&list, blocks[0], 0);
        else
            hidden_link(blocks[i - 1], 8, blocks[i], i % 40);
    }
    large = hidden_new(300000);
    hidden_link(blocks[COUNT - 1], 8, large, 4711);
    lost = hidden_new(48);
}

static void right(void)
{
    start();
    for (unsigned i = 0; i < 2 * EPOCH_COUNT; i++) { /* over the wrap, too */
        passed = false;
        check_now();
        EXPECT(passed);
        if (i % 100 == 99) /* the sweep lets no block grow as old as the epochs are many */
            hidden_set_byte(lost, relaxed_load(&hot.epoch));
    }
    EXPECT(hidden_byte(blocks[COUNT - 1]) == relaxed_load(&hot.epoch));
    EXPECT(hidden_byte(lost) != relaxed_load(&hot.epoch)); /* its own mark left nothing behind */
}

static void wrong(void)
{
    start();
    dprintf(2, "%p\n", reveal(blocks[177]));
    spoilt = 177;
    check_now();
}

static void wrong_large(void)
{
    start();
    dprintf(2, "%p\n", reveal(large));
    spoil_large = true;
    check_now();
}

/* The message names the block, whose address comes on a line before it. */
static bool names_it(const char *text)
{
    char address[32];
    return sscanf(text, "%31s", address) == 1 && strstr(text, "oracle: the block at ") != NULL &&
           strstr(strstr(text, "oracle: the block at "), address) != NULL &&
           strstr(text, "was not marked") != NULL;
}

static void test_right(void)
{
    EXPECT(child_passes(right));
}

static void test_wrong(void)
{
    static char text[4096];
    EXPECT(child_aborts(wrong, text, sizeof(text)) && names_it(text));
    EXPECT(child_aborts(wrong_large, text, sizeof(text)) && names_it(text));
}

#if GC_CHECK_LEVEL >= 1
UNIT_MAIN(TEST(test_right), TEST(test_wrong))
#else
static void test_none(void)
{
    (void)test_right;
    (void)test_wrong;
    EXPECT(!oracle_begin()); /* it says that it checks nothing */
}
UNIT_MAIN(TEST(test_none))
#endif
