/* mutator_tally.c -- counting what the fast paths do not count. */
#include "mutator/tally.h"

#include "child.h"
#include "heap/heap.h"
#include "heap/large.h"
#include "mutator/alloc.h"
#include "mutator/thread.h"
#include "sys/lock.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { SIZE = 100, BLOCKS = 3000 };

static struct tally t;
static void *blocks[BLOCKS];

static void begin(enum alloc_sampling sampling)
{
    struct alloc_settings s = {.sampling = sampling, .sample_bytes = 4096, .arena = true};
    EXPECT(heap_init(256 * MIB, false) && thread_attach((uintptr_t)__builtin_frame_address(0)));
    alloc_start(&s);
}

/* As the exported functions do it. */
static void *take(size_t size)
{
    void *block = cache_pop(size_class_of(size));
    return block != NULL ? block : alloc_malloc(size);
}

static void give(void *block)
{
    if (!cache_push(block))
        alloc_free(block);
}

static bool counts_are(size_t size, uint64_t mallocs, uint64_t frees)
{
    unsigned class = size == 0 ? 0 : size_class_of(size);
    tally_read(&t, TALLY_PROGRAM);
    return t.mallocs[class] == mallocs && t.frees[class] == frees &&
           tally_sum(t.mallocs) == mallocs && tally_sum(t.frees) == frees;
}

static void count(void)
{
    EXPECT(counts_are(SIZE, 0, 0) && t.live_bytes == 0 && t.cached_bytes == 0);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        blocks[i] = take(SIZE);
        if (!EXPECT(counts_are(SIZE, i + 1, 0)))
            return;
    }
    EXPECT(t.live_bytes == BLOCKS * 112 && t.allocated_bytes == BLOCKS * 112);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        give(blocks[i]);
        if (!EXPECT(counts_are(SIZE, BLOCKS, i + 1)))
            return;
    }
    EXPECT(t.live_bytes == 0 && t.cached_bytes != 0 && t.allocated_bytes == BLOCKS * 112);
    heap_trim();
    EXPECT(counts_are(SIZE, BLOCKS, BLOCKS));
}

static void plain(void)
{
    begin(ALLOC_SAMPLE_NONE);
    count();
}

static void large(void)
{
    begin(ALLOC_SAMPLE_NONE);
    void *block = alloc_malloc(MIB);
    EXPECT(counts_are(0, 1, 0) && t.live_bytes == MIB && t.allocated_bytes == MIB);
    block = alloc_realloc(block, 2 * MIB);
    EXPECT(t.frees[0] <= 1);
    alloc_free(block);
    tally_read(&t, TALLY_PROGRAM);
    EXPECT(t.mallocs[0] == t.frees[0] && t.live_bytes == 0 && t.allocated_bytes >= 2 * MIB);
}

/* A thread without a cache. */
static void stranger(void)
{
    begin(ALLOC_SAMPLE_NONE);
    thread_detach();
    void *block = alloc_malloc(SIZE);
    EXPECT(counts_are(SIZE, 1, 0) && t.threads == 0);
    alloc_free(block);
    EXPECT(counts_are(SIZE, 1, 1));
}

static _Atomic int stage;

static void wait_for_stage(int s)
{
    while (stage != s)
        sched_yield();
}

static void *other(void *unused)
{
    (void)unused;
    EXPECT(thread_attach((uintptr_t)__builtin_frame_address(0)));
    for (int i = 0; i < 500; i++)
        blocks[i] = take(SIZE);
    stage = 1;
    wait_for_stage(2);
    for (int i = 0; i < 500; i++)
        give(blocks[i]);
    stage = 3;
    wait_for_stage(4);
    thread_detach();
    stage = 5;
    return NULL;
}

/* At rest its cache is read; half-way in a change it is not, nor waited for; and its allocations
 * outlive it. */
static void threads(void)
{
    pthread_t thread;
    begin(ALLOC_SAMPLE_NONE);
    EXPECT(pthread_create(&thread, NULL, other, NULL) == 0);
    wait_for_stage(1);
    EXPECT(counts_are(SIZE, 500, 0) && t.threads == 2);
    stage = 2;
    wait_for_stage(3);
    EXPECT(counts_are(SIZE, 500, 500));
    struct thread *busy = thread_first();
    thread_move(busy);
    tally_read(&t, TALLY_OBSERVER);
    EXPECT(t.mallocs[size_class_of(SIZE)] <= 500 && t.frees[size_class_of(SIZE)] <= 500);
    EXPECT(counts_are(SIZE, 500, 500)); /* what was told stays */
    thread_move(busy);
    stage = 4;
    wait_for_stage(5);
    EXPECT(counts_are(SIZE, 500, 500) && t.threads == 1);
    EXPECT(pthread_join(thread, NULL) == 0);
}

static void not_now(void)
{
    begin(ALLOC_SAMPLE_NONE);
    EXPECT(tally_can_read());
    thread_cache.busy = 1;
    EXPECT(!tally_can_read());
    thread_cache.busy = 0;
    thread_move(thread_cache.thread);
    EXPECT(!tally_can_read());
    thread_move(thread_cache.thread);
    lock_region_begin();
    EXPECT(!tally_can_read());
    lock_region_end();
    EXPECT(tally_can_read());
}

static void test_in_children(void)
{
    EXPECT(child_passes(plain));
    EXPECT(child_passes(large));
    EXPECT(child_passes(stranger));
    EXPECT(child_passes(threads));
    EXPECT(child_passes(not_now));
}

UNIT_MAIN(TEST(test_in_children))
