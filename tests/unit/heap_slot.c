/* heap_slot.c -- arithmetic of epochs, all 252 of them, round the corner from 255 to 4. */
#include "heap/judge.h"
#include "heap/slot.h"

#include "unit.h"

static void test_states(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        bool epoch = byte >= 4;
        EXPECT(slot_is_epoch((uint8_t)byte) == epoch);
        if (byte != 3) /* never written */
            EXPECT(slot_is_live((uint8_t)byte) == (epoch || byte == SLOT_KEPT));
    }
}

static void test_next(void)
{
    uint8_t epoch = EPOCH_FIRST;
    bool seen[256] = {false};
    for (unsigned i = 0; i < EPOCH_COUNT; i++) {
        EXPECT(slot_is_epoch(epoch) && !seen[epoch]);
        seen[epoch] = true;
        epoch = epoch_next(epoch);
    }
    EXPECT(epoch == EPOCH_FIRST && EPOCH_COUNT == 252);
    EXPECT(epoch_next(255) == 4 && epoch_next(254) == 255 && epoch_next(4) == 5);
}

/* A block last reached k cycles ago is k cycles old, from whatever epoch one looks. */
static void test_age(void)
{
    for (unsigned start = EPOCH_FIRST; start <= EPOCH_LAST; start++) {
        uint8_t now = (uint8_t)start;
        unsigned wrong = 0;
        for (unsigned k = 0; k < EPOCH_COUNT; k++, now = epoch_next(now))
            wrong += epoch_age(now, (uint8_t)start) != k || slot_age(now, (uint8_t)start) != k;
        EXPECT(wrong == 0 && now == start);
        EXPECT(slot_age(now, SLOT_KEPT) == EPOCH_COUNT);
    }
    EXPECT(epoch_age(4, 255) == 1 && epoch_age(5, 255) == 2 && epoch_age(255, 4) == 251);
}

/* Kept before its age could be mistaken for a younger one, whatever `confirm` may be. */
static void test_keep_age(void)
{
    EXPECT(JUDGE_KEEP_AGE < EPOCH_COUNT - 1);
    EXPECT(slot_age(EPOCH_FIRST, SLOT_KEPT) > JUDGE_KEEP_AGE);
}

/* .inv.window: what free() must look at never passes for a fresh block, with windows of 0 and 1. */
static void test_window(void)
{
    for (unsigned e = EPOCH_FIRST; e <= EPOCH_LAST; e++) {
        uint8_t epoch = (uint8_t)e;
        EXPECT((uint8_t)(epoch - epoch) == 0);
        EXPECT((uint8_t)(epoch - SLOT_FREE) > 1 && (uint8_t)(epoch - SLOT_CACHED) > 1);
        EXPECT((uint8_t)(epoch - SLOT_KEPT) > 1);
        /* Two cycles old: never within a window of 1, though one cycle old may be beyond it. */
        EXPECT((uint8_t)(epoch_next(epoch_next(epoch)) - epoch) > 1);
    }
}

UNIT_MAIN(TEST(test_states), TEST(test_next), TEST(test_age), TEST(test_keep_age),
          TEST(test_window))
