/* mutator_alloc.c -- malloc and its family against a model, every hook, and every way to abuse
 * them.
 *
 * `allocate` and `release` are what the exported names do: the fast path, and on a miss the slow
 * one. Each scenario has its own settings, so its own process. */
#include "mutator/alloc.h"

#include "base/rng.h"
#include "check/heap_check.h"
#include "child.h"
#include "heap/heap.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "mutator/foreign.h"
#include "mutator/thread.h"

#include <errno.h>
#include <pthread.h>

static struct alloc_settings settings = {.arena = true};

static void start(size_t size, bool past_end)
{
    EXPECT(heap_init(size, past_end));
    alloc_start(&settings);
}

static void *allocate(size_t size)
{
    size_t padded = size + hot.pad;
    void *p = padded <= SIZE_CLASS_MAX ? cache_pop(size_class_of(padded)) : NULL;
    return p != NULL ? p : alloc_malloc(size);
}

static void release(void *p)
{
    if (!cache_push(p))
        alloc_free(p);
}

static uint8_t byte_of(const void *p)
{
    return relaxed_load(slot_of((uintptr_t)p));
}

static void set_byte(const void *p, uint8_t byte)
{
    relaxed_store(slot_of((uintptr_t)p), byte);
}

static struct block block_of(const void *p)
{
    struct block b = {0};
    EXPECT(block_find((uintptr_t)p, &b));
    return b;
}

static bool ours(const void *p)
{
    return (uintptr_t)p >= arena.base && (uintptr_t)p < arena.end;
}

/* Nothing is left of what this process allocated. */
static void expect_empty(const char *when)
{
    struct heap_census census;
    thread_detach();
    heap_trim();
    EXPECT(heap_check(when, &census) && census.live == 0 && census.cached == 0);
    EXPECT(census.spans == 0 && census.large_blocks == 0 && heap_used() == 0);
}

/* ---- the family against a model ---- */

enum { HELD = 400 };

struct item {
    unsigned char *p, fill;
    size_t size;
};

static struct item items[HELD];

static bool filled(const struct item *it, size_t size)
{
    for (size_t i = 0; i < size; i += i + 64 < size ? 61 : 1)
        if (it->p[i] != it->fill)
            return false;
    return true;
}

static size_t some_size(uint64_t *rng)
{
    uint64_t r = rng_next(rng);
    return (size_t)((r >> 32) % ((uint64_t)1 << (4 + r % 17)));
}

static bool make(struct item *it, uint64_t *rng)
{
    size_t size = some_size(rng), alignment = (size_t)1 << (4 + rng_next(rng) % 14);
    unsigned how = (unsigned)(rng_next(rng) % 4);
    if (how == 0) {
        it->p = alloc_calloc(1, size);
        it->fill = 0;
        it->size = size;
        if (!EXPECT(it->p != NULL) || !EXPECT(filled(it, size)))
            return false;
    } else {
        it->p = how == 1 ? alloc_aligned(alignment, size) : allocate(size);
        if (!EXPECT(it->p != NULL) || (how == 1 && !EXPECT(!((uintptr_t)it->p % alignment))))
            return false;
    }
    it->fill = (unsigned char)rng_next(rng);
    it->size = size;
    memset(it->p, it->fill, size);
    return EXPECT(ours(it->p)) && EXPECT(byte_of(it->p) == relaxed_load(&hot.epoch)) &&
           EXPECT(alloc_usable_size(it->p) >= size) &&
           EXPECT(block_of(it->p).size >= size + hot.pad);
}

static bool resize(struct item *it, uint64_t *rng)
{
    size_t size = some_size(rng) + 1;
    unsigned char *p = alloc_realloc(it->p, size);
    if (!EXPECT(p != NULL))
        return false;
    it->p = p;
    if (!EXPECT(filled(it, size_min(size, it->size))))
        return false;
    it->size = size;
    memset(p, it->fill, size);
    return EXPECT(alloc_usable_size(p) >= size && block_of(p).size >= size + hot.pad);
}

/* A magazine's blocks and its room are its capacity, and all of them are within the budget, but for
 * first magazines of 8 blocks. */
static bool magazines_sound(void)
{
    unsigned wrong = 0;
    int64_t bytes = 0, first = 0;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        const struct magazine *m = &thread_cache.magazines[class];
        unsigned capacity = magazine_count(m) + magazine_room(m);
        wrong += capacity > magazine_capacity(class);
        bytes += (int64_t)capacity * size_classes[class].size;
        first += (int64_t)size_min(capacity, 8) * size_classes[class].size;
    }
    return EXPECT(wrong == 0 && bytes == thread_cache.bytes && bytes <= CACHE_BYTES + first);
}

static void random_family(bool past_end, uint64_t seed)
{
    uint64_t rng = seed;
    start(256 * MIB, past_end);
    for (unsigned i = 0; i < 20000; i++) {
        struct item *it = &items[rng_next(&rng) % HELD];
        bool good = true;
        if (it->p == NULL)
            good = make(it, &rng);
        else if (rng_next(&rng) % 3 == 0)
            good = resize(it, &rng);
        else if ((good = EXPECT(filled(it, it->size)))) {
            release(it->p);
            it->p = NULL;
        }
        if (good && i % 4000 == 0)
            good = EXPECT(heap_check("random", NULL)) && magazines_sound();
        if (!good) {
            printf("    seed %lu, step %u\n", (unsigned long)seed, i);
            return;
        }
    }
    for (unsigned i = 0; i < HELD; i++)
        if (items[i].p != NULL)
            release(items[i].p);
    EXPECT(foreign_served() == 0);
    expect_empty("all released");
}

static void family_plain(void)
{
    random_family(false, 31);
}

static void family_past_end(void)
{
    random_family(true, 32);
}

/* Every allocation traced: the same contents, and the size asked for is on record. */
static uint32_t stack_7(void)
{
    return 7;
}

static void family_traced(void)
{
    settings.sampling = ALLOC_SAMPLE_ALL;
    settings.hooks.capture = stack_7;
    random_family(true, 33);
}

static void test_family(void)
{
    EXPECT(child_passes(family_plain));
    EXPECT(child_passes(family_past_end));
    EXPECT(child_passes(family_traced));
}

/* ---- corner cases ---- */

static void refusals(void)
{
    start(16 * MIB, true);
    errno = 0;
    EXPECT(alloc_malloc((size_t)PTRDIFF_MAX + 1) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(alloc_malloc(SIZE_MAX) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(alloc_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(alloc_aligned((size_t)1 << 63, 1) == NULL && errno == ENOMEM);
    void *p = alloc_malloc(100);
    errno = 0;
    EXPECT(alloc_realloc(p, SIZE_MAX - 10) == NULL && errno == ENOMEM);
    errno = 42;
    EXPECT(slot_is_live(byte_of(p)) && alloc_usable_size(p) >= 100);
    alloc_free(p);
    alloc_free(NULL);
    EXPECT(alloc_usable_size(NULL) == 0);
    p = alloc_malloc(0);
    EXPECT(p != NULL && errno == 42);
    EXPECT(alloc_realloc(p, 0) == NULL && byte_of(p) == SLOT_CACHED && errno == 42);
    p = alloc_realloc(NULL, 50);
    EXPECT(p != NULL && ours(p));
    alloc_free(p);
    expect_empty("refusals");
}

/* One past the end of what was asked for is still inside of the block. */
static void past_end(void)
{
    start(64 * MIB, true);
    for (size_t size = 0; size < 200000; size += size < 300 ? 1 : size / 5) {
        char *p = allocate(size);
        EXPECT(p != NULL && block_of(p + size).start == (uintptr_t)p);
        EXPECT(alloc_usable_size(p) >= size);
        p = alloc_realloc(p, size + 1);
        EXPECT(block_of(p + size + 1).start == (uintptr_t)p);
        release(p);
    }
    expect_empty("past the end");
}

/* Pages or bytes, in place or elsewhere: the contents follow. */
static void large_moves(void)
{
    start(64 * MIB, false);
    for (unsigned blocked = 0; blocked < 2; blocked++) {
        unsigned *p = alloc_malloc(MIB);
        void *behind = blocked ? alloc_malloc(MIB) : NULL;
        for (unsigned i = 0; i < MIB / 4; i++)
            p[i] = i;
        unsigned *q = alloc_realloc(p, 3 * MIB + 100), wrong = 0;
        EXPECT((q == p) == !blocked);
        for (unsigned i = 0; i < MIB / 4; i++)
            wrong += q[i] != i;
        EXPECT(wrong == 0 && heap_check("moved", NULL));
        p = alloc_realloc(q, 70000);
        EXPECT(p == q && block_of(p).size == 70000 && p[17499] == 17499);
        p = alloc_realloc(p, 5000); /* out of the large ones */
        EXPECT(p != q && p[1249] == 1249 && heap_check("shrunk", NULL));
        alloc_free(p);
        alloc_free(behind);
        unsigned char *zero = alloc_calloc(3, MIB);
        for (size_t i = 0; i < 3 * MIB; i++)
            wrong += zero[i];
        EXPECT(wrong == 0); /* the pages that were left behind read as zeros, or are cleared */
        alloc_free(zero);
    }
    expect_empty("large");
}

static void without_arena(void)
{
    settings.arena = false;
    alloc_start(&settings);
    char *p = alloc_malloc(100), *q = alloc_calloc(10, 10), *r = alloc_aligned(4096, 5);
    EXPECT(p != NULL && q != NULL && q[99] == 0 && !((uintptr_t)r % 4096));
    EXPECT(foreign_served() == 3 && alloc_usable_size(p) >= 100);
    strcpy(p, "kept");
    p = alloc_realloc(p, 100000);
    EXPECT_TEXT(p, "kept");
    EXPECT(alloc_calloc((size_t)1 << 62, 4) == NULL && alloc_calloc(PTRDIFF_MAX, 1) == NULL);
    alloc_free(p);
    alloc_free(q);
    alloc_free(r);
}

static void test_corners(void)
{
    EXPECT(child_passes(refusals));
    EXPECT(child_passes(past_end));
    EXPECT(child_passes(large_moves));
    EXPECT(child_passes(without_arena));
}

/* ---- hooks ---- */

static unsigned calls;
static size_t upcoming_seen;

static void count_pressure(size_t upcoming)
{
    EXPECT(heap_net() + (int64_t)upcoming >= 1000000);
    upcoming_seen = upcoming;
    calls++;
}

static void pressure(void)
{
    settings.hooks.pressure = count_pressure;
    start(64 * MIB, false);
    alloc_set_trigger(1000000);
    while (heap_net() < 900000)
        EXPECT(allocate(1024) != NULL);
    EXPECT(calls == 0);
    alloc_free(alloc_malloc(200000));
    EXPECT(calls == 1 && upcoming_seen == 200000); /* before it is taken */
    while (heap_net() < 1200000)
        EXPECT(allocate(1024) != NULL);
    EXPECT(calls > 1 && calls < 200); /* once a batch, not once a block */
    alloc_set_trigger(INT64_MAX);
    calls = 0;
    EXPECT(allocate(MIB) != NULL && calls == 0);
    alloc_set_trigger(1000000);
    thread_cache.in_hook = 1;
    EXPECT(allocate(MIB) != NULL && calls == 0);
}

static void count_stress(void)
{
    calls++;
}

static void stress(void)
{
    settings.stress = 7;
    settings.hooks.stress = count_stress;
    start(64 * MIB, false);
    for (unsigned i = 1; i <= 700; i++) {
        EXPECT(allocate(16 + i * 97 % 70000) != NULL);
        EXPECT(calls == i / 7);
    }
}

static void stress_without_hook(void)
{
    settings.stress = 1;
    start(MIB, false);
    EXPECT(alloc_malloc(10) != NULL);
}

static uint32_t next_stack(void)
{
    calls++;
    EXPECT(thread_cache.in_hook == 1);
    alloc_free(alloc_malloc(50)); /* an allocation of the hook's own is not captured */
    return calls;
}

static void capture_all(void)
{
    static void *blocks[1000];
    settings.sampling = ALLOC_SAMPLE_ALL;
    settings.hooks.capture = next_stack;
    start(64 * MIB, true);
    for (uint32_t i = 0; i < 1000; i++) {
        size_t size = i * 131 % 90000;
        blocks[i] = allocate(size);
        struct block b = block_of(blocks[i]);
        EXPECT(calls == i + 1 && block_stack(&b) == i + 1 && block_requested(&b) == size);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        struct block b = block_of(blocks[i]);
        EXPECT(block_stack(&b) == i + 1);
        EXPECT(slab_kind(b.head) == SLAB_LARGE || !cache_push(blocks[i])); /* class 0 */
        release(blocks[i]);
    }
    expect_empty("captured");
}

static uint32_t no_stack(void)
{
    calls++;
    return 0;
}

static void capture_fails(void)
{
    settings.sampling = ALLOC_SAMPLE_ALL;
    settings.hooks.capture = no_stack;
    start(16 * MIB, false);
    void *p = allocate(100);
    struct block b = block_of(p);
    EXPECT(calls == 1 && !b.head->traced && block_stack(&b) == 0);
    release(p);
    expect_empty("not captured");
}

/* Sampled by bytes: as many samples as the process has it, for a mixture of sizes. */
static void capture_some(void)
{
    static const size_t sizes[] = {16, 100, 1000, 30000};
    uint64_t bytes = 0;
    settings.sampling = ALLOC_SAMPLE_SOME;
    settings.sample_bytes = 512 << 10;
    settings.hooks.capture = stack_7;
    start(64 * MIB, false);
    thread_attach(0);
    thread_cache.thread->rng = 2024; /* fixed: it is seeded by the thread's id */
    unsigned sampled = 0;
    double expected = 0;
    for (unsigned i = 0; i < 400000; i++) {
        void *p = allocate(sizes[i % 4]);
        struct block b = block_of(p);
        sampled += block_stack(&b) == 7;
        bytes += b.size;
        expected += -__builtin_expm1(-(double)b.size / (512 << 10));
        release(p);
    }
    double error = sampled - expected;
    if (!EXPECT(error * error < 4.5 * 4.5 * expected))
        printf("    %u samples in %lu bytes\n", sampled, (unsigned long)bytes);
}

static void test_hooks(void)
{
    EXPECT(child_passes(pressure));
    EXPECT(child_passes(stress));
    EXPECT(child_passes(stress_without_hook));
    EXPECT(child_passes(capture_all));
    EXPECT(child_passes(capture_fails));
    EXPECT(child_passes(capture_some));
}

/* ---- contradictions ---- */

static uintptr_t contradicted;

static void note_contradiction(const struct block *block)
{
    calls++;
    contradicted = block->start;
}

static void check_contradictions(size_t size)
{
    void *p = allocate(size), *q = allocate(size), *r = allocate(size), *s = allocate(size);
    calls = 0;
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    uint8_t epoch = relaxed_load(&hot.epoch);
    set_byte(s, epoch);
    judge_note_newborn((uintptr_t)r);
    judge_end_newborn();
    release(p);
    EXPECT(calls == 1 && contradicted == (uintptr_t)p && !slot_is_live(byte_of(p)));
    alloc_usable_size(q);
    EXPECT(calls == 2 && contradicted == (uintptr_t)q && byte_of(q) == epoch); /* reachable now */
    release(q);
    release(r); /* .inv.newborn */
    release(s);
    EXPECT(calls == 2);
    q = allocate(size);
    set_byte(q, SLOT_KEPT);
    q = alloc_realloc(q, size + 1);
    EXPECT(calls == 3 && byte_of(q) == epoch);
    release(q);
    memset(judge.newborn, 0, sizeof(judge.newborn));
}

static void contradictions(void)
{
    settings.hooks.contradiction = note_contradiction;
    start(64 * MIB, false);
    for (unsigned i = 0; i < 2 * EPOCH_COUNT; i++) /* twice round */
        check_contradictions(i % 2 ? 100 : 100000);
    EXPECT(heap_check("contradicted", NULL));
    expect_empty("contradicted");
}

/* While a mark runs, a block of the last epoch is in order, from 255 to 4 too; an older is not. */
static void window(void)
{
    settings.hooks.contradiction = note_contradiction;
    start(64 * MIB, false);
    relaxed_store(&hot.window, 1);
    for (unsigned i = 0; i < 2 * EPOCH_COUNT; i++) {
        void *p = allocate(100), *q = allocate(100000), *old = allocate(100);
        relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
        calls = 0;
        release(p);
        release(q);
        if (!EXPECT(calls == 0))
            printf("    epoch %u\n", relaxed_load(&hot.epoch));
        relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
        release(old);
        EXPECT(calls == 1);
        if (i % 5 == 0) /* so that both steps come to cross the corner */
            relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    }
    expect_empty("window");
}

static void test_contradictions(void)
{
    EXPECT(child_passes(contradictions));
    EXPECT(child_passes(window));
}

/* ---- out of memory ---- */

static void *reserve;

static bool give_up_reserve(size_t size)
{
    calls++;
    EXPECT(size == 100000);
    if (reserve == NULL)
        return false;
    alloc_free(reserve);
    reserve = NULL;
    return true;
}

static void exhausted(void)
{
    settings.hooks.exhausted = give_up_reserve;
    start(MIB, false);
    reserve = alloc_malloc(700000);
    EXPECT(ours(reserve) && calls == 0);
    void *p = alloc_malloc(100000), *q = alloc_malloc(100000);
    EXPECT(ours(p) && ours(q) && calls == 0);
    EXPECT(ours(alloc_malloc(100000)));
    EXPECT(calls == 1 && foreign_served() == 0 && reserve == NULL);
    while (ours(p = alloc_malloc(100000)))
        continue;
    EXPECT(p != NULL && foreign_served() == 1); /* libc's, then */
    EXPECT(calls == 2);
    alloc_free(p);
    thread_cache.in_hook = 1;
    alloc_free(alloc_malloc(100000));
    EXPECT(calls == 2 && heap_check("exhausted", NULL));
}

static void test_exhausted(void)
{
    EXPECT(child_passes(exhausted));
}

/* ---- abuse ---- */

static char static_data[64] __attribute__((aligned(16)));

static void free_twice(void)
{
    start(16 * MIB, false);
    void *p = alloc_malloc(100);
    alloc_free(p);
    alloc_free(p);
}

static void free_large_twice(void)
{
    start(16 * MIB, false);
    void *p = alloc_malloc(1000000);
    alloc_free(p);
    alloc_free(p);
}

static void free_inside(void)
{
    start(16 * MIB, false);
    alloc_free((char *)alloc_malloc(112) + 48);
}

static void free_static(void)
{
    start(16 * MIB, false);
    alloc_malloc(1);
    alloc_free(static_data);
}

static void free_stack(void)
{
    char local[64] __attribute__((aligned(16))) = "";
    start(16 * MIB, false);
    alloc_malloc(1);
    alloc_free(local);
}

static void free_misaligned(void)
{
    start(16 * MIB, false);
    alloc_free(static_data + 1);
}

static void free_never_used(void)
{
    start(16 * MIB, false);
    alloc_free((void *)(arena.end - 64));
}

static void realloc_freed(void)
{
    start(16 * MIB, false);
    void *p = alloc_malloc(100);
    alloc_free(p);
    alloc_realloc(p, 200);
}

static void usable_size_freed(void)
{
    start(16 * MIB, false);
    void *p = alloc_malloc(100);
    alloc_free(p);
    alloc_usable_size(p);
}

static void test_abuse(void)
{
    static const struct {
        void (*body)(void);
        const char *says;
    } cases[] = {
        {free_twice, "double free: the block of 112 bytes"},
        {free_large_twice, "no block of the heap is there"},
        {free_inside, "it lies 48 bytes into the block of 112 bytes"},
        {free_static, "static data"},
        {free_stack, "on this thread's stack"},
        {free_misaligned, "not a multiple of 16"},
        {free_never_used, "no block of the heap is there"},
        {realloc_freed, "realloc("},
        {usable_size_freed, "malloc_usable_size("},
    };
    for (size_t i = 0; i < GC_COUNT(cases); i++) {
        char text[1024];
        if (!EXPECT(child_aborts(cases[i].body, text, sizeof text)) ||
            !EXPECT(strstr(text, cases[i].says) != NULL))
            printf("    %s: %s\n", cases[i].says, text);
    }
}

/* ---- threads ---- */

static void *_Atomic mailbox[64];

/* Threads, with a cache or strangers, free what others allocated. */
static void *exchange(void *attach)
{
    uint64_t rng = (uint64_t)pthread_self(), wrong = 0;
    if (attach != NULL)
        wrong += !thread_attach(1);
    for (unsigned i = 0; i < 40000; i++) {
        size_t size = 8 + rng_next(&rng) % (i % 64 == 0 ? 100000 : 300);
        size_t *p = allocate(size);
        *p = (size_t)p;
        size_t *old = atomic_exchange(&mailbox[rng_next(&rng) % 64], p);
        if (old != NULL) {
            wrong += *old != (size_t)old;
            release(old);
        }
    }
    wrong += thread_cache.state != (attach != NULL ? CACHE_ATTACHED : CACHE_STRANGER);
    thread_detach();
    return (void *)wrong;
}

static void threads(void)
{
    pthread_t t[4];
    void *wrong;
    start(256 * MIB, true);
    for (size_t i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, exchange, i == 0 ? NULL : mailbox);
    for (size_t i = 0; i < 4; i++)
        EXPECT(pthread_join(t[i], &wrong) == 0 && wrong == NULL);
    for (size_t i = 0; i < 64; i++)
        if (mailbox[i] != NULL)
            release(mailbox[i]);
    EXPECT(heap_check("exchanged", NULL));
    expect_empty("threads");
}

static void test_threads(void)
{
    EXPECT(child_passes(threads));
}

/* ---- overwritten memory ---- */

static bool all_are(const char *p, char byte, size_t size)
{
    size_t wrong = 0;
    for (size_t i = 0; i < size; i++)
        wrong += p[i] != byte;
    return wrong == 0;
}

static const size_t overwritten_sizes[] = {1, 24, 1000, 1024, 5000, 65000, 70000, 300000, 3000000};

/* By what free leaves in each size, at every second use of the same block; and what malloc does. */
static void overwrite_with(char freed, bool fills_new)
{
    start(256 * MIB, true);
    for (unsigned round = 0; round < 20; round++)
        for (size_t i = 0; i < GC_COUNT(overwritten_sizes); i++) {
            size_t size = overwritten_sizes[i];
            char *p = allocate(size);
            EXPECT(!fills_new || all_are(p, (char)0xa5, size));
            memset(p, 7, size);
            release(p);
            EXPECT(all_are(p, freed, size));
            p = alloc_calloc(1, size);
            EXPECT(all_are(p, 0, size));
            memset(p, 7, size);
            p = alloc_realloc(p, 2 * size);
            EXPECT(all_are(p, 7, size));
            release(p);
        }
    EXPECT(heap_check("overwritten", NULL));
    expect_empty("overwritten");
}

static void zeroes(void)
{
    settings.zero_on_free = true;
    overwrite_with(0, false);
}

static void junks(void)
{
    settings.junk = true;
    settings.zero_on_free = true; /* junk wins */
    overwrite_with(0x5a, true);
}

static void test_overwritten(void)
{
    EXPECT(child_passes(zeroes));
    EXPECT(child_passes(junks));
}

UNIT_MAIN(TEST(test_family), TEST(test_corners), TEST(test_hooks), TEST(test_contradictions),
          TEST(test_exhausted), TEST(test_abuse), TEST(test_threads), TEST(test_overwritten))
