/* heap_large.c -- large blocks: sizes, alignment, zeros, growth in place, sweeping. */
#include "heap/large.h"

#include "base/rng.h"
#include "check/heap_check.h"
#include "child.h"
#include "ended_mark.h"
#include "heap/heap.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/page_heap.h"

#include <pthread.h>

static struct slab *head_of(const void *block)
{
    return slab_at(slab_index_of((uintptr_t)block));
}

static void drop(void *block)
{
    relaxed_store(slot_of((uintptr_t)block), SLOT_FREE);
    large_free(head_of(block));
}

static bool is_zero(const void *block, size_t size)
{
    const uint64_t *words = block;
    uint64_t any = 0;
    for (size_t i = 0; i < size / 8; i++)
        any |= words[i];
    return any == 0;
}

static void sizes(void)
{
    static const size_t cases[] = {0, 1, 16, 65536, 65537, 65552, 131072, 131073, 3 * MIB + 5};
    struct heap_census census;
    EXPECT(heap_init(64 * MIB, false));
    for (size_t i = 0; i < GC_COUNT(cases); i++) {
        bool zeroed = false;
        struct block b = {0};
        size_t size = cases[i], bytes = align_up(size_max(size, 1), GRANULE);
        char *p = large_alloc(size, GRANULE, &zeroed);
        if (!EXPECT(p != NULL) || !EXPECT(block_find((uintptr_t)p + bytes - 1, &b)))
            return;
        EXPECT(b.start == (uintptr_t)p && b.size == bytes && block_requested(&b) == size);
        EXPECT(relaxed_load(slot_of((uintptr_t)p)) == SLOT_CACHED);
        EXPECT(!zeroed || is_zero(p, bytes));
        memset(p, 0x5a, bytes);
        EXPECT(heap_check("one block", &census) && census.large_blocks == 1);
        EXPECT(heap_used() == (int64_t)bytes && relaxed_load(&heap_stats.large) == (int64_t)bytes);
        drop(p);
        EXPECT(heap_used() == 0 && relaxed_load(&heap_stats.large) == 0);
    }
    EXPECT(heap_check("none", &census) && census.large == 0 && census.free_runs == 1);
}

static void refused(void)
{
    bool zeroed;
    EXPECT(heap_init(MIB, false));
    EXPECT(large_alloc(MIB, GRANULE, &zeroed) == NULL); /* slab 0 is not to be had */
    EXPECT(large_alloc(MIB + 1, GRANULE, &zeroed) == NULL);
    EXPECT(large_alloc(SIZE_MAX, GRANULE, &zeroed) == NULL);
    EXPECT(large_alloc(SIZE_MAX / 2, GRANULE, &zeroed) == NULL);
    EXPECT(large_alloc(100, (size_t)1 << 62, &zeroed) == NULL);
    char *all = large_alloc(MIB - SLAB_SIZE, GRANULE, &zeroed);
    EXPECT(all != NULL && zeroed && large_alloc(1, GRANULE, &zeroed) == NULL);
    EXPECT(!large_resize(head_of(all), MIB) && !large_resize(head_of(all), SIZE_MAX));
    EXPECT(head_of(all)->bytes == MIB - SLAB_SIZE && heap_check("full", NULL));
    drop(all);
    EXPECT(heap_check("refused", NULL) && page_heap_stats().free_slabs == 15);
}

static void alignment(void)
{
    EXPECT(heap_init(256 * MIB, false));
    for (size_t unit = GRANULE; unit <= 32 * MIB; unit *= 2) {
        bool zeroed;
        char *p = large_alloc(70000, unit, &zeroed), *q = large_alloc(70000, unit, &zeroed);
        EXPECT(p != NULL && q != NULL && p != q);
        EXPECT(is_aligned((uintptr_t)p, unit) && is_aligned((uintptr_t)q, unit));
        EXPECT(heap_check("aligned", NULL));
        drop(p);
        drop(q);
    }
}

static void resize(void)
{
    bool zeroed;
    EXPECT(heap_init(64 * MIB, false));
    char *a = large_alloc(200000, GRANULE, &zeroed), *b = large_alloc(200000, GRANULE, &zeroed);
    memset(a, 1, 200000);
    memset(b, 2, 200000);
    EXPECT(large_resize(head_of(a), 262144) && !large_resize(head_of(a), 262145));
    EXPECT(large_resize(head_of(a), 70000) && head_of(a)->slabs == 2);
    EXPECT(head_of(a)->bytes == 70000 && head_of(a)->slack == 0 && heap_check("shrunk", NULL));
    struct block found;
    EXPECT(!block_find((uintptr_t)a + 2 * SLAB_SIZE, &found));
    EXPECT(large_resize(head_of(a), 196608) && !large_resize(head_of(a), 5 * SLAB_SIZE));
    EXPECT(head_of(a)->slabs == 3 && a[0] == 1 && a[69999] == 1);
    EXPECT(large_resize(head_of(b), 5 * MIB)); /* the last block grows into the arena */
    EXPECT(b[0] == 2 && b[199999] == 2 && heap_check("grown", NULL));
    memset(b, 3, 5 * MIB);
    EXPECT(b[5 * MIB - 1] == 3 && a[0] == 1);
    EXPECT(heap_used() == (int64_t)(196608 + 5 * MIB));
    drop(a);
    drop(b);
    EXPECT(heap_used() == 0 && heap_check("resized", NULL));
}

static void random_blocks(void)
{
    enum { BLOCKS = 12 };
    struct {
        char *p;
        size_t size;
    } blocks[BLOCKS] = {{NULL, 0}};
    uint64_t rng = 99, wrong = 0;
    EXPECT(heap_init(32 * MIB, false));
    for (unsigned i = 0; i < 1500; i++) {
        size_t at = rng_next(&rng) % BLOCKS, size = 65537 + rng_next(&rng) % (2 * MIB);
        char *p = blocks[at].p;
        if (p != NULL)
            wrong += p[0] != (char)at || p[blocks[at].size - 1] != (char)at;
        if (p != NULL && rng_next(&rng) % 2 && large_resize(head_of(p), size)) {
            wrong += p[0] != (char)at;
        } else {
            bool zeroed = false;
            if (p != NULL)
                drop(p);
            p = large_alloc(size, (size_t)1 << (4 + rng_next(&rng) % 16), &zeroed);
            wrong += zeroed && !is_zero(p, size);
        }
        blocks[at].p = p;
        blocks[at].size = size;
        if (p != NULL)
            p[0] = p[size - 1] = (char)at;
        if (i % 250 == 0)
            EXPECT(heap_check("random", NULL));
    }
    if (!EXPECT(wrong == 0))
        printf("    seed 99\n");
}

static void sweep_large(void)
{
    bool zeroed;
    struct heap_census census;
    EXPECT(heap_init(64 * MIB, false));
    char *a = large_alloc(100000, GRANULE, &zeroed), *b = large_alloc(100000, GRANULE, &zeroed);
    relaxed_store(slot_of((uintptr_t)a), 4);
    relaxed_store(slot_of((uintptr_t)b), 5);
    mark_ended(5);
    set_terms(true, 2);
    for (uint32_t i = 0; i < relaxed_load(&arena.top); i++)
        large_sweep(i); /* too young */
    EXPECT(heap_check("young", &census) && census.large_blocks == 2);
    judge.confirm = 1;
    for (uint32_t i = 0; i < relaxed_load(&arena.top); i++)
        large_sweep(i);
    EXPECT(heap_check("swept", &census) && census.large_blocks == 1 && census.live == 1);
    EXPECT(relaxed_load(&heap_stats.reclaimed) == 100000);
    EXPECT(relaxed_load(slot_of((uintptr_t)b)) == 5 && heap_used() == 100000);
}

/* .inv.verdict for large blocks: two sweepers and the program, one winner. */
static pthread_barrier_t ready;
static char *contested;

static void *sweep_contested(void *data)
{
    (void)data;
    for (unsigned i = 0; i < 2000; i++) {
        pthread_barrier_wait(&ready);
        large_sweep(slab_index_of((uintptr_t)contested));
        pthread_barrier_wait(&ready);
    }
    return NULL;
}

static void sweep_race(void)
{
    pthread_t t[2];
    EXPECT(heap_init(MIB, false));
    mark_ended(9);
    set_terms(true, 1);
    pthread_barrier_init(&ready, NULL, 3);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, sweep_contested, NULL);
    for (unsigned i = 0; i < 2000; i++) {
        bool zeroed;
        uint8_t live = 8;
        contested = large_alloc(15 * SLAB_SIZE, GRANULE, &zeroed);
        if (!EXPECT(contested != NULL))
            _exit(1);
        relaxed_store(slot_of((uintptr_t)contested), live);
        struct slab *head = head_of(contested);
        pthread_barrier_wait(&ready);
        if (atomic_compare_exchange_strong(slot_of((uintptr_t)contested), &live, SLOT_FREE))
            large_free(head);
        pthread_barrier_wait(&ready);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    EXPECT(heap_used() == 0 && heap_check("raced", NULL));
}

static void test_alloc(void)
{
    EXPECT(child_passes(sizes));
    EXPECT(child_passes(refused));
    EXPECT(child_passes(alignment));
}

static void test_resize(void)
{
    EXPECT(child_passes(resize));
    EXPECT(child_passes(random_blocks));
}

static void test_sweep(void)
{
    EXPECT(child_passes(sweep_large));
    EXPECT(child_passes(sweep_race));
}

UNIT_MAIN(TEST(test_alloc), TEST(test_resize), TEST(test_sweep))
