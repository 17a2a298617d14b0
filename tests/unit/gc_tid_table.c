/* The table against an array, full and cleared many times. */
#include "gc/tid_table.h"

#include "base/rng.h"
#include "unit.h"

static struct tid_table table;
static int32_t tids[TID_TABLE_MOST + 1];

static void fill(unsigned count, uint64_t seed)
{
    tid_table_clear(&table);
    for (unsigned i = 0; i < count; i++) {
        /* Distinct, close together or far apart. */
        tids[i] = (int32_t)(1 + seed * 7919 + i * (seed % 5 + 1));
        tid_table_put(&table, tids[i], (uint16_t)i);
    }
}

static bool answers(unsigned count)
{
    uint16_t value;
    for (unsigned i = 0; i < count; i++)
        if (!tid_table_get(&table, tids[i], &value) || value != i)
            return false;
    return !tid_table_get(&table, INT32_MAX, &value) && !tid_table_get(&table, 1 << 30, &value);
}

static void test_against_array(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        unsigned count = seed % 10 == 0 ? TID_TABLE_MOST + 1 : (unsigned)(mix64(seed) % 2000);
        fill(count, seed);
        EXPECT(answers(count));
    }
}

static void test_cleared(void)
{
    uint16_t value;
    fill(1000, 3);
    tid_table_clear(&table);
    unsigned found = 0;
    for (unsigned i = 0; i < 1000; i++)
        found += tid_table_get(&table, tids[i], &value);
    EXPECT(found == 0);
}

UNIT_MAIN(TEST(test_against_array), TEST(test_cleared))
