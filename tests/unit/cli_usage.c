/* cli_usage.c -- what each stack has. */
#include "cli/usage.h"

#include "unit.h"

#include <stdlib.h>

static struct profile_stack stacks[] = {{.id = 3}, {.id = 7}, {.id = 8}};
static struct profile_site sites[] = {{3, 10, 1000, 4, 400}, {7, 1, 10, 2, 20}};
static struct profile_reach reach[] = {{3, 0, 1, 100, 50, 5000}, {0, 32, 2, 64, 0, 0},
                                       {99, 0, 1, 6, 10, 60}};
static struct profile_leak leaks[] = {
    {.stack = 3, .blocks = 1, .bytes = 5, .for_blocks = 8, .for_bytes = 40},
    {.stack = 3, .reclaimed = true, .blocks = 2, .bytes = 7, .for_blocks = 4, .for_bytes = 14},
    {.stack = 0, .blocks = 9, .bytes = 90},
};
static struct profile sample(void)
{
    struct profile p = {0};
    p.stacks.items = stacks;
    p.stacks.count = 3;
    p.sites.items = sites;
    p.sites.count = 2;
    p.reach.items = reach;
    p.reach.count = 3;
    p.leaks.items = leaks;
    p.leaks.count = 3;
    return p;
}

static void test_rows(void)
{
    struct profile p = sample();
    struct usage usage = usage_make(&p);
    EXPECT(usage.count == 3); /* stack 8 has nothing */
    const struct usage_row *three = &usage.rows[0], *none = &usage.rows[2];
    EXPECT(three->stack == &stacks[0]);
    EXPECT(three->of[USAGE_allocated].bytes == 1000 && three->of[USAGE_live].bytes == 600);
    EXPECT(three->of[USAGE_live].blocks == 6 && three->of[USAGE_reachable].bytes == 100);
    EXPECT(three->of[USAGE_leaked].blocks == 3 && three->of[USAGE_leaked].bytes == 12);
    /* More freed than allocated: both are estimates. */
    EXPECT(usage.rows[1].of[USAGE_live].blocks == 0 && usage.rows[1].of[USAGE_live].bytes == 0);
    /* What has no stack, or one that is not in the file. */
    EXPECT(none->stack == NULL && none->of[USAGE_reachable].blocks == 3);
    EXPECT(none->of[USAGE_reachable].bytes == 70);
    free(usage.rows);
}

/* Each record says what it stands for. */
static void test_estimated(void)
{
    struct profile p = sample();
    struct usage usage = usage_make(&p);
    const struct usage_row *three = &usage.rows[0], *none = &usage.rows[2];
    EXPECT(three->of[USAGE_leaked].blocks == 3 && three->estimated[USAGE_leaked].blocks == 12);
    EXPECT(three->estimated[USAGE_leaked].bytes == 54);
    EXPECT(three->estimated[USAGE_reachable].bytes == 5000);
    EXPECT(three->estimated[USAGE_live].bytes == 600);
    EXPECT(none->of[USAGE_leaked].blocks == 9 && none->estimated[USAGE_leaked].blocks == 0);
    EXPECT(none->of[USAGE_reachable].bytes == 70 && none->estimated[USAGE_reachable].bytes == 60);
    free(usage.rows);
}

static void test_names(void)
{
    EXPECT(usage_kind("leaked") == USAGE_leaked && usage_kind("live") == USAGE_live);
    EXPECT(usage_kind("leak") == USAGE_COUNT && usage_kind("") == USAGE_COUNT);
}

UNIT_MAIN(TEST(test_rows), TEST(test_estimated), TEST(test_names))
