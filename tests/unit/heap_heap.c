/* heap_heap.c -- the heap floor as one: set-up, trimming, fork with other threads at work. */
#include "heap/heap.h"

#include "check/heap_check.h"
#include "child.h"
#include "heap/central.h"
#include "heap/heap_stats.h"
#include "heap/page_heap.h"
#include "heap/slab.h"
#include "sys/lock.h"

#include <pthread.h>

static void start(void)
{
    struct heap_census census;
    EXPECT(heap_init(8 * MIB, true));
    EXPECT(hot.pad == 1 && hot.granules == 0 && heap_used() == 0);
    EXPECT(relaxed_load(&hot.epoch) == EPOCH_FIRST && relaxed_load(&hot.window) == 0);
    EXPECT(heap_check("new", &census) && census.taken == 0 && census.free_runs == 0);
    void *block;
    EXPECT(central_fetch(1, 0, &block, 1) == 1 && hot.granules == 4 * MIB / GRANULE);
    EXPECT(heap_check("used", &census) && census.taken == 1 && census.free_runs == 0);
}

static void start_without_pad(void)
{
    EXPECT(heap_init(8 * MIB, false) && hot.pad == 0);
}

static void trim(void)
{
    void *items[256];
    struct heap_census census;
    EXPECT(heap_init(8 * MIB, false));
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        uint32_t got = central_fetch(class, 0, items, 3);
        for (uint32_t i = 0; i < got; i++)
            memset(items[i], 1, size_classes[class].size);
        central_release(class, 0, items, got); /* into the transfer cache */
    }
    EXPECT(heap_check("before", &census) && census.cached > 80 && heap_used() > 0);
    size_t freed = heap_trim();
    EXPECT(heap_check("after", &census) && census.spans == 0 && census.cached == 0);
    EXPECT(freed == (size_t)census.unused * SLAB_SIZE && heap_used() == 0 && heap_trim() == 0);
}

static void test_start(void)
{
    EXPECT(child_passes(start));
    EXPECT(child_passes(start_without_pad));
    EXPECT(child_passes(trim));
}

static _Atomic bool done;

static void *churn(void *data)
{
    void *items[32];
    for (unsigned i = 0; !atomic_load(&done); i++) {
        unsigned class = 1 + i % (SIZE_CLASS_COUNT - 1);
        uint32_t got = central_fetch(class, 0, items, 32);
        central_release(class, 0, items, got);
        if (i % 512 == 0)
            central_trim();
    }
    return data;
}

/* Blocks that were on their way in the parent's other threads stay SLOT_CACHED in the child: lost,
 * but counted; everything else is as it should be, and the locks are free. */
static bool child_is_sound(void)
{
    void *items[32];
    bool zeroed;
    heap_unlock_all_in_child();
    bool good = EXPECT(heap_check("child", NULL));
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        uint32_t got = central_fetch(class, 0, items, 32);
        good &= EXPECT(got > 0);
        central_release(class, 0, items, got);
    }
    uint32_t run = page_heap_alloc(3, 1, &zeroed);
    page_heap_free(run, 3);
    heap_trim();
    return EXPECT(heap_check("child, used", NULL)) && good;
}

static void fork_at_work(void)
{
    pthread_t t[2];
    EXPECT(heap_init(256 * MIB, false));
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, churn, NULL);
    for (unsigned round = 0; round < 40; round++) {
        int status = -1;
        heap_lock_all();
        EXPECT(lock_held(LOCK_PAGE_HEAP) && lock_held(LOCK_CENTRAL));
        pid_t pid = fork();
        if (pid == 0)
            _exit(!child_is_sound());
        heap_unlock_all();
        waitpid(pid, &status, 0);
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    atomic_store(&done, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    heap_trim();
    EXPECT(heap_check("parent", NULL) && heap_used() == 0);
}

static void test_fork(void)
{
    EXPECT(child_passes(fork_at_work));
}

UNIT_MAIN(TEST(test_start), TEST(test_fork))
