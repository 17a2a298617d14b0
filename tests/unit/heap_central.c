/* heap_central.c -- central against a set of blocks.
 *
 * The test holds what it fetched in an array; the set is the slot bytes themselves (SLOT_CACHED
 * once, never twice) and a word written into each block. The heap is checked after every phase. */
#include "heap/central.h"

#include "base/rng.h"
#include "check/heap_check.h"
#include "child.h"
#include "ended_mark.h"
#include "heap/heap.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"

#include <pthread.h>
#include <sys/mman.h>

enum { HELD_MOST = 4000 };

static uint64_t rng;

static void start(size_t size)
{
    EXPECT(heap_init(size, false));
    set_terms(false, 0);
}

static uint8_t byte_of(const void *block)
{
    return relaxed_load(slot_of((uintptr_t)block));
}

static void set_byte(const void *block, uint8_t byte)
{
    relaxed_store(slot_of((uintptr_t)block), byte);
}

/* Writes a name into each block; true if all are starts of cached blocks of the class. */
static bool own(void **items, uint32_t count, unsigned class, void *name)
{
    unsigned wrong = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct block b;
        wrong += !block_find((uintptr_t)items[i], &b) || b.start != (uintptr_t)items[i] ||
                 b.size != size_classes[class].size || byte_of(items[i]) != SLOT_CACHED;
        *(void **)items[i] = name;
    }
    return wrong == 0;
}

/* ---- random operations on one class ---- */

static struct {
    void *items[HELD_MOST];
    uint32_t count;
} held;

static bool hand_back(unsigned class, uint32_t want)
{
    void *batch[CENTRAL_BATCH_MOST];
    unsigned wrong = 0;
    for (uint32_t i = 0; i < want; i++) {
        uint32_t at = (uint32_t)(rng_next(&rng) % held.count);
        batch[i] = held.items[at];
        wrong += *(void **)batch[i] != batch[i]; /* nothing is written into a cached block */
        held.items[at] = held.items[--held.count];
    }
    central_release(class, 0, batch, want);
    return EXPECT(wrong == 0);
}

static bool fetch(unsigned class, uint32_t want)
{
    void **items = &held.items[held.count];
    uint32_t got = central_fetch(class, 0, items, want);
    if (!EXPECT(got > 0 && got <= want) || !EXPECT(own(items, got, class, NULL)))
        return false;
    for (uint32_t i = 0; i < got; i++) {
        *(void **)items[i] = items[i];
        set_byte(items[i], SLOT_CACHED);
    }
    held.count += got;
    return true;
}

static bool held_are_distinct(void)
{
    unsigned wrong = 0; /* two holders of one block would both mark it */
    for (uint32_t i = 0; i < held.count; i++) {
        wrong += byte_of(held.items[i]) != SLOT_CACHED;
        set_byte(held.items[i], relaxed_load(&hot.epoch));
    }
    for (uint32_t i = 0; i < held.count; i++)
        set_byte(held.items[i], SLOT_CACHED);
    return EXPECT(wrong == 0);
}

static void random_class(unsigned class, uint64_t seed)
{
    struct heap_census census;
    rng = seed;
    held.count = 0;
    for (unsigned step = 0; step < 400; step++) {
        uint32_t want = 1 + (uint32_t)(rng_next(&rng) % (class < 40 ? 200 : 10));
        bool more = rng_next(&rng) % 100 < (step < 200 ? 60 : 40);
        bool good = more && held.count + want <= HELD_MOST ? fetch(class, want)
                    : held.count == 0 ? true
                    : hand_back(class, (uint32_t)size_min(want, held.count));
        if (good && step % 100 == 0)
            good = held_are_distinct() && EXPECT(heap_check("random", &census)) &&
                   EXPECT(census.cached >= held.count);
        if (!good) {
            printf("    class %u, seed %lu, step %u\n", class, (unsigned long)seed, step);
            return;
        }
    }
    while (held.count != 0)
        hand_back(class, (uint32_t)size_min(held.count, CENTRAL_BATCH_MOST));
    EXPECT(heap_check("handed back", NULL));
    central_trim();
    EXPECT(heap_check("trimmed", &census) && census.spans == 0 && census.cached == 0);
    EXPECT(census.taken == 1 && census.free_runs == 1 && heap_used() == 0);
}

static void random_classes(void)
{
    static const unsigned classes[] = {1, 2, 3, 5, 16, 29, 52, 53, 61, 67, 75, 78, 79, 80};
    start(GIB);
    for (size_t i = 0; i < GC_COUNT(classes); i++)
        random_class(classes[i], 1000 + i);
}

static void test_random(void)
{
    EXPECT(child_passes(random_classes));
}

/* ---- the arena is full ---- */

static void exhaust(void)
{
    static void *items[20000];
    struct heap_census census;
    uint32_t count = 0, got;
    start(MIB);
    while ((got = central_fetch(10, 0, &items[count], 100)) != 0)
        count += got;
    EXPECT(count == 15 * 409 && own(items, count, 10, items));
    EXPECT(central_fetch(10, 0, &items[count], 1) == 0 && central_fetch(1, 0, &items[count], 1) == 0);
    EXPECT(central_fetch_single(3, &(struct record){1, 1}, false) == NULL);
    EXPECT(heap_check("full", &census) && census.cached == count && census.unused == 0);
    for (uint32_t i = 0; i < count; i += got)
        central_release(10, 0, &items[i], got = (uint32_t)size_min(count - i, 256));
    EXPECT(central_fetch(1, 0, items, 1) == 1); /* empty spans went back to the page heap */
    central_release(1, 0, items, 1);
    central_trim();
    EXPECT(heap_check("empty again", &census) && census.unused == 15);
}

static void test_exhausted(void)
{
    EXPECT(child_passes(exhaust));
}

/* ---- sweep on demand ---- */

static void next_cycle(bool reclaim)
{
    sweep_finish();
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    set_terms(reclaim, 1);
    sweep_begin();
}

/* .inv.swept: what a mark did not reach is free before its span hands out a slot. */
static void on_demand(void)
{
    static void *items[15 * 64];
    struct heap_census census;
    uint32_t count = 0;
    start(MIB);
    while (count < GC_COUNT(items))
        count += central_fetch(32, 0, &items[count], 64);
    for (uint32_t i = 0; i < count; i++)
        set_byte(items[i], relaxed_load(&hot.epoch));
    EXPECT(central_fetch(32, 0, items, 1) == 0);
    next_cycle(true);
    for (uint32_t i = 0; i < count; i += 3) /* a third is reached */
        set_byte(items[i], relaxed_load(&hot.epoch));
    void *again[640];
    for (uint32_t got = 0; got < 640;) {
        uint32_t more = central_fetch(32, 0, &again[got], 640 - got);
        if (!EXPECT(more != 0))
            return;
        got += more;
    }
    EXPECT(central_fetch(32, 0, items, 1) == 0); /* exactly the other two thirds */
    sweep_finish();
    EXPECT(heap_check("swept", &census) && census.live == 320 && census.cached == 640);
    EXPECT(relaxed_load(&heap_stats.reclaimed_count) == 640);
    EXPECT(relaxed_load(&heap_stats.reclaimed) == 640 * 1024);
}

/* A span whose blocks are all judged goes back to the page heap: another class can have it. */
static void retired_by_sweep(void)
{
    static void *items[15 * 64];
    struct heap_census census;
    uint32_t count = 0;
    start(MIB);
    while (count < GC_COUNT(items))
        count += central_fetch(32, 0, &items[count], 64);
    for (uint32_t i = 0; i < count; i++)
        set_byte(items[i], relaxed_load(&hot.epoch));
    next_cycle(true);
    EXPECT(central_fetch(80, 0, items, 1) == 1);
    sweep_finish();
    central_release(80, 0, items, 1);
    central_trim();
    EXPECT(heap_check("retired", &census) && census.unused == 15 && census.live == 0);
}

/* .inv.swept again: a listed span is swept before its free slots are handed out. */
static void listed_is_swept(void)
{
    static void *items[64];
    void *again[40];
    start(16 * MIB);
    EXPECT(central_fetch(32, 0, items, 63) == 63); /* one slot is left */
    for (uint32_t i = 0; i < 63; i++)
        set_byte(items[i], relaxed_load(&hot.epoch));
    next_cycle(true);
    EXPECT(central_fetch(32, 0, again, 40) == 40); /* its own and judged neighbours' */
    struct slab *span = slab_at(slab_index_of((uintptr_t)items[0]));
    EXPECT(relaxed_load(&span->swept) == relaxed_load(&hot.epoch) && span->free_slots == 24);
    for (uint32_t i = 0; i < 40; i++)
        EXPECT(slab_index_of((uintptr_t)again[i]) == slab_index(span));
    sweep_finish();
    EXPECT(heap_check("listed", NULL));
}

/* An empty span goes back at once, wherever it is in the list, unless it is the only one. */
static void empty_goes_back(void)
{
    enum { TRANSFER = 32 }; /* 512 KiB of 16 KiB each */
    static void *items[3 * 4], *more[TRANSFER];
    struct heap_census census;
    start(64 * MIB);
    for (uint32_t i = 0; i < 12; i += 4)
        EXPECT(central_fetch(64, 0, &items[i], 4) == 4); /* a span */
    for (uint32_t i = 0; i < TRANSFER; i++)
        EXPECT(central_fetch(64, 0, &more[i], 1) == 1);
    central_release(64, 0, more, TRANSFER); /* fills the transfer cache */
    for (uint32_t i = 0; i < 12; i += 4)
        central_release(64, 0, &items[i], 1); /* all three are listed, the first one last */
    EXPECT(heap_check("listed", &census));
    uint32_t spans = census.spans;
    for (uint32_t i = 0; i < 12; i += 4) {
        EXPECT(heap_check("one more", &census) && census.empty_spans == 0);
        EXPECT(census.spans == spans - i / 4);
        central_release(64, 0, &items[i + 1], 3);
    }
    EXPECT(heap_check("the last", &census) && census.empty_spans == 1);
    EXPECT(census.spans == spans - 2); /* the only listed one is kept */
}

static uintptr_t line_of(const void *block)
{
    return (uintptr_t)slot_of((uintptr_t)block) / CACHE_LINE;
}

/* .inv.lines: what two threads get from a fresh span has its slot bytes in lines of its own. */
static void lines_are_not_shared(void)
{
    static const unsigned classes[] = {1, 3, 5, 10, 21};
    static void *items[2][128];
    start(4 * MIB);
    for (unsigned i = 0; i < sizeof classes / sizeof *classes; i++) {
        unsigned class = classes[i], wrong = 0;
        uint32_t least = (uint32_t)(CACHE_LINE * GRANULE / size_classes[class].size);
        for (unsigned turn = 0; turn < 4; turn++) {
            uint32_t want = least + 1 + turn * 3, *had = &(uint32_t){0};
            for (unsigned who = 0; who < 2; who++) {
                uint32_t got = central_fetch(class, who, items[who], want);
                EXPECT(got >= least && got <= want);
                wrong += who == 1 && line_of(items[0][*had - 1]) == line_of(items[1][0]);
                *had = got;
            }
        }
        if (!EXPECT(wrong == 0))
            printf("    class %u: %u times\n", class, wrong);
    }
}

/* What a thread gave comes back to it; who gave nothing gets what others gave when they have much,
 * or when the spans have none. */
static void shards(void)
{
    enum { CLASS = 8, EACH = 100, MANY = 1500 };
    static void *items[2][EACH], *back[MANY];
    start(MIB);
    for (unsigned who = 0; who < 2; who++)
        for (uint32_t got = 0; got < EACH;)
            got += central_fetch(CLASS, who, &items[who][got], EACH - got);
    for (unsigned who = 0; who < 2; who++)
        central_release(CLASS, who, items[who], EACH);
    EXPECT(central_count(CLASS).transfer == 2 * EACH);
    EXPECT(central_fetch(CLASS, 1, back, 10) == 10 && back[0] == items[1][EACH - 10]);
    EXPECT(central_fetch(CLASS, 0, back, EACH) == EACH && back[0] == items[0][0]);
    EXPECT(central_fetch(CLASS, 3, back, EACH) != 0 && back[0] != items[1][0]); /* a span's */
    EXPECT(central_count(CLASS).transfer == EACH - 10);
    while (central_count(CLASS).transfer != 0) /* one span: 512 slots */
        EXPECT(central_fetch(CLASS, 3, back, EACH) != 0);
    EXPECT(back[0] == items[1][0] && heap_check("rather than a new span", NULL));
    for (uint32_t got = 0; got < MANY;)
        got += central_fetch(CLASS, 0, &back[got], MANY - got);
    central_release(CLASS, 2, back, MANY);
    EXPECT(central_fetch(CLASS, 1, items[0], EACH) == EACH && items[0][0] == back[MANY - EACH]);
}

/* No shard is overfilled, nor are all of them together. */
static void shards_are_bounded(void)
{
    enum { CLASS = 32, MANY = 1200 }; /* 1,024 bytes each */
    static void *items[MANY];
    start(16 * MIB);
    for (uint32_t got = 0; got < MANY;)
        got += central_fetch(CLASS, 0, &items[got], MANY - got);
    for (uint32_t i = 0; i < MANY; i += 100)
        central_release(CLASS, i / 100 % CENTRAL_SHARDS, &items[i], 100);
    EXPECT(central_count(CLASS).transfer == (512 << 10) / 1024 && heap_check("bounded", NULL));
    EXPECT(central_scavenge() == 0); /* they had been needed: the least was none */
    EXPECT(central_scavenge() == (512 << 10) / 1024 && central_count(CLASS).transfer == 0);
}

/* Spans are swept once a cycle; one made after the mark not at all. */
static void sweep_once(void)
{
    void *a, *b;
    start(MIB);
    EXPECT(central_fetch(32, 0, &a, 1) == 1);
    set_byte(a, relaxed_load(&hot.epoch));
    next_cycle(true);
    EXPECT(central_fetch(40, 0, &b, 1) == 1);      /* a new span */
    uint32_t span = slab_index_of((uintptr_t)b);
    EXPECT(relaxed_load(&slab_at(span)->swept) == relaxed_load(&hot.epoch));
    uint8_t old = EPOCH_LAST;
    set_byte(b, old); /* were it swept, this would be freed */
    central_sweep_span(span);
    EXPECT(byte_of(b) == old);
    set_byte(b, SLOT_CACHED);
    central_sweep_span(slab_index_of((uintptr_t)a));
    EXPECT(byte_of(a) == SLOT_FREE);
    sweep_finish();
    central_sweep_span(0);  /* no span */
    EXPECT(heap_check("swept once", NULL));
}

/* .inv.unlocked: in the child of fork a sweeper is gone that had freed slots and not counted them. */
static void recounted(void)
{
    static void *items[3 * 64];
    struct heap_census census;
    start(16 * MIB);
    for (uint32_t i = 0; i < 3 * 64; i += 64)
        EXPECT(central_fetch(32, 0, &items[i], 64) == 64); /* three spans */
    for (uint32_t i = 0; i < 3 * 64; i++)
        set_byte(items[i], relaxed_load(&hot.epoch));
    next_cycle(true);
    for (uint32_t i = 0; i < 100; i++)
        set_byte(items[i], SLOT_FREE);
    central_recount();
    EXPECT(heap_check("recounted", &census) && census.live == 3 * 64 - 100);
    EXPECT(relaxed_load(&heap_stats.reclaimed_count) == 100);
    sweep_finish();
    EXPECT(heap_check("swept after that", &census) && census.live == 0 && census.spans <= 1);
    EXPECT(relaxed_load(&heap_stats.reclaimed_count) == 3 * 64);
}

static void test_sharing(void)
{
    EXPECT(child_passes(lines_are_not_shared));
    EXPECT(child_passes(shards));
    EXPECT(child_passes(shards_are_bounded));
}

static void test_sweep(void)
{
    EXPECT(child_passes(recounted));
    EXPECT(child_passes(on_demand));
    EXPECT(child_passes(retired_by_sweep));
    EXPECT(child_passes(sweep_once));
    EXPECT(child_passes(listed_is_swept));
    EXPECT(child_passes(empty_goes_back));
}

/* ---- traced spans ---- */

static bool record_is(const void *block, uint32_t stack, uint32_t size)
{
    struct block b;
    return block_find((uintptr_t)block, &b) && block_stack(&b) == stack &&
           block_requested(&b) == size;
}

static void release_traced(void *block)
{
    struct block b;
    EXPECT(block_find((uintptr_t)block, &b) && byte_of(block) == SLOT_CACHED);
    central_release_single(&b);
}

/* Records stay with their blocks while spans come and go, and are taken up again by the next. */
static void traced(void)
{
    enum { BLOCKS = 3000 };
    static void *items[BLOCKS];
    struct heap_census census;
    size_t used = 0;
    start(16 * MIB);
    for (uint32_t round = 0; round < 20; round++) {
        unsigned wrong = 0;
        for (uint32_t i = 0; i < BLOCKS; i++) {
            items[i] = central_fetch_single(8, &(struct record){round * BLOCKS + i + 1, i % 128}, false);
            wrong += items[i] == NULL || byte_of(items[i]) != SLOT_CACHED ||
                     hot.slab_class[slab_index_of((uintptr_t)items[i])] != 0;
        }
        for (uint32_t i = 0; i < BLOCKS; i += 2) /* half go, and come back with other records */
            release_traced(items[i]);
        for (uint32_t i = 0; i < BLOCKS; i += 2)
            items[i] = central_fetch_single(8, &(struct record){round * BLOCKS + i + 1, i % 128}, false);
        for (uint32_t i = 0; i < BLOCKS; i++)
            wrong += !record_is(items[i], round * BLOCKS + i + 1, i % 128);
        EXPECT(wrong == 0 && heap_check("traced", &census) && census.cached == BLOCKS);
        for (uint32_t i = 0; i < BLOCKS; i++)
            release_traced(items[i]);
        central_trim();
        EXPECT(heap_check("traced, trimmed", &census) && census.spans == 0);
        used = round == 0 ? meta_used() : used;
    }
    EXPECT(meta_used() == used); /* no record memory is lost */
}

/* Ordinary and traced spans of one class are apart. */
static void traced_apart(void)
{
    void *plain, *with;
    start(16 * MIB);
    EXPECT(central_fetch(80, 0, &plain, 1) == 1);
    with = central_fetch_single(80, &(struct record){5, 65000}, false); /* one slot: one record */
    EXPECT(with != NULL && record_is(with, 5, 65000) && record_is(plain, 0, 65536));
    EXPECT(hot.slab_class[slab_index_of((uintptr_t)plain)] == 80 << SIZE_CLASS_SHIFT);
    release_traced(with);
    central_trim();
    EXPECT(central_fetch_single(80, &(struct record){6, 64999}, false) == with);
    EXPECT(record_is(with, 6, 64999) && heap_check("apart", NULL));
}

/* A judged traced block is swept like any other. */
static void traced_swept(void)
{
    start(16 * MIB);
    void *a = central_fetch_single(8, &(struct record){1, 100}, false);
    void *b = central_fetch_single(8, &(struct record){2, 100}, false);
    set_byte(a, relaxed_load(&hot.epoch));
    set_byte(b, relaxed_load(&hot.epoch));
    next_cycle(true);
    set_byte(b, relaxed_load(&hot.epoch));
    sweep_finish();
    EXPECT(byte_of(a) == SLOT_FREE && record_is(b, 2, 100));
    EXPECT(heap_check("traced, swept", NULL));
}

static void test_traced(void)
{
    EXPECT(child_passes(traced));
    EXPECT(child_passes(traced_apart));
    EXPECT(child_passes(traced_swept));
}

/* ---- threads ---- */

static void *fetch_and_release(void *name)
{
    static const unsigned classes[] = {1, 4, 40, 67};
    void *items[64];
    uint64_t state = (uintptr_t)name, lost = 0;
    for (unsigned i = 0; i < 15000; i++) {
        unsigned class = classes[rng_next(&state) % GC_COUNT(classes)];
        uint32_t count = central_fetch(class, 0, items, 1 + (uint32_t)(rng_next(&state) % 64));
        lost += !own(items, count, class, name);
        for (uint32_t j = 0; j < count; j++)
            lost += *(void **)items[j] != name;
        central_release(class, 0, items, count);
        if (i % 1024 == 0)
            central_trim();
    }
    return (void *)lost;
}

static void threads(void)
{
    pthread_t t[3];
    void *lost;
    struct heap_census census;
    start(64 * MIB);
    for (uintptr_t i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, fetch_and_release, (void *)(i + 1));
    for (unsigned i = 0; i < 3; i++)
        EXPECT(pthread_join(t[i], &lost) == 0 && lost == NULL);
    EXPECT(heap_check("threads", &census) && census.live == 0);
    central_trim();
    EXPECT(heap_check("threads, trimmed", &census) && census.spans == 0 && heap_used() == 0);
}

static void *sweep_it(void *data)
{
    (void)data;
    sweep_for(UINT32_MAX / 2);
    return NULL;
}

static void fetch_all(unsigned class, void **items, uint32_t count)
{
    for (uint32_t got = 0, more; got < count; got += more)
        if (!EXPECT((more = central_fetch(class, 0, items + got, count - got)) != 0))
            return;
}

/* .inv.unlocked: two sweep while two others take and give back in the same classes, and none of
 * what was lost before is counted twice, or not at all. */
static void swept_by_threads(void)
{
    enum { LOST = 3000 };
    static const unsigned classes[] = {1, 4, 40};
    static void *items[LOST];
    void *lost;
    pthread_t t[4];
    start(64 * MIB);
    for (unsigned round = 0; round < 60; round++) {
        uint64_t before = relaxed_load(&heap_stats.reclaimed_count);
        for (uint32_t i = 0; i < LOST; i += 100)
            fetch_all(classes[i / 100 % 3], &items[i], 100);
        for (uint32_t i = 0; i < LOST; i++)
            set_byte(items[i], relaxed_load(&hot.epoch));
        next_cycle(true);
        EXPECT(judge_is_silent());
        for (uintptr_t i = 0; i < 4; i++)
            pthread_create(&t[i], NULL, i < 2 ? sweep_it : fetch_and_release, (void *)(i + 1));
        for (unsigned i = 0; i < 4; i++)
            EXPECT(pthread_join(t[i], &lost) == 0 && lost == NULL);
        sweep_finish();
        EXPECT(relaxed_load(&heap_stats.reclaimed_count) == before + LOST);
        if (!EXPECT(heap_check("swept by threads", NULL)))
            break;
    }
}

static void test_threads(void)
{
    EXPECT(child_passes(swept_by_threads));
    EXPECT(child_passes(threads));
}

/* ---- giving back ---- */

static bool is_resident(uintptr_t page)
{
    unsigned char there = 0;
    return mincore((void *)page, PAGE_SIZE, &there) == 0 && (there & 1);
}

/* What is in no use for some calls goes: first the transfer cache's blocks, then the pages between
 * those that are. */
static void gives_pages_back(void)
{
    enum { CLASS = 24, COUNT = 2048 }; /* 512 bytes, sixteen spans */
    static void *items[COUNT];
    size_t bytes = 0;
    start(64 * MIB);
    for (uint32_t got = 0; got < COUNT;)
        got += central_fetch(CLASS, 0, items + got, COUNT - got);
    for (uint32_t i = 0; i < COUNT; i++)
        memset(items[i], (int)i | 1, 512);
    void *kept[] = {items[0], items[300], items[301], items[700], items[COUNT - 1]};
    uint32_t left = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        if (i != 0 && i != 300 && i != 301 && i != 700 && i != COUNT - 1)
            items[left++] = items[i];
    central_release(CLASS, 0, items, left);
    EXPECT(central_scavenge() == 0); /* just given */
    EXPECT(central_scavenge() == 512 * KIB / 512 && heap_check("scavenged", NULL));
    for (unsigned call = 0; call < 3; call++)
        EXPECT(central_discard_pages(3) == 0);
    bytes = central_discard_pages(3);
    EXPECT(bytes > 100 * KIB && bytes < COUNT * 512 && central_discard_pages(3) == 0);
    for (unsigned i = 0; i < GC_COUNT(kept); i++) {
        uintptr_t page = align_down((uintptr_t)kept[i], PAGE_SIZE);
        EXPECT(*(char *)kept[i] != 0 && is_resident(page) && byte_of(kept[i]) == SLOT_CACHED);
        EXPECT(i == 3 || !is_resident(page + (i == 4 ? -PAGE_SIZE : PAGE_SIZE)));
    }
    EXPECT(heap_check("discarded", NULL));
    EXPECT(central_fetch(CLASS, 0, items, 4) == 4); /* the span is in use again */
    EXPECT(central_discard_pages(0) != 0 && heap_check("fetched", NULL));
}

static void test_gives_back(void)
{
    EXPECT(child_passes(gives_pages_back));
}

UNIT_MAIN(TEST(test_gives_back), TEST(test_random), TEST(test_exhausted), TEST(test_sharing),
          TEST(test_sweep), TEST(test_traced), TEST(test_threads))
