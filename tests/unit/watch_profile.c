/* watch_profile.c -- a known set of blocks gives just these lines.
 *
 * malloc records a stack that the test chooses; the accounts are kept as runtime.c does. Cycles run
 * in one stop on this thread. Each test is a process. */
#include "watch/profile.h"

#include "child.h"
#include "cycle/collector.h"
#include "heap/sweep.h"
#include "live_and_leaked.h"
#include "mutator/sampler.h"
#include "watch/history.h"
#include "watch/leak.h"
#include "watch/stack_table.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SITES = 4, SAMPLE = 4096, SEEDS = 40, EACH = 4000 };

static uint32_t sites[SITES], site;
static char *text;

static uint32_t capture(void)
{
    return sites[site];
}

static void born(uint32_t stack, uint64_t bytes, uint64_t parts)
{
    struct stack_account *a = stack_table_account(stack);
    a->allocated_blocks += parts;
    a->allocated_bytes += bytes * parts;
}

static void died(uint32_t stack, uint64_t bytes, uint64_t parts)
{
    struct stack_account *a = stack_table_account(stack);
    a->freed_blocks += parts;
    a->freed_bytes += bytes * parts;
}

static void judged(const struct block *b, unsigned age, bool indirect, bool reclaimed)
{
    if (reclaimed && block_stack(b) != 0)
        died(block_stack(b), block_requested(b), alloc_parts(b));
    leak_note(b, age, indirect, reclaimed);
}

static void begin(int mode, unsigned confirm, enum alloc_sampling sampling)
{
    struct alloc_settings alloc = {.arena = true, .sampling = sampling, .sample_bytes = SAMPLE,
                                   .hooks = {.capture = capture, .born = born, .died = died}};
    struct cycle_settings cycle = cycle_settings(mode, confirm);
    cycle.judged = judged;
    struct collector_settings s = {.cycle = cycle, .barrier = BARRIER_FULL};
    clock_start();
    options_set_defaults(&options);
    begin_heap(0);
    alloc_start(&alloc);
    EXPECT(collector_start(&s));
    for (uint32_t i = 0; i < SITES; i++) {
        uintptr_t pcs[2] = {0x1000 + i, 0x2000};
        sites[i] = stack_table_intern(pcs, 2, 0);
    }
}

static bool has_line(const char *wanted)
{
    char whole[256];
    snprintf(whole, sizeof whole, "\n%s\n", wanted);
    return strstr(text, whole) != NULL;
}

static unsigned count_lines(const char *word)
{
    unsigned count = 0;
    char start[64];
    snprintf(start, sizeof start, "\n%s ", word);
    for (const char *at = text; (at = strstr(at, start)) != NULL; at++)
        count++;
    return count;
}

static void GC_PRINTF_LIKE(1, 2) expect_line(const char *format, ...)
{
    char wanted[200];
    va_list args;
    va_start(args, format);
    vsnprintf(wanted, sizeof wanted, format, args);
    va_end(args);
    if (!EXPECT(has_line(wanted)))
        printf("    no line \"%s\"\n", wanted);
}

static const char *unrecorded;

static void take(const char *const *notes)
{
    static char room[4 << 20];
    int fd = memfd_create("profile", 0);
    EXPECT(profile_write(fd, PROFILE_REQUEST, notes, unrecorded));
    ssize_t got = pread(fd, room, sizeof room - 1, 0);
    room[got < 0 ? 0 : got] = '\0';
    text = room;
    close(fd);
}

static const char *const no_notes[] = {NULL};

/* First and last lines, and all kinds between them. */
static void form(void)
{
    static const char *const notes[] = {"a note\nwith \\ two lines", NULL};
    begin(MODE_REPORT, 2, ALLOC_SAMPLE_ALL);
    event_note(EVENT_REQUEST, 3, 4);
    wipe_stack();
    EXPECT(collector_run(CYCLE_REQUEST));
    unrecorded = "because";
    take(notes);
    unsigned long lines = 0, said = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    EXPECT(strncmp(text, "gcmalloc-profile 2\nprocess ", 27) == 0);
    const char *end = strstr(text, "\nend ");
    EXPECT(end != NULL && sscanf(end, "\nend %lu\n", &said) == 1 && said == lines - 1);
    expect_line("note a note\\x0awith \\x5c two lines");
    expect_line("unrecorded because");
    expect_line("option mode collect");
    expect_line("total cycles 0"); /* history is told by runtime.c */
    expect_line("stack %u %lu 1000 2000", sites[0], stack_table_time(sites[0]));
    expect_line("branch %u %lu %u 1 1001", sites[1], stack_table_time(sites[1]), sites[0]);
    EXPECT(count_lines("stack") == 1 && count_lines("branch") == SITES - 1);
    EXPECT(count_lines("site") == SITES);
    EXPECT(count_lines("thread") == 1 && count_lines("module") >= 2 && count_lines("program") == 1);
    EXPECT(count_lines("event") >= 5 && strstr(text, " REQUEST 3 4\n") != NULL);
    EXPECT(count_lines("leak") == 0 && count_lines("contradiction") == 0);
}

/* Fails to be written: said so. */
static void cut_short(void)
{
    begin(MODE_REPORT, 2, ALLOC_SAMPLE_ALL);
    int fd = open("/dev/full", O_WRONLY);
    EXPECT(fd >= 0 && !profile_write(fd, PROFILE_EXIT, no_notes, NULL));
    EXPECT(!profile_write(-1, PROFILE_EXIT, no_notes, NULL));
}

static hidden kept[30];

HIDDEN_STEP void free_hidden(hidden h)
{
    alloc_free(reveal(h));
}

/* Site 1: 30 blocks of 40 bytes in a list, 10 more freed. Site 2: 7 of 1,000, lost; one of them
 * holds 2 of site 3 with 50. A large one at site 3 is lost, another one held, resized in place. */
HIDDEN_STEP void make_known(void)
{
    static char *list, *large;
    hidden lost[7];
    site = 1;
    for (int i = 0; i < 30; i++)
        kept[i] = hidden_new(40);
    hidden_store(&list, kept[0], 0);
    for (int i = 1; i < 30; i++)
        hidden_link(kept[i - 1], 0, kept[i], 0);
    for (int i = 0; i < 10; i++)
        free_hidden(hidden_new(40));
    site = 2;
    for (int i = 0; i < 7; i++)
        lost[i] = hidden_new(1000);
    site = 3;
    hidden_link(lost[3], 8, hidden_new(50), 0);
    hidden_link(lost[3], 80, hidden_new(50), 0);
    hidden_new(300000);
    large = alloc_malloc(300000);
    EXPECT(alloc_realloc(large, 299000) == large);
}

static void exact(void)
{
    begin(MODE_REPORT, 2, ALLOC_SAMPLE_ALL);
    make_known();
    wipe_stack();
    EXPECT(collector_run(CYCLE_REQUEST));
    leak_count_present();
    take(no_notes);
    expect_line("site %u 0 0 0 0", sites[0]);
    expect_line("site %u 40 1600 10 400", sites[1]);
    expect_line("site %u 7 7000 0 0", sites[2]);
    expect_line("site %u 5 899100 1 300000", sites[3]);
    expect_line("reach %u 0 30 1200 30 1200", sites[1]);
    expect_line("reach %u 0 1 299000 1 299000", sites[3]);
    expect_line("leak %u 1000 direct remaining 7 7000 1 1 7 7000", sites[2]);
    expect_line("leak %u 50 indirect remaining 2 100 1 1 2 100", sites[3]);
    expect_line("leak %u 300000 direct remaining 1 300000 1 1 1 300000", sites[3]);
    EXPECT(count_lines("leak") == 3 && count_lines("reach") == 2);
    take(no_notes); /* once more: nothing was counted twice */
    expect_line("reach %u 0 30 1200 30 1200", sites[1]);
    EXPECT(count_lines("leak") == 3 && count_lines("reach") == 2);
    leak_end_present();
    leak_count_present();
    take(no_notes);
    EXPECT(count_lines("leak") == 0);
}

/* What is reclaimed was freed, to an account, and is a leak of another kind. */
static void reclaimed(void)
{
    begin(MODE_COLLECT, 1, ALLOC_SAMPLE_ALL);
    make_known();
    wipe_stack();
    EXPECT(collector_run(CYCLE_REQUEST));
    sweep_finish();
    leak_count_present();
    take(no_notes);
    expect_line("site %u 40 1600 10 400", sites[1]);
    expect_line("site %u 7 7000 7 7000", sites[2]);
    expect_line("site %u 5 899100 4 600100", sites[3]);
    expect_line("leak %u 1000 direct reclaimed 7 7000 1 1 7 7000", sites[2]);
    expect_line("leak %u 50 indirect reclaimed 2 100 1 1 2 100", sites[3]);
    expect_line("leak %u 300000 direct reclaimed 1 300000 1 1 1 300000", sites[3]);
    EXPECT(count_lines("leak") == 3);
}

/* Without stacks: by class. */
static void no_stacks(void)
{
    begin(MODE_REPORT, 2, ALLOC_SAMPLE_NONE);
    make_known();
    wipe_stack();
    EXPECT(collector_run(CYCLE_REQUEST));
    leak_count_present();
    take(no_notes);
    EXPECT(count_lines("reach") == 2);
    expect_line("reach 0 %u 30 %u", (unsigned)size_classes[size_class_of(41)].size,
             30 * (unsigned)size_classes[size_class_of(41)].size);
    expect_line("reach 0 0 1 299000");
    EXPECT(count_lines("leak") == 3 && strstr(text, "leak 0 300000 direct") != NULL);
}

static double estimated(uint32_t stack)
{
    return (double)stack_table_account(stack)->allocated_blocks / SAMPLER_PARTS;
}

/* Estimates hit the mark on average: each of SEEDS times EACH blocks at the probability p gives
 * EACH, with a variance of EACH (1 - p) / p; their mean that by SEEDS. Five deviations. */
static void unbiased(void)
{
    static const size_t sizes[SITES] = {24, 200, 2000, 20000};
    begin(MODE_REPORT, 2, ALLOC_SAMPLE_SOME);
    double total[SITES] = {0};
    for (int seed = 0; seed < SEEDS; seed++)
        for (site = 0; site < SITES; site++) {
            double before = estimated(sites[site]);
            for (int i = 0; i < EACH; i++)
                alloc_free(alloc_malloc(sizes[site]));
            total[site] += estimated(sites[site]) - before;
        }
    for (site = 0; site < SITES; site++) {
        size_t size = size_classes[size_class_of(sizes[site] + 1)].size;
        double p = -expm1(-(double)size / SAMPLE), mean = total[site] / SEEDS;
        double deviation = sqrt(EACH * (1 - p) / p / SEEDS);
        if (!EXPECT(fabs(mean - EACH) <= 5 * deviation + 0.01 * EACH))
            printf("    %zu bytes: %.0f of %d, deviation %.0f\n", sizes[site], mean, EACH,
                   deviation);
        const struct stack_account *a = stack_table_account(sites[site]);
        EXPECT(a->freed_blocks == a->allocated_blocks && a->freed_bytes == a->allocated_bytes);
        EXPECT(a->allocated_bytes == a->allocated_blocks * sizes[site]);
    }
}

HIDDEN_STEP void lose_two_sizes(void)
{
    for (int i = 0; i < EACH; i++) {
        hidden_new(24);
        hidden_new(2000);
    }
    hidden_new(300000); /* always has its stack, and stands for itself */
}

/* What a line of a site stands for: weights are those of its blocks' sizes, not of their mean. */
static void stand_for(void)
{
    unsigned long blocks = 0, bytes = 0, for_blocks = 0, for_bytes = 0;
    char start[64];
    begin(MODE_REPORT, 2, ALLOC_SAMPLE_SOME);
    site = 1;
    lose_two_sizes();
    wipe_stack();
    EXPECT(collector_run(CYCLE_REQUEST));
    leak_count_present();
    take(no_notes);
    snprintf(start, sizeof start, "\nleak %u 0 direct remaining ", sites[1]);
    const char *at = strstr(text, start);
    if (!EXPECT(at != NULL && sscanf(at + strlen(start), "%lu %lu 1 1 %lu %lu", &blocks, &bytes,
                                     &for_blocks, &for_bytes) == 4))
        return;
    double small = -expm1(-(double)size_classes[size_class_of(25)].size / SAMPLE);
    double medium = -expm1(-(double)size_classes[size_class_of(2001)].size / SAMPLE);
    double v = EACH * (1 - small) / small, w = EACH * (1 - medium) / medium;
    EXPECT(fabs((double)for_blocks - 2 * EACH - 1) <= 5 * sqrt(v + w));
    EXPECT(fabs((double)for_bytes - EACH * 2024.0 - 300000) <=
           5 * sqrt(v * 24 * 24 + w * 2000 * 2000));
    if (!EXPECT(blocks < EACH && bytes < EACH * 1000))
        printf("    %lu blocks, %lu bytes, for %lu, %lu\n", blocks, bytes, for_blocks, for_bytes);
}

IN_CHILD(form)
IN_CHILD(cut_short)
IN_CHILD(exact)
IN_CHILD(reclaimed)
IN_CHILD(no_stacks)
IN_CHILD(unbiased)
IN_CHILD(stand_for)

UNIT_MAIN(TEST(test_form), TEST(test_cut_short), TEST(test_exact), TEST(test_reclaimed),
          TEST(test_no_stacks), TEST(test_unbiased), TEST(test_stand_for))
