/* mutator_thread_cache.c -- magazines, and blocks on their way between them and central. */
#include "mutator/thread_cache.h"

#include "base/rng.h"
#include "check/heap_check.h"
#include "child.h"
#include "heap/central.h"
#include "heap/heap.h"
#include "heap/heap_stats.h"
#include "heap/slab.h"
#include "mutator/thread.h"

/* .inv.moving: whoever comes on top of the miss path, here between a magazine and central, finds no
 * magazine open; blocks that it frees go to central. */
static void *on_top;       /* a live block, or NULL: nobody comes */
static unsigned came;

uint32_t __real_central_fetch(unsigned size_class, unsigned shard, void **items, uint32_t want);
uint32_t __wrap_central_fetch(unsigned size_class, unsigned shard, void **items, uint32_t want);
void __real_central_release(unsigned size_class, unsigned shard, void **items, uint32_t count);
void __wrap_central_release(unsigned size_class, unsigned shard, void **items, uint32_t count);

static void come_on_top(unsigned size_class)
{
    if (on_top == NULL)
        return;
    came++;
    EXPECT(thread_cache.busy && !cache_push(on_top) && cache_pop(size_class) == NULL);
}

uint32_t __wrap_central_fetch(unsigned size_class, unsigned shard, void **items, uint32_t want)
{
    come_on_top(size_class);
    return __real_central_fetch(size_class, shard, items, want);
}

void __wrap_central_release(unsigned size_class, unsigned shard, void **items, uint32_t count)
{
    come_on_top(size_class);
    __real_central_release(size_class, shard, items, count);
    come_on_top(size_class);
}

static void start(void)
{
    EXPECT(heap_init(64 * MIB, false) && thread_attach((uintptr_t)__builtin_frame_address(0)));
    EXPECT(thread_cache.state == CACHE_ATTACHED && thread_cache.thread != NULL);
}

static struct magazine *magazine(unsigned class)
{
    return &thread_cache.magazines[class];
}

static unsigned count(unsigned class)
{
    return magazine_count(magazine(class));
}

static unsigned room(unsigned class)
{
    return magazine_room(magazine(class));
}

static void set_until(unsigned class, int32_t until)
{
    magazine(class)->until = until;
}

static uint8_t byte_of(const void *block)
{
    return relaxed_load(slot_of((uintptr_t)block));
}

/* ---- one block ---- */

/* What a thread frees without having had such a block is another thread's, and goes home. */
static void first_is_foreign(void)
{
    struct heap_census census;
    void *theirs[2];
    start();
    EXPECT(central_fetch(4, 1, theirs, 2) == 2);
    EXPECT(!cache_knows(&thread_cache, 4) && cache_knows(&thread_cache, 4));
    EXPECT(count(4) == 0 && room(4) != 0); /* the next one it keeps */
    central_return(4, theirs, 2);
    EXPECT(cache_refill(&thread_cache, 4) && magazine(4)->bottom[0] != theirs[0]);
    EXPECT(cache_refill(&thread_cache, 5) && cache_knows(&thread_cache, 5));
    EXPECT(heap_check("known", &census) && census.cached == count(4) + count(5));
}

static void test_capacity(void)
{
    size_t sum = 0;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        unsigned most = magazine_capacity(class);
        EXPECT(most >= 4 && most <= CENTRAL_BATCH_MOST);
        EXPECT((size_t)most * size_classes[class].size <= 256 * KIB);
        sum += most;
    }
    EXPECT(sum <= THREAD_ITEMS);
}

/* What a thread starts with refuses everything. */
static void zeroed(void)
{
    EXPECT(heap_init(MIB, false));
    for (unsigned class = 0; class < SIZE_CLASS_COUNT; class++)
        EXPECT(cache_pop(class) == NULL);
    EXPECT(!cache_push((void *)(arena.base + SLAB_SIZE)) && !cache_push(NULL));
    EXPECT(count(1) == 0 && room(1) == 0 && thread_cache.magazines[1].until == 0);
}

static void pop_and_push(void)
{
    start();
    EXPECT(cache_pop(4) == NULL && cache_refill(&thread_cache, 4) && count(4) == 16);
    EXPECT(room(4) == 16 && heap_check("refilled", NULL));
    set_until(4, 3);
    relaxed_store(&hot.epoch, 77);
    char *a = cache_pop(4), *b = cache_pop(4);
    EXPECT(a != NULL && b != NULL && a != b && byte_of(a) == 77 && byte_of(b) == 77);
    EXPECT(count(4) == 14 && room(4) == 18 && magazine(4)->until == 1);
    EXPECT(cache_push(a) && byte_of(a) == SLOT_CACHED && cache_pop(4) == a);
    EXPECT(magazine(4)->until == 0 && cache_pop(4) == NULL); /* an event is due */
    EXPECT(count(4) == 14 && magazine(4)->until == -1); /* and nothing was taken: .inv.until */
    EXPECT(magazine_here(4 << SIZE_CLASS_SHIFT)->until == -1);
    EXPECT(cache_push(a) && cache_push(b) && count(4) == 16 && room(4) == 16);
    EXPECT(heap_check("pushed", NULL));
}

/* Everything that free() must look at more closely. */
static void push_refuses(void)
{
    start();
    cache_refill(&thread_cache, 4);
    set_until(4, 1000);
    char *p = cache_pop(4);
    void **top = magazine(4)->top;
    for (unsigned i = 1; i < 64; i++)
        EXPECT(!cache_push(p + i)); /* inside, misaligned */
    EXPECT(!cache_push((char *)hot.base - 16) && !cache_push((void *)arena.end));
    EXPECT(!cache_push((void *)16) && !cache_push((void *)UINTPTR_MAX) && !cache_push(&top));
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    EXPECT(!cache_push(p) && byte_of(p) == EPOCH_FIRST); /* the last mark did not reach it */
    relaxed_store(&hot.window, 1);
    EXPECT(cache_push(p) && !cache_push(p)); /* while marking; and then it is free */
    EXPECT(magazine(4)->top == top + 1 && top[0] == p);
    p = cache_pop(4);
    for (unsigned byte = 0; byte < 256; byte++) {
        relaxed_store(slot_of((uintptr_t)p), (uint8_t)byte);
        unsigned age = (uint8_t)(relaxed_load(&hot.epoch) - byte);
        bool pushed = cache_push(p);
        EXPECT(pushed == (age <= 1));
        if (pushed)
            EXPECT(cache_pop(4) == p);
    }
    relaxed_store(slot_of((uintptr_t)p), SLOT_CACHED);
    set_until(4, 0);
    magazine(4)->end = magazine(4)->top;
    relaxed_store(slot_of((uintptr_t)p), relaxed_load(&hot.epoch));
    EXPECT(!cache_push(p) && slot_is_live(byte_of(p))); /* no room: it stays live */
}

/* What realloc and malloc_usable_size take for granted: only live blocks of ordinary spans. */
static void sizes(void)
{
    struct record record = {1, 50};
    start();
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        EXPECT(cache_refill(&thread_cache, class));
        set_until(class, 2);
        char *p = cache_pop(class);
        EXPECT(cache_size_of(p) == size_classes[class].size);
        EXPECT(cache_size_of(p + 1) == 0 && cache_size_of(p + GRANULE) == 0);
        EXPECT(cache_push(p) && cache_size_of(p) == 0);
    }
    void *traced = central_fetch_single(4, &record, false);
    void *leaf = central_fetch_single(4, NULL, true);
    relaxed_store(slot_of((uintptr_t)traced), relaxed_load(&hot.epoch));
    relaxed_store(slot_of((uintptr_t)leaf), relaxed_load(&hot.epoch));
    EXPECT(cache_size_of(traced) == 0 && cache_size_of(leaf) == 0);
    EXPECT(cache_size_of(NULL) == 0 && cache_size_of(&record) == 0);
    void *old = cache_pop(4);
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    EXPECT(old != NULL && cache_size_of(old) == 0); /* the last mark did not reach it */
}

/* ---- batches ---- */

/* The first magazines hold little, and the first batch of large blocks is the one asked for. */
static void begins_small(void)
{
    start();
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        size_t size = size_classes[class].size;
        EXPECT(cache_refill(&thread_cache, class));
        unsigned first = count(class) + room(class);
        EXPECT(count(class) <= first / 2 && count(class) >= 1); /* it may end at a line */
        EXPECT(first >= 2 && first * size <= size_max(16 * KIB, 2 * size));
        EXPECT(size > 64 || (count(class) + 1) * size > CACHE_LINE * GRANULE);
        EXPECT(size <= 4 * KIB || count(class) == 1 || size * count(class) <= 8 * KIB);
    }
    EXPECT(heap_check("begun", NULL));
}

/* Doubles with each miss, up to the capacity and no further; at first there are as many blocks as
 * have a cache line of slot bytes. */
static void grows(void)
{
    enum { CLASS = 1 }; /* a span of 4,096 slots is enough for all */
    start();
    static void *blocks[8000];
    unsigned taken = 0, most = magazine_capacity(CLASS);
    for (unsigned miss = 0; miss < 9; miss++) {
        EXPECT(cache_refill(&thread_cache, CLASS));
        unsigned capacity = count(CLASS) + room(CLASS);
        EXPECT(capacity == size_min(128u << miss, most) && count(CLASS) == capacity / 2);
        set_until(CLASS, INT32_MAX);
        while (count(CLASS) != 0)
            blocks[taken++] = cache_pop(CLASS);
    }
    for (unsigned i = 0; i < taken; i++) {
        if (room(CLASS) == 0)
            cache_make_room(&thread_cache, CLASS);
        EXPECT(room(CLASS) >= 1 && count(CLASS) + room(CLASS) <= most && cache_push(blocks[i]));
    }
    EXPECT(magazine(CLASS)->until > 0); /* batches leave the event counter alone */
    EXPECT(heap_check("grown", NULL) && count(CLASS) >= 128);
}

/* What overflows is the older half. */
static void keeps_the_young(void)
{
    enum { MOST = 4 };
    start();
    unsigned class = SIZE_CLASS_COUNT - 1;
    EXPECT(magazine_capacity(class) == MOST);
    void *blocks[MOST + 1];
    for (unsigned i = 0; i <= MOST; i++) {
        EXPECT(cache_refill(&thread_cache, class));
        set_until(class, 10);
        blocks[i] = cache_pop(class);
    }
    while (count(class) != 0)
        EXPECT(slot_is_live(byte_of(cache_pop(class)))); /* what the refills brought besides */
    for (unsigned i = 0; i <= MOST; i++) {
        if (room(class) == 0)
            cache_make_room(&thread_cache, class);
        EXPECT(cache_push(blocks[i]));
    }
    EXPECT(count(class) == 3 && heap_check("young", NULL));
    for (unsigned i = 0; i < 3; i++)
        EXPECT(magazine(class)->bottom[i] == blocks[i + 2]);
}

enum { MANY = SIZE_CLASS_COUNT - 1 };

static unsigned holds(unsigned class)
{
    return count(class) + room(class);
}

/* Of classes [from, to], in turn, as many blocks are taken as their magazines may hold, and given
 * back. Returns how often a magazine became smaller on the way. */
static unsigned use_classes(unsigned from, unsigned to)
{
    static void *blocks[SIZE_CLASS_COUNT][CENTRAL_BATCH_MOST];
    unsigned held[SIZE_CLASS_COUNT] = {0}, shrunk = 0;
    for (unsigned i = 0; i < 2 * CENTRAL_BATCH_MOST; i++)
        for (unsigned class = from; class <= to; class++) {
            void **block = &blocks[class][i % CENTRAL_BATCH_MOST];
            if (i % CENTRAL_BATCH_MOST >= magazine_capacity(class))
                continue;
            if (i < CENTRAL_BATCH_MOST) {
                cache_refill(&thread_cache, class);
                *block = cache_pop(class);
            } else {
                cache_make_room(&thread_cache, class);
                EXPECT(cache_push(*block));
            }
            shrunk += holds(class) < held[class];
            held[class] = holds(class);
        }
    return shrunk;
}

/* All classes are in use, and would hold more than they may together: what they hold is what the
 * cache believes, and soon they take nothing from each other any more (.inv.calm). Then one alone
 * is used, and gets all it may have from those that are idle. */
static void shares(void)
{
    const unsigned one = size_class_of(2048);
    int64_t bytes = 0;
    start();
    for (unsigned class = 1; class <= MANY; class++)
        set_until(class, INT32_MAX);
    for (unsigned round = 0; round < 8; round++)
        use_classes(1, MANY);
    for (unsigned class = 1; class <= MANY; class++) {
        EXPECT(holds(class) <= magazine_capacity(class));
        bytes += (int64_t)holds(class) * size_classes[class].size;
    }
    EXPECT(bytes == thread_cache.bytes && bytes <= CACHE_BYTES && bytes > CACHE_BYTES / 2);
    EXPECT(use_classes(1, MANY) <= MANY / 4);
    EXPECT(holds(one) < magazine_capacity(one));
    for (unsigned round = 0; round < 100; round++)
        use_classes(one, one);
    EXPECT(holds(one) == magazine_capacity(one));
    EXPECT(heap_check("shared", NULL));
}

/* A handler meets every step of a magazine's filling and emptying. */
static void handlers(void)
{
    enum { CLASS = 4, COUNT = 5000 };
    static void *blocks[COUNT];
    start();
    EXPECT(cache_refill(&thread_cache, CLASS));
    set_until(CLASS, INT32_MAX);
    on_top = cache_pop(CLASS);
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT(cache_refill(&thread_cache, CLASS));
        set_until(CLASS, INT32_MAX);
        blocks[i] = cache_pop(CLASS);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        cache_make_room(&thread_cache, CLASS);
        EXPECT(magazine(CLASS)->until > 0 && cache_push(blocks[i]));
    }
    EXPECT(came > 10 && heap_check("handlers", NULL));
    cache_flush(&thread_cache);
    EXPECT(cache_pop(CLASS) == NULL && !cache_push(on_top));
    on_top = NULL;
}

/* Random use of all classes, and then a flush: every block is back. */
static void random_use(void)
{
    enum { HELD = 3000 };
    static void *held[HELD];
    struct heap_census census;
    unsigned used = 0, wrong = 0;
    uint64_t rng = 4711;
    start();
    for (unsigned i = 0; i < 60000; i++) {
        if (used < HELD && (used == 0 || rng_next(&rng) % 100 < (i / 10000 % 2 ? 40 : 60))) {
            unsigned class = 1 + (unsigned)(rng_next(&rng) % 40);
            if (count(class) == 0 && !EXPECT(cache_refill(&thread_cache, class)))
                return;
            set_until(class, 1);
            void *p = cache_pop(class);
            wrong += p == NULL || byte_of(p) != relaxed_load(&hot.epoch);
            held[used++] = p;
        } else {
            unsigned at = (unsigned)(rng_next(&rng) % used);
            struct block b = {0};
            if (!EXPECT(block_find((uintptr_t)held[at], &b)))
                return;
            if (room(b.head->size_class) == 0)
                cache_make_room(&thread_cache, b.head->size_class);
            wrong += !cache_push(held[at]);
            held[at] = held[--used];
        }
    }
    if (!EXPECT(wrong == 0))
        printf("    seed 4711\n");
    EXPECT(heap_check("used", &census) && census.live == used);
    cache_flush(&thread_cache);
    EXPECT(thread_cache.state == CACHE_STRANGER && heap_check("flushed", &census));
    heap_trim();
    EXPECT(heap_check("trimmed", &census) && census.cached == 0 && census.live == used);
}

static void out_of_memory(void)
{
    EXPECT(heap_init(MIB, false) && thread_attach(0));
    unsigned class = SIZE_CLASS_COUNT - 1, got = 0;
    while (cache_refill(&thread_cache, class)) {
        set_until(class, 10);
        while (cache_pop(class) != NULL)
            got++;
    }
    EXPECT(got == 15 && count(class) == 0 && cache_pop(class) == NULL);
    EXPECT(!cache_refill(&thread_cache, 1) && heap_check("full", NULL));
}

/* A fork may find a block half-way: only what is SLOT_CACHED goes back. */
static void flush_half_way(void)
{
    struct heap_census census;
    start();
    cache_refill(&thread_cache, 4);
    void *live = magazine(4)->bottom[0];
    relaxed_store(slot_of((uintptr_t)live), relaxed_load(&hot.epoch));
    cache_flush(&thread_cache);
    EXPECT(heap_check("half-way", &census) && census.live == 1);
    heap_trim();
    EXPECT(heap_check("half-way, trimmed", &census) && census.live == 1 && census.cached == 0);
}

static void test_one_block(void)
{
    EXPECT(child_passes(zeroed));
    EXPECT(child_passes(pop_and_push));
    EXPECT(child_passes(push_refuses));
    EXPECT(child_passes(sizes));
}

static void test_batches(void)
{
    EXPECT(child_passes(begins_small));
    EXPECT(child_passes(grows));
    EXPECT(child_passes(first_is_foreign));
    EXPECT(child_passes(keeps_the_young));
    EXPECT(child_passes(shares));
    EXPECT(child_passes(handlers));
    EXPECT(child_passes(random_use));
    EXPECT(child_passes(out_of_memory));
    EXPECT(child_passes(flush_half_way));
}

UNIT_MAIN(TEST(test_capacity), TEST(test_one_block), TEST(test_batches))
