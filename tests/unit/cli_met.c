/* cli_met.c -- things keep their numbers while the table grows. */
#include "cli/met.h"

#include "unit.h"

static void test_numbers(void)
{
    struct met met = {0};
    bool is_new;
    for (uint64_t i = 0; i < 10000; i++)
        EXPECT(met_number(&met, met_hash(1, i * 64), &is_new) == i + 1 && is_new);
    for (uint64_t i = 0; i < 10000; i++)
        EXPECT(met_number(&met, met_hash(1, i * 64), &is_new) == i + 1 && !is_new);
    met_free(&met);
    EXPECT(met_number(&met, 7, &is_new) == 1 && is_new);
    met_free(&met);
}

/* Values that differ in upper bits alone, as pointers do, must not fall into one place. */
static void test_spread(void)
{
    enum { PLACES = 1024 };
    unsigned used = 0;
    bool taken[PLACES] = {false};
    for (uint64_t i = 0; i < PLACES; i++) {
        bool *place = &taken[met_hash(1, i << 20) % PLACES];
        used += !*place;
        *place = true;
    }
    EXPECT(used > PLACES / 2); /* at random: 647 */
}

static void test_text(void)
{
    EXPECT(met_hash_text(1, "ab") != met_hash_text(1, "ba"));
    EXPECT(met_hash_text(met_hash_text(1, "a"), "b") != met_hash_text(1, "ab"));
    EXPECT(met_hash_text(1, "same") == met_hash_text(1, "same"));
}

UNIT_MAIN(TEST(test_numbers), TEST(test_spread), TEST(test_text))
