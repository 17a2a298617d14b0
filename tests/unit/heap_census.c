/* heap_census.c -- what is in use is counted, once, and nothing else; also beside the program. */
#include "heap/census.h"

#include "ended_mark.h"
#include "heap/central.h"
#include "heap/heap.h"
#include "heap/large.h"
#include "heap/size_class.h"
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

enum { STACKS = 4, TRACED = 5000, PLAIN = 700, BIG = 3, CHANGES = 200000 };

static struct counts {
    uint64_t blocks[STACKS], bytes[STACKS];
    uint64_t plain, plain_bytes, large, large_bytes, unreached, ages, strange;
    uintptr_t last;
} counts;

static void visit(const struct census_entry *e, void *data)
{
    struct counts *c = data;
    bool once = e->start > c->last;
    c->last = e->start;
    if (!once || e->stack >= STACKS || e->bytes > 200000) {
        c->strange++;
    } else if (e->stack != 0 && e->size != 0) {
        c->blocks[e->stack]++;
        c->bytes[e->stack] += e->bytes;
    } else if (e->size != 0) {
        c->plain++;
        c->plain_bytes += e->bytes;
    } else {
        c->large++;
        c->large_bytes += e->bytes;
    }
    c->unreached += e->unreached;
    c->ages += e->age;
}

static void count(void)
{
    memset(&counts, 0, sizeof counts);
    census_take(visit, &counts);
}

static uintptr_t live(void *block, uint8_t epoch)
{
    relaxed_store(slot_of((uintptr_t)block), epoch);
    return (uintptr_t)block;
}

static uintptr_t traced(uint32_t stack, uint32_t size)
{
    struct record r = {stack, size};
    return live(central_fetch_single(size_class_of(size), &r, false), relaxed_load(&hot.epoch));
}

static void untrace(uintptr_t address)
{
    struct block b;
    if (!EXPECT(block_find(address, &b)))
        return;
    relaxed_store(slot_of(address), SLOT_CACHED);
    central_release_single(&b);
}

static uintptr_t blocks[TRACED], large_block;

static void test_empty(void)
{
    EXPECT(heap_init(64 * MIB, true));
    count();
    EXPECT(counts.plain == 0 && counts.large == 0 && counts.blocks[1] == 0);
}

/* Of what the program asked for, where that is known. Cached ones do not count. */
static void test_exact(void)
{
    static void *plain[PLAIN];
    uint64_t bytes[STACKS] = {0}, class_bytes = size_classes[size_class_of(200)].size;
    for (uint32_t i = 0; i < TRACED; i++) {
        uint32_t stack = 1 + i % 3, size = 1 + i % 2000;
        blocks[i] = traced(stack, size);
        bytes[stack] += size;
    }
    uint32_t got = central_fetch(size_class_of(200), 0, plain, PLAIN);
    EXPECT(got > 10);
    for (uint32_t i = 0; i < got / 2; i++)
        live(plain[i], relaxed_load(&hot.epoch));
    for (int i = 0; i < BIG; i++) {
        bool zeroed;
        struct block b;
        large_block = live(large_alloc(200000, 16, &zeroed), relaxed_load(&hot.epoch));
        if (!EXPECT(block_find(large_block, &b)))
            return;
        b.head->stack = 2;
        b.head->slack = (uint32_t)(b.head->bytes - 199999);
    }
    count();
    for (uint32_t s = 1; s < STACKS; s++)
        EXPECT(counts.blocks[s] == (TRACED + 3 - s) / 3 && counts.bytes[s] == bytes[s]);
    EXPECT(counts.plain == got / 2 && counts.plain_bytes == got / 2 * class_bytes);
    EXPECT(counts.large == BIG && counts.large_bytes == BIG * 199999);
    EXPECT(counts.unreached == 0 && counts.ages == 0 && counts.strange == 0);
}

static void test_freed(void)
{
    for (uint32_t i = 0; i < TRACED; i += 3)
        untrace(blocks[i]);
    count();
    EXPECT(counts.blocks[1] == 0 && counts.blocks[2] == TRACED / 3 + 1);
}

static void test_unreached(void)
{
    uint8_t old = relaxed_load(&hot.epoch);
    mark_ended(epoch_next(epoch_next(old)));
    count();
    uint64_t all = counts.blocks[2] + counts.blocks[3] + counts.plain + counts.large;
    EXPECT(counts.unreached == all && counts.ages == 2 * all);
    live((void *)blocks[1], relaxed_load(&hot.epoch));
    count();
    EXPECT(counts.unreached == all - 1 && counts.ages == 2 * (all - 1));
}

static atomic_bool stop;

static void *change(void *data)
{
    (void)data;
    uintptr_t mine[64] = {0};
    for (uint32_t i = 0; i < CHANGES; i++) {
        uintptr_t *at = &mine[i * 7 % 64];
        if (*at != 0)
            untrace(*at);
        *at = traced(3, 16 + i % 500);
    }
    for (int i = 0; i < 64; i++)
        untrace(mine[i]);
    atomic_store(&stop, true);
    return NULL;
}

/* Those that stay are counted each time, whoever comes and goes beside them. Of those that come and
 * go any number may be: one that was seen, freed, and allocated again further on is two blocks. */
static void test_beside(void)
{
    pthread_t thread;
    uint64_t stay, wrong = 0, rounds = 0;
    count();
    stay = counts.blocks[2];
    uint64_t others = counts.blocks[3];
    EXPECT(pthread_create(&thread, NULL, change, NULL) == 0);
    do {
        count();
        wrong += counts.blocks[2] != stay || counts.strange != 0 || counts.large != BIG;
        wrong += counts.blocks[3] < others;
        rounds++;
    } while (!atomic_load(&stop));
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(wrong == 0 && rounds > 0);
    count();
    EXPECT(counts.blocks[3] == others);
}

UNIT_MAIN(TEST(test_empty), TEST(test_exact), TEST(test_freed), TEST(test_unreached),
          TEST(test_beside))
