/* cycle_probation.c -- trust is earned in cycles that had something to judge, and lost at once. */
#include "cycle/probation.h"

#include "child.h"
#include "said.h"


enum { DUE = 8, PINNED_MOST = 256 };

/* A large block that was allocated with this stack: descriptors only, no heap. */
static struct slab head = {.kind = SLAB_LARGE, .slots = 1};

static struct block block_of_site(uint32_t stack)
{
    head.stack = stack;
    return (struct block){0x7f0000400000, 100000, &head, 0};
}

static void contradict(uint32_t stack)
{
    struct block b = block_of_site(stack);
    probation_contradiction(&b);
}

static bool pinned(uint32_t stack)
{
    struct block b = block_of_site(stack);
    return probation_is_pinned(&b);
}

/* What `run` prints on descriptor 2. */
static const char *printed(void (*run)(void))
{
    static char text[4096];
    struct said s = said_begin();
    run();
    said_end(s, text, sizeof text);
    return text;
}

static void count_cycles(void)
{
    probation_start(3);
    EXPECT(!probation_passed());
    probation_note_cycle(DUE);
    probation_note_cycle(0);       /* proves nothing */
    probation_note_cycle(DUE - 1); /* too little */
    probation_note_cycle(DUE);
    EXPECT(!probation_passed());
    probation_note_cycle(1000000);
    EXPECT(probation_passed() && probation_reason() == NULL);
    probation_note_cycle(0); /* what was earned stays */
    EXPECT(probation_passed());
}

static void contradict_once(void)
{
    contradict(7);
}

static void lose_trust(void)
{
    probation_start(1);
    probation_note_cycle(DUE);
    EXPECT(probation_passed());
    const char *text = printed(contradict_once);
    EXPECT(strstr(text, "100000 bytes at 0x7f0000400000") != NULL);
    EXPECT(strstr(text, "only reported") != NULL);
    EXPECT(!probation_passed() && probation_status().contradictions == 1 && probation_reason() != NULL);
    for (int i = 0; i < 20; i++)
        probation_note_cycle(DUE);
    EXPECT(!probation_passed()); /* for good */
    EXPECT_TEXT(printed(contradict_once), ""); /* said once */
    EXPECT(probation_status().contradictions == 2);
}

static void contradict_early(void)
{
    probation_start(2);
    printed(contradict_once);
    probation_note_cycle(DUE);
    probation_note_cycle(DUE);
    EXPECT(!probation_passed());
}

/* probation=0: it was the user's decision. Blocks go on being reclaimed, but not of that site. */
static void pin_sites(void)
{
    probation_start(0);
    EXPECT(probation_passed() && !pinned(7));
    EXPECT_TEXT(printed(contradict_once), "");
    EXPECT(probation_passed() && probation_reason() == NULL && probation_status().contradictions == 1);
    EXPECT(pinned(7) && !pinned(8) && !pinned(0));
    contradict(0); /* no stack was recorded: no site to pin */
    EXPECT(!pinned(0) && probation_status().contradictions == 2);
}

static void pin_many(void)
{
    probation_start(0);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t site = 1; site < PINNED_MOST; site++)
            contradict(site);
    contradict(1000); /* the last place: repeated ones took none */
    contradict(1001); /* no place: counted, not pinned */
    for (uint32_t site = 1; site < PINNED_MOST; site++)
        EXPECT(pinned(site));
    EXPECT(pinned(1000) && !pinned(1001));
    EXPECT(probation_status().contradictions == 3 * (PINNED_MOST - 1) + 2);
}

/* A small block has its stack in the span's records, if the span is traced. */
static void pin_small(void)
{
    struct record records[4] = {[2] = {.stack = 55, .size = 60}};
    struct slab span = {.kind = SLAB_CLASSED, .traced = 1, .slots = 4, .object_size = 64};
    span.records = records;
    struct block b = {0x7f0000400080, 64, &span, 2};
    probation_start(0);
    probation_contradiction(&b);
    EXPECT(pinned(55));
    b.slot = 1;
    EXPECT(!probation_is_pinned(&b));
    span.traced = 0;
    b.slot = 2;
    EXPECT(!probation_is_pinned(&b));
}

/* ---- writes that the barrier saw ---- */

static void write_on_page(void)
{
    struct block first = block_of_site(7);
    probation_written(&first, true);
    struct block second = block_of_site(8);
    probation_written(&second, false);
}

/* In the stop nothing is said; after it once. */
static void written(void)
{
    uint32_t stack;
    uint64_t count;
    probation_start(1);
    probation_note_cycle(DUE);
    EXPECT_TEXT(printed(probation_tell), ""); /* nothing has happened */
    EXPECT_TEXT(printed(write_on_page), "");
    EXPECT(!probation_passed() && probation_reason() != NULL);
    EXPECT(probation_status().contradictions == 1 && probation_status().written == 1);
    const char *text = printed(probation_tell);
    EXPECT(strstr(text, "wrote to a block of 100000 bytes at 0x7f0000400000") != NULL);
    EXPECT(strstr(text, "only reported") != NULL);
    EXPECT_TEXT(printed(probation_tell), "");
    EXPECT_TEXT(printed(write_on_page), "");
    EXPECT_TEXT(printed(probation_tell), ""); /* said once */
    EXPECT(probation_status().contradictions == 2 && probation_status().written == 2);
    EXPECT(pinned(7) && pinned(8));
    EXPECT(probation_site(0, &stack, &count) && stack == 7 && count == 2);
    EXPECT(probation_site(1, &stack, &count) && stack == 8 && count == 0); /* stays, uncounted */
    EXPECT_TEXT(printed(contradict_once), "");
    EXPECT(probation_status().contradictions == 3 && probation_status().written == 2);
}

static void test_counting(void)
{
    EXPECT(child_passes(count_cycles));
}
static void test_contradiction(void)
{
    EXPECT(child_passes(lose_trust));
}
static void test_early_contradiction(void)
{
    EXPECT(child_passes(contradict_early));
}
static void test_pinned(void)
{
    EXPECT(child_passes(pin_sites));
}
static void test_pinned_many(void)
{
    EXPECT(child_passes(pin_many));
}
static void test_pinned_small(void)
{
    EXPECT(child_passes(pin_small));
}
IN_CHILD(written)

UNIT_MAIN(TEST(test_counting), TEST(test_contradiction), TEST(test_early_contradiction),
          TEST(test_pinned), TEST(test_pinned_many), TEST(test_pinned_small),
          TEST(test_written))
