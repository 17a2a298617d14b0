/* watch_frame_rule.c -- the cache of frame rules: what is put in is found, until it is flushed. */
#include "watch/frame_rule.h"

#include "unit.h"

static struct frame_rule rule_of(uintptr_t pc)
{
    return (struct frame_rule){.kind = RULE_PLAIN, .cfa_offset = (int64_t)(pc >> 4 & 0xfffff)};
}

static bool has(uintptr_t pc)
{
    struct frame_rule rule, wanted = rule_of(pc);
    return frame_rule_find(pc, &rule) && memcmp(&rule, &wanted, sizeof rule) == 0;
}

static void test_flush(void)
{
    EXPECT(!has(0x401234));
    uint64_t before = frame_rule_epoch();
    frame_rule_add(0x401234, rule_of(0x401234), before);
    EXPECT(has(0x401234) && !has(0x401235));
    frame_rule_flush();
    EXPECT(!has(0x401234));
    frame_rule_add(0x401234, rule_of(0x401234), before); /* worked out before the flush */
    EXPECT(!has(0x401234));
}

/* An eighth of the cache's room, return addresses at equal distances, as functions made alike lie:
 * at each distance nearly all are kept, whatever was there before the last flush. */
static void test_series(void)
{
    enum { COUNT = 4096 };
    const uintptr_t starts[] = {0x401037, 0x55555555403b, 0x7f123456112b};
    for (unsigned s = 0; s < 3; s++)
        for (uintptr_t distance = 16; distance <= 2048; distance += 16) {
            unsigned lost = 0;
            frame_rule_flush();
            for (uintptr_t i = 0; i < COUNT; i++)
                frame_rule_add(starts[s] + i * distance, rule_of(starts[s] + i * distance),
                               frame_rule_epoch());
            for (uintptr_t i = 0; i < COUNT; i++)
                lost += !has(starts[s] + i * distance);
            if (!EXPECT(lost < COUNT / 100))
                printf("    from %lx, distance %lu: %u of %u lost\n", starts[s], distance, lost,
                       COUNT);
        }
}

UNIT_MAIN(TEST(test_flush), TEST(test_series))
