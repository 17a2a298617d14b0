/* heap_judge.c -- which slots a sweep visits, what it makes of each, and who wins a race. */
#include "heap/judge.h"

#include "base/rng.h"
#include "heap/heap.h"
#include "heap/page_heap.h"
#include "unit.h"
#include "ended_mark.h"

#include <pthread.h>

static uint64_t rng = 42;

static void test_start(void)
{
    EXPECT(heap_init(16 * MIB, false));
}

static struct slab *make_span(unsigned class)
{
    bool zeroed;
    uint32_t head = page_heap_alloc(size_classes[class].slabs, 1, &zeroed);
    EXPECT(head != NO_SLAB);
    slab_make_classed(head, class, false, false);
    return slab_at(head);
}

static slot_byte *byte_of(const struct slab *span, uint32_t slot)
{
    return slot_of(slab_address(slab_index(span)) + (size_t)slot * span->object_size);
}

static void drop_span(struct slab *span)
{
    uint32_t slabs = slab_span(span), slots = span->slots;
    for (uint32_t i = 0; i < slots; i++)
        relaxed_store(byte_of(span, i), SLOT_FREE);
    slab_unmake(slab_index(span), slabs);
    page_heap_free(slab_index(span), slabs);
}

/* ---- visiting ---- */

struct seen {
    uint32_t count;
    bool wrong;
    bool slots[4096];
};

static void see(const struct block *b, uint8_t byte, void *data)
{
    struct seen *seen = data;
    struct block found;
    seen->wrong |= !block_find(b->start, &found) || found.slot != b->slot ||
                   found.start != b->start || found.size != b->size || found.head != b->head;
    seen->wrong |= seen->slots[b->slot] || byte != relaxed_load(slot_of(b->start));
    seen->slots[b->slot] = true;
    seen->count++;
}

/* Every byte value there is, in every class: visited if and only if odd, and once. */
static void check_visit(unsigned class, struct unreached what)
{
    static struct seen seen;
    struct slab *span = make_span(class);
    uint32_t wrong = 0;
    memset(&seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < span->slots; i++)
        relaxed_store(byte_of(span, i), (uint8_t)rng_next(&rng));
    judge_visit(span, what, see, &seen);
    for (uint32_t i = 0; i < span->slots; i++) {
        uint8_t byte = relaxed_load(byte_of(span, i));
        wrong += seen.slots[i] != (byte >= what.least && byte != what.epoch);
    }
    if (!EXPECT(wrong == 0 && !seen.wrong))
        printf("    class %u, epoch %u, from %u\n", class, what.epoch, what.least);
    drop_span(span);
}

static void test_visit(void)
{
    static const uint8_t epochs[] = {4, 5, 127, 128, 129, 254, 255};
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++)
        for (size_t i = 0; i < GC_COUNT(epochs); i++) {
            check_visit(class, (struct unreached){epochs[i], EPOCH_FIRST});
            check_visit(class, (struct unreached){epochs[i], SLOT_KEPT});
        }
}

static void test_visit_large(void)
{
    static struct seen seen;
    bool zeroed;
    uint32_t head = page_heap_alloc(3, 1, &zeroed);
    slab_make_large(head, 3, 3 * SLAB_SIZE - 16);
    for (unsigned byte = 0; byte < 256; byte++) {
        memset(&seen, 0, sizeof(seen));
        relaxed_store(slot_of(slab_address(head)), (uint8_t)byte);
        judge_visit(slab_at(head), (struct unreached){9, EPOCH_FIRST}, see, &seen);
        EXPECT(seen.count == (byte >= EPOCH_FIRST && byte != 9) && !seen.wrong);
    }
    relaxed_store(slot_of(slab_address(head)), SLOT_FREE);
    slab_unmake(head, 3);
    page_heap_free(head, 3);
}

/* ---- the verdict ---- */

static uintptr_t last_asked;
static unsigned last_age, asked;

static bool veto(const struct block *block, unsigned age)
{
    last_asked = block->start;
    last_age = age;
    asked++;
    return false;
}

static bool permit(const struct block *block, unsigned age)
{
    veto(block, age);
    return true;
}

/* What a slot whose byte is `from` becomes, in epoch `now`. */
static uint8_t judged(uint8_t now, uint8_t from)
{
    struct slab *span = make_span(5);
    mark_ended(now);
    relaxed_store(byte_of(span, 7), from);
    uint32_t freed = judge_span(span);
    uint8_t to = relaxed_load(byte_of(span, 7));
    EXPECT(freed == (from != SLOT_FREE && to == SLOT_FREE));
    EXPECT(asked == 0 || last_asked == (uintptr_t)(slab_address(slab_index(span)) + 7 * 80));
    drop_span(span);
    return to;
}

static uint8_t older(uint8_t now, unsigned age)
{
    int byte = now - (int)age;
    return (uint8_t)(byte >= EPOCH_FIRST ? byte : byte + EPOCH_COUNT);
}

/* From every epoch, so also round the corner; every age; several terms. */
static void check_terms(unsigned confirm, bool reclaim)
{
    set_terms(reclaim, confirm);
    unsigned wrong = 0;
    for (unsigned now = EPOCH_FIRST; now <= EPOCH_LAST; now += 41)
        for (unsigned age = 0; age < EPOCH_COUNT; age++) {
            uint8_t from = older((uint8_t)now, age), want = from;
            if (age != 0 && reclaim && age >= confirm)
                want = SLOT_FREE;
            else if (age >= JUDGE_KEEP_AGE)
                want = SLOT_KEPT;
            wrong += judged((uint8_t)now, from) != want;
        }
    if (!EXPECT(wrong == 0))
        printf("    confirm %u, reclaim %d\n", confirm, reclaim);
}

static void test_terms(void)
{
    check_terms(1, true);
    check_terms(2, true);
    check_terms(5, true);
    check_terms(199, true);
    check_terms(1, false);
    set_terms(true, 1);
    EXPECT(judged(4, 255) == SLOT_FREE && judged(4, 4) == 4 && judged(255, 255) == 255);
    EXPECT(judged(9, SLOT_CACHED) == SLOT_CACHED && judged(9, SLOT_FREE) == SLOT_FREE);
}

/* The kept are judged at exit only; reported, they stay as they are. */
static void test_kept(void)
{
    set_terms(true, 1);
    EXPECT(judged(9, SLOT_KEPT) == SLOT_KEPT);
    judge.least = SLOT_KEPT;
    judge.reclaiming = permit;
    asked = 0;
    EXPECT(judged(9, SLOT_KEPT) == SLOT_FREE && asked == 1 && last_age == EPOCH_COUNT);
    judge.reclaim = false;
    EXPECT(judged(9, SLOT_KEPT) == SLOT_KEPT && asked == 1);
    asked = 0;
}

static void test_veto(void)
{
    set_terms(true, 2);
    judge.reclaiming = veto;
    asked = 0;
    EXPECT(judged(9, 8) == 8 && asked == 0); /* not its time yet */
    EXPECT(judged(9, 7) == SLOT_KEPT && asked == 1 && last_age == 2);
    judge.reclaiming = permit;
    EXPECT(judged(5, 254) == SLOT_FREE && asked == 2 && last_age == 3);
    asked = 0;
}

static unsigned told_free;

static void note_free(const struct block *block)
{
    told_free += relaxed_load(slot_of(block->start)) == SLOT_FREE && block->start == last_asked;
}

/* The program uses it between the question and the deed. */
static bool permit_too_late(const struct block *block, unsigned age)
{
    relaxed_store(slot_of(block->start), 9);
    return permit(block, age);
}

/* Told of what was reclaimed, when it was; of nothing else. */
static void test_reclaimed(void)
{
    set_terms(true, 2);
    judge.reclaiming = permit;
    judge.reclaimed = note_free;
    EXPECT(judged(9, 7) == SLOT_FREE && told_free == 1);
    EXPECT(judged(9, 8) == 8 && told_free == 1);
    judge.reclaiming = veto;
    EXPECT(judged(9, 7) == SLOT_KEPT && told_free == 1);
    judge.reclaiming = permit_too_late;
    EXPECT(judged(9, 7) == 9 && told_free == 1);
    judge.reclaimed = NULL;
    asked = 0;
}

/* .inv.newborn: passed over this time; the filter rarely takes one block for another. */
static void test_newborn(void)
{
    set_terms(true, 1);
    struct slab *span = make_span(5);
    uintptr_t start = slab_address(slab_index(span));
    mark_ended(9);
    for (uint32_t i = 0; i < 100; i++)
        relaxed_store(byte_of(span, i), 8);
    judge_forget_newborn();
    judge_note_newborn(start + 7 * 80);
    EXPECT(!judge_is_newborn(start + 7 * 80)); /* until the mark has ended */
    judge_end_newborn();
    EXPECT(judge_is_newborn(start + 7 * 80));
    judge_forget_newborn(); /* the next mark's first stop: still in force */
    EXPECT(judge_is_newborn(start + 7 * 80) && !judge_is_silent());
    unsigned alike = 0;
    for (uint32_t i = 0; i < 100000; i++)
        alike += i != 35 && judge_is_newborn(start + i * 16);
    EXPECT(alike < 20); /* 1.5 expected */
    uint32_t freed = judge_span(span);
    EXPECT(freed >= 98 && freed < 100 && relaxed_load(byte_of(span, 7)) == 8);
    memset(judge.newborn, 0, sizeof(judge.newborn));
    EXPECT(judge_span(span) == 100 - freed && relaxed_load(byte_of(span, 7)) == SLOT_FREE);
    drop_span(span);
}

/* ---- .inv.verdict: a free and the judge, exactly one of them ---- */

static struct slab *contested;
static pthread_barrier_t ready;
enum { ROUNDS = 200 };

static uint32_t free_all(void)
{
    uint32_t won = 0;
    for (uint32_t i = 0; i < contested->slots; i++) {
        uint8_t live = 8;
        won += atomic_compare_exchange_strong(byte_of(contested, i), &live, SLOT_CACHED);
    }
    return won;
}

static void *free_rounds(void *wins)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&ready);
        ((uint32_t *)wins)[round] = free_all();
        pthread_barrier_wait(&ready);
    }
    return NULL;
}

static void test_race(void)
{
    static uint32_t wins[ROUNDS];
    pthread_t thread;
    unsigned wrong = 0;
    set_terms(true, 1);
    mark_ended(9);
    contested = make_span(1);
    pthread_barrier_init(&ready, NULL, 2);
    pthread_create(&thread, NULL, free_rounds, wins);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < contested->slots; i++)
            relaxed_store(byte_of(contested, i), 8);
        pthread_barrier_wait(&ready);
        uint32_t freed = judge_span(contested), cached = 0, none = 0;
        pthread_barrier_wait(&ready);
        for (uint32_t i = 0; i < contested->slots; i++) {
            cached += relaxed_load(byte_of(contested, i)) == SLOT_CACHED;
            none += relaxed_load(byte_of(contested, i)) == SLOT_FREE;
        }
        wrong += freed != none || wins[round] != cached || freed + cached != contested->slots;
    }
    pthread_join(thread, NULL);
    EXPECT(wrong == 0);
    drop_span(contested);
}

UNIT_MAIN(TEST(test_start), TEST(test_visit), TEST(test_visit_large), TEST(test_terms),
          TEST(test_kept), TEST(test_veto), TEST(test_reclaimed), TEST(test_newborn), TEST(test_race))
