/* cycle_cycle.c -- whole collections, from the decision to the end of the sweep.
 *
 * Each test is a process with a heap of its own, in which cycles are run by hand. Two things are
 * made to fail from here: the reading of the mappings and of the page map. The program is linked
 * with --wrap: the collector's calls come to the doubles below, which normally pass them on.
 *
 * Blocks are hidden (hidden.h): what is live hangs on the list in `live_list`. */
#include "cycle/cycle.h"

#include "child.h"
#include "cycle/pacer.h"
#include "cycle/probation.h"
#include "gc/world.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/sweep.h"
#include "hidden.h"
#include "mutator/thread_cache.h"
#include "sys/maps.h"
#include "sys/options.h"
#include "sys/pagemap.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum { LIVE = 500, LEAKS = 20, SIZE = 100 };

/* ---- the doubles ---- */

static int maps_lines_left = -1; /* then fail; -1: never */
static bool maps_end_early; /* without an error, as the file of a thread without memory ends */
static bool pagemap_broken, pagemap_missing;

bool __real_maps_next(struct maps_reader *r, struct mapping *m);
bool __wrap_maps_next(struct maps_reader *r, struct mapping *m);
bool __wrap_maps_next(struct maps_reader *r, struct mapping *m)
{
    if (maps_lines_left == 0) {
        r->failed = !maps_end_early;
        return false;
    }
    maps_lines_left -= maps_lines_left > 0;
    return __real_maps_next(r, m);
}

bool __real_pagemap_open(struct pagemap *p);
bool __wrap_pagemap_open(struct pagemap *p);
bool __wrap_pagemap_open(struct pagemap *p)
{
    return !pagemap_missing && __real_pagemap_open(p);
}

bool __real_pagemap_each(struct pagemap *p, enum pagemap_want want, uintptr_t start, uintptr_t end,
                         pagemap_visit_fn *visit, void *data);
bool __wrap_pagemap_each(struct pagemap *p, enum pagemap_want want, uintptr_t start, uintptr_t end,
                         pagemap_visit_fn *visit, void *data);
bool __wrap_pagemap_each(struct pagemap *p, enum pagemap_want want, uintptr_t start, uintptr_t end,
                         pagemap_visit_fn *visit, void *data)
{
    return !pagemap_broken && __real_pagemap_each(p, want, start, end, visit, data);
}

/* ---- a heap, its collector, and its observers ---- */

static int64_t trigger;
static unsigned finished_count, judged_count, judged_indirect, judged_reclaimed;
static struct cycle_record last_record;
static unsigned least_age, most_age;

static void set_trigger(int64_t bytes)
{
    trigger = bytes;
}

static void note_finished(const struct cycle_record *r)
{
    finished_count++;
    last_record = *r;
}

static void note_judged(const struct block *b, unsigned age, bool indirect, bool reclaimed)
{
    (void)b;
    judged_count++;
    judged_indirect += indirect;
    judged_reclaimed += reclaimed;
    least_age = judged_count == 1 || age < least_age ? age : least_age;
    most_age = age > most_age ? age : most_age;
}

static void start(int mode, unsigned confirm, unsigned probation)
{
    struct pacer_settings pacing = {100, 0};
    struct cycle_settings s = {
        .mode = mode,
        .confirm = confirm,
        .stop_timeout_ns = (uint64_t)5000000000u,
        .min_heap = 0,
        .classify = true,
        .finished = note_finished,
        .judged = note_judged,
        .set_trigger = set_trigger,
    };
    EXPECT(hidden_heap(256 * MIB, true));
    pacer_start(&pacing);
    probation_start(probation);
    world_set_signal(0);
    EXPECT(cycle_start(&s));
}

/* A macro, so that no frame lies between the wiped part of the stack and the test's own. */
#define CYCLE_NOW(reason) (wipe_stack(), cycle_run(reason))

static char *live_list;
static hidden live[LIVE], leak[LEAKS];

/* Word 0 links, word 1 says which one it is. */
static GC_NOINLINE void number(hidden h, size_t i)
{
    ((uintptr_t *)reveal(h))[1] = i;
}

static GC_NOINLINE bool is_number(hidden h, size_t i)
{
    return ((const uintptr_t *)reveal(h))[1] == i;
}

static void make_live(void)
{
    for (size_t i = 0; i < LIVE; i++) {
        live[i] = hidden_new(SIZE + i % 5 * 200);
        number(live[i], i);
        if (i == 0)
            hidden_store(&live_list, live[i], 0);
        else
            hidden_link(live[i - 1], 0, live[i], i % 8 * 8);
    }
}

static void make_leaks(void)
{
    for (size_t i = 0; i < LEAKS; i++)
        leak[i] = hidden_new(SIZE);
}

static void expect_live(void)
{
    size_t good = 0, current = 0;
    for (size_t i = 0; i < LIVE; i++) {
        good += is_number(live[i], i);
        current += hidden_byte(live[i]) == relaxed_load(&hot.epoch);
    }
    EXPECT(good == LIVE && current == LIVE);
}

/* How many leaks are still there. */
static size_t leaks_left(void)
{
    size_t left = 0;
    for (size_t i = 0; i < LEAKS; i++)
        left += slot_is_live(hidden_byte(leak[i]));
    return left;
}

/* ---- epochs ---- */

static void epochs_of_mode(int mode, unsigned confirm, int cycles)
{
    start(mode, confirm, 0);
    make_live();
    bool good = true, wrapped = false;
    for (int i = 0; i < cycles && good; i++) {
        uint8_t before = relaxed_load(&hot.epoch);
        if (i % 10 == 0)
            make_leaks();
        good &= CYCLE_NOW(CYCLE_STRESS);
        good &= relaxed_load(&hot.epoch) == epoch_next(before);
        wrapped |= relaxed_load(&hot.epoch) < before;
        good &= cycle_last().number == (uint32_t)i + 1;
        if (i % 7 == 0)
            sweep_finish();
    }
    EXPECT(good && wrapped == (cycles > EPOCH_COUNT));
    expect_live();
    EXPECT(finished_count == (unsigned)cycles);
}

static void wrap_collecting(void)
{
    epochs_of_mode(MODE_COLLECT, 2, 300);
    EXPECT(judged_reclaimed >= 29 * LEAKS && judged_reclaimed == judged_count);
    EXPECT(least_age == 2 && most_age == 2);
}

/* Over more than one turn of the epochs: judged for so long, they are kept, and never taken. */
static void wrap_reporting(void)
{
    epochs_of_mode(MODE_REPORT, 1, 300);
    EXPECT(judged_count == 0 && leaks_left() == LEAKS);
    EXPECT(heap_stats.reclaimed_count == 0);
    struct cycle_record r = cycle_last();
    /* 30 batches; those older than JUDGE_KEEP_AGE are no longer counted as fresh findings. */
    EXPECT(r.unreached_blocks >= 20 * LEAKS && r.unreached_blocks < 30 * LEAKS && !r.reclaiming);
    EXPECT(CYCLE_NOW(CYCLE_EXIT));
    sweep_finish();
    EXPECT(judged_count == 30 * LEAKS && judged_reclaimed == 0); /* but at exit all are told */
    expect_live();
}

/* ---- confirm ---- */

static void confirm_at(unsigned confirm)
{
    start(MODE_COLLECT, confirm, 0);
    make_live();
    make_leaks();
    for (unsigned age = 1; age <= confirm + 1; age++) {
        EXPECT(CYCLE_NOW(CYCLE_STRESS));
        sweep_finish();
        EXPECT(leaks_left() == (age < confirm ? LEAKS : 0));
        struct cycle_record r = cycle_last();
        EXPECT(r.reclaiming && r.unreached_blocks == (age <= confirm ? LEAKS : 0));
        EXPECT(r.due_blocks == (age == confirm ? LEAKS : 0));
        EXPECT(r.marked_blocks == LIVE);
    }
    EXPECT(judged_count == LEAKS && least_age == confirm && most_age == confirm);
    EXPECT(heap_stats.reclaimed_count == LEAKS);
    expect_live();
}

static void confirm_1(void)
{
    confirm_at(1);
}

static void confirm_2(void)
{
    confirm_at(2);
}

static void confirm_3(void)
{
    confirm_at(3);
}

/* Found again in between, the count begins anew. */
static void found_again(void)
{
    static char *word;
    start(MODE_COLLECT, 2, 0);
    make_leaks();
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    hidden_store(&word, leak[3], 0);
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    sweep_finish();
    EXPECT(leaks_left() == 1 && slot_is_live(hidden_byte(leak[3])));
    word = NULL;
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    sweep_finish();
    EXPECT(leaks_left() == 1);
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    sweep_finish();
    EXPECT(leaks_left() == 0);
}

/* ---- modes ---- */

static void report_only(void)
{
    start(MODE_REPORT, 1, 0);
    make_live();
    make_leaks();
    for (int i = 0; i < 20; i++) {
        EXPECT(CYCLE_NOW(CYCLE_STRESS));
        sweep_finish();
    }
    EXPECT(leaks_left() == LEAKS && judged_count == 0);
    EXPECT(cycle_last().due_blocks == LEAKS && !cycle_last().reclaiming);
    expect_live();
}

static void off(void)
{
    start(MODE_OFF, 1, 0);
    make_leaks();
    EXPECT(!CYCLE_NOW(CYCLE_STRESS) && !CYCLE_NOW(CYCLE_EXIT));
    EXPECT(finished_count == 0 && relaxed_load(&hot.epoch) == EPOCH_FIRST);
}

static void at_exit(void)
{
    start(MODE_COLLECT, 3, 0);
    make_live();
    make_leaks();
    hidden_link(leak[0], 0, leak[1], 0);
    EXPECT(CYCLE_NOW(CYCLE_EXIT));
    sweep_finish();
    EXPECT(judged_count == LEAKS && judged_reclaimed == 0 && judged_indirect == 1);
    EXPECT(leaks_left() == LEAKS && last_record.reason == CYCLE_EXIT);
    EXPECT(!CYCLE_NOW(CYCLE_STRESS) && !CYCLE_NOW(CYCLE_EXIT)); /* it was the last one */
    EXPECT(finished_count == 1);
    expect_live();
}

static void under_probation(void)
{
    start(MODE_COLLECT, 1, 3);
    make_leaks();
    for (int i = 1; i <= 4; i++) {
        EXPECT(CYCLE_NOW(CYCLE_STRESS));
        sweep_finish();
        EXPECT(leaks_left() == (i <= 3 ? LEAKS : 0));
        EXPECT(cycle_last().reclaiming == (i > 3));
    }
}

static void after_contradiction(void)
{
    start(MODE_COLLECT, 1, 1);
    make_leaks();
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    EXPECT(probation_passed());
    struct block b = {.start = 0x1000, .size = 16, .head = slab_at(slab_index_of(~leak[0]))};
    int saved = dup(2);
    close(2);
    probation_contradiction(&b); /* says so on standard error */
    dup2(saved, 2);
    for (int i = 0; i < 5; i++) {
        EXPECT(CYCLE_NOW(CYCLE_STRESS));
        sweep_finish();
    }
    EXPECT(leaks_left() == LEAKS && judged_count == 0 && !cycle_last().reclaiming);
}

/* ---- cycles that cannot run, or must not judge ---- */

static void expect_nothing_judged(const char *text)
{
    wipe_stack();
    EXPECT(!cycle_run(CYCLE_STRESS));
    sweep_finish();
    EXPECT(leaks_left() == LEAKS && judged_count == 0 && finished_count == 1);
    const char *reason = cycle_reason_not_run();
    EXPECT(reason != NULL && strstr(reason, text) != NULL);
}

/* .inv.all_or_none: whatever was not reached counts as reached, and its age begins anew. */
static void roots_fail(void)
{
    start(MODE_COLLECT, 2, 0);
    make_live();
    make_leaks();
    EXPECT(CYCLE_NOW(CYCLE_STRESS)); /* age 1 */
    for (int lines = 0; lines < 12; lines += 3) {
        maps_lines_left = lines;
        expect_nothing_judged("/proc/thread-self/maps");
        expect_live();
    }
    maps_lines_left = 0;
    maps_end_early = true;
    expect_nothing_judged("/proc/thread-self/maps");
    expect_live();
    maps_lines_left = -1;
    pagemap_broken = true;
    expect_nothing_judged("page map");
    pagemap_broken = false;
    expect_live();
    EXPECT(CYCLE_NOW(CYCLE_STRESS) && cycle_reason_not_run() == NULL);
    sweep_finish();
    EXPECT(leaks_left() == LEAKS); /* age 1 again */
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    sweep_finish();
    EXPECT(leaks_left() == 0);
    expect_live();
}

static void roots_cannot_be_opened(void)
{
    start(MODE_COLLECT, 1, 0);
    make_live();
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    make_leaks();
    uint8_t epoch = relaxed_load(&hot.epoch);
    trigger = 0;
    pagemap_missing = true;
    expect_nothing_judged("pagemap");
    EXPECT(relaxed_load(&hot.epoch) == epoch && trigger > heap_net()); /* tried again, later */
    pagemap_missing = false;
    EXPECT(CYCLE_NOW(CYCLE_STRESS) && cycle_reason_not_run() == NULL);
    sweep_finish();
    EXPECT(leaks_left() == 0);
    expect_live();
}

static _Atomic int phase;

static void *block_the_signal(void *data)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, data);
    relaxed_store(&phase, 1);
    while (acquire_load(&phase) != 2)
        sched_yield();
    return NULL;
}

static void late(void)
{
    pthread_t thread;
    start(MODE_COLLECT, 1, 0);
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    make_leaks();
    struct cycle_settings s = {.mode = MODE_COLLECT, .confirm = 1, .stop_timeout_ns = 20000000,
                               .finished = note_finished, .judged = note_judged,
                               .set_trigger = set_trigger};
    EXPECT(cycle_start(&s));
    EXPECT(pthread_create(&thread, NULL, block_the_signal, NULL) == 0);
    while (acquire_load(&phase) == 0)
        sched_yield();
    uint8_t epoch = relaxed_load(&hot.epoch);
    expect_nothing_judged("did not stop in time");
    EXPECT(relaxed_load(&hot.epoch) == epoch);
    release_store(&phase, 2);
    pthread_join(thread, NULL);
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    sweep_finish();
    EXPECT(leaks_left() == 0);
}

static void disabled(void)
{
    start(MODE_COLLECT, 1, 0);
    cycle_disable("a test");
    EXPECT(!CYCLE_NOW(CYCLE_STRESS));
    EXPECT_TEXT(cycle_reason_not_run(), "a test");
}

/* ---- other processes ---- */

static volatile int ran_in_vfork = -1;

/* .inv.vfork */
static GC_NOINLINE void try_in_vfork(void)
{
    pid_t child = vfork();
    if (child == 0) {
        ran_in_vfork = cycle_run(CYCLE_STRESS);
        _exit(0);
    }
    EXPECT(child > 0 && waitpid(child, NULL, 0) == child);
}

static void in_vfork(void)
{
    start(MODE_COLLECT, 1, 0);
    make_leaks();
    try_in_vfork();
    EXPECT(ran_in_vfork == 0 && finished_count == 0);
    EXPECT(relaxed_load(&hot.epoch) == EPOCH_FIRST && leaks_left() == LEAKS);
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
}

static void child_of_fork(void)
{
    EXPECT(!cycle_run(CYCLE_STRESS)); /* before it was told */
    cycle_lock_for_fork();
    cycle_after_fork_in_child();
    make_leaks();
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    sweep_finish();
    EXPECT(leaks_left() == 0);
    expect_live();
}

static void in_fork(void)
{
    start(MODE_COLLECT, 1, 0);
    make_live();
    EXPECT(child_passes(child_of_fork));
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    expect_live();
}

/* ---- hooks, and surroundings ---- */

static void from_within_a_hook(void)
{
    start(MODE_COLLECT, 1, 0);
    thread_cache.in_hook = 1;
    EXPECT(!CYCLE_NOW(CYCLE_STRESS) && finished_count == 0);
    thread_cache.in_hook = 0;
    EXPECT(CYCLE_NOW(CYCLE_STRESS) && thread_cache.in_hook == 0);
}

/* The mask is the same afterwards, signals arrive, and errno is untouched. */
static volatile sig_atomic_t delivered;

static void note_signal(int signal)
{
    (void)signal;
    delivered++;
}

static void undisturbed(void)
{
    sigset_t before, after;
    start(MODE_COLLECT, 1, 0);
    signal(SIGUSR1, note_signal);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    sigaddset(&before, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = 12345;
    bool ran = CYCLE_NOW(CYCLE_STRESS);
    int error = errno;
    EXPECT(ran && error == 12345);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    EXPECT(memcmp(&before, &after, 8) == 0); /* the kernel knows 64 signals */
    raise(SIGUSR1);
    EXPECT(delivered == 1);
}

static void trigger_follows(void)
{
    start(MODE_COLLECT, 1, 0);
    EXPECT(trigger == 0); /* pacer_first() with min_heap=0 */
    make_live();
    EXPECT(CYCLE_NOW(CYCLE_GROWTH));
    EXPECT(trigger > heap_net());
    EXPECT(last_record.goal == last_record.live + (trigger - heap_net()));
    EXPECT(last_record.live == (int64_t)last_record.marked_bytes);
    EXPECT(last_record.reason == CYCLE_GROWTH && last_record.number == 1);
    EXPECT(last_record.marking > 0 && last_record.total > 0);
}

/* For want of memory a cycle runs, sweeps all, and is not repeated at once. */
static void exhausted(void)
{
    start(MODE_COLLECT, 1, 0);
    make_leaks();
    wipe_stack();
    EXPECT(!cycle_on_exhausted(SIZE_MAX / 2) && finished_count == 0); /* would not help */
    wipe_stack();
    EXPECT(cycle_on_exhausted(100) && leaks_left() == 0); /* swept without being asked to */
    EXPECT(!cycle_on_exhausted(100) && finished_count == 1);
}

#define IN_CHILD(name) \
    static void test_##name(void) \
    { \
        EXPECT(child_passes(name)); \
    }
IN_CHILD(wrap_collecting)
IN_CHILD(wrap_reporting)
IN_CHILD(confirm_1)
IN_CHILD(confirm_2)
IN_CHILD(confirm_3)
IN_CHILD(found_again)
IN_CHILD(report_only)
IN_CHILD(off)
IN_CHILD(at_exit)
IN_CHILD(under_probation)
IN_CHILD(after_contradiction)
IN_CHILD(roots_fail)
IN_CHILD(roots_cannot_be_opened)
IN_CHILD(late)
IN_CHILD(disabled)
IN_CHILD(in_vfork)
IN_CHILD(in_fork)
IN_CHILD(from_within_a_hook)
IN_CHILD(undisturbed)
IN_CHILD(trigger_follows)
IN_CHILD(exhausted)

UNIT_MAIN(TEST(test_wrap_collecting), TEST(test_wrap_reporting), TEST(test_confirm_1),
          TEST(test_confirm_2), TEST(test_confirm_3), TEST(test_found_again),
          TEST(test_report_only), TEST(test_off), TEST(test_at_exit), TEST(test_under_probation),
          TEST(test_after_contradiction), TEST(test_roots_fail), TEST(test_roots_cannot_be_opened),
          TEST(test_late), TEST(test_disabled), TEST(test_in_vfork), TEST(test_in_fork),
          TEST(test_from_within_a_hook), TEST(test_undisturbed), TEST(test_trigger_follows),
          TEST(test_exhausted))
