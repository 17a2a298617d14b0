/* cycle_collector.c -- who runs cycles: requests, the collector's thread, waiting, its end.
 *
 * Each test is a process with a heap of its own, in which cycles are asked for by hand; most of
 * them run twice, in one stop on the program's thread, and beside it on the collector's. The
 * program is linked with --wrap: calls to what is made to fail, or held up, come to the doubles
 * below, which normally pass them on. */
#include "cycle/collector.h"

#include "child.h"
#include "gc/deputy.h"
#include "gc/leak_graph.h"
#include "gc/rescan.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"
#include "live_and_leaked.h"
#include "mutator/entry.h"
#include "mutator/thread_cache.h"
#include "sys/maps.h"
#include "sys/pagemap.h"
#include "sys/signal.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

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

static void (*on_deputy_asked)(void); /* that is, when the thread is about to be made */
static bool refuses_descriptors; /* the kernel lends none of the program's */

bool __real_deputy_is_needed(void);
bool __wrap_deputy_is_needed(void);
bool __wrap_deputy_is_needed(void)
{
    if (on_deputy_asked != NULL)
        on_deputy_asked();
    return refuses_descriptors || __real_deputy_is_needed();
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

/* A stop that takes 20 ms, in which the collector's thread would start, or caches are emptied, is
 * put off, and a cycle runs without that thread: what a busy machine does is no matter of these
 * tests. */
#define STOP_LEAST_NS 500000000

enum world_result __real_world_stop(enum world_who who, uint64_t timeout_ns);
enum world_result __wrap_world_stop(enum world_who who, uint64_t timeout_ns);
enum world_result __wrap_world_stop(enum world_who who, uint64_t timeout_ns)
{
    bool brief = timeout_ns < STOP_LEAST_NS;
    return __real_world_stop(who, brief ? 10 * (uint64_t)STOP_LEAST_NS : timeout_ns);
}

/* Cycles can be held up, until the collector is told to give them up. */
enum { HOLD_NOWHERE, HOLD_BEGIN, HOLD_RESCAN, HOLD_JUDGE };
static _Atomic int hold_at;
static _Atomic bool held, gave_up, asks_in_cycle;
static _Atomic unsigned collected;

static void hold_here(int where)
{
    while (hold_at == where && !gave_up) {
        held = true;
        sched_yield();
    }
    held = false;
}

const char *__real_cycle_collect(const struct cycle_order *order);
const char *__wrap_cycle_collect(const struct cycle_order *order);
const char *__wrap_cycle_collect(const struct cycle_order *order)
{
    collected++;
    if (asks_in_cycle)
        collector_ask(COLLECTOR_ASK_ATTEND);
    asks_in_cycle = false;
    if (order->barrier != NULL)
        hold_here(HOLD_BEGIN);
    return __real_cycle_collect(order);
}

size_t __real_rescan_heap(const struct barrier *b, struct marker *m, bool rearm, uint64_t deadline,
                          bool *complete);
size_t __wrap_rescan_heap(const struct barrier *b, struct marker *m, bool rearm, uint64_t deadline,
                          bool *complete);
size_t __wrap_rescan_heap(const struct barrier *b, struct marker *m, bool rearm, uint64_t deadline,
                          bool *complete)
{
    if (rearm)
        hold_here(HOLD_RESCAN);
    return __real_rescan_heap(b, m, rearm, deadline, complete);
}

/* The first that happens once the mark has ended, with the program running again. */
struct leak_counts __real_leak_graph_count(unsigned confirm, bool kept_too);
struct leak_counts __wrap_leak_graph_count(unsigned confirm, bool kept_too);
struct leak_counts __wrap_leak_graph_count(unsigned confirm, bool kept_too)
{
    hold_here(HOLD_JUDGE);
    return __real_leak_graph_count(confirm, kept_too);
}

void __real_cycle_abort(bool abort);
void __wrap_cycle_abort(bool abort);
void __wrap_cycle_abort(bool abort)
{
    __real_cycle_abort(abort);
    gave_up = abort;
}

/* Waits of the program's threads with a bound, of more than they help to mark. */
enum { ASSIST_NS = 200000, LARGE_WAIT_NS = 25000000 };
static _Atomic unsigned bounded_waits;

bool __real_futex_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
bool __wrap_futex_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
bool __wrap_futex_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds)
{
    bool ours = thread_cache.in_hook != 0; /* a thread of the program, within the collector */
    bounded_waits += ours && nanoseconds > ASSIST_NS && nanoseconds <= LARGE_WAIT_NS;
    return __real_futex_wait_for(word, value, nanoseconds);
}

static int64_t hard_goal = -1;
int64_t __real_cycle_hard_goal(void);
int64_t __wrap_cycle_hard_goal(void);
int64_t __wrap_cycle_hard_goal(void)
{
    return hard_goal >= 0 ? hard_goal : __real_cycle_hard_goal();
}

static _Atomic int64_t mark_time = -1; /* what a mark is said to take */
uint64_t __real_pacer_mark_time(int64_t bytes);
uint64_t __wrap_pacer_mark_time(int64_t bytes);
uint64_t __wrap_pacer_mark_time(int64_t bytes)
{
    return mark_time >= 0 ? (uint64_t)mark_time : __real_pacer_mark_time(bytes);
}

/* ---- a heap, its collector, and its observers ---- */

static _Atomic unsigned finished_count;
static struct cycle_record last_record;

/* Of the test that runs: BARRIER_FULL for cycles in one stop, BARRIER_UFFD for the thread. */
static enum collector_barrier barrier = BARRIER_FULL;

static void note_finished(const struct cycle_record *r)
{
    last_record = *r;
    finished_count++;
}

static void start_with(struct cycle_settings cycle, unsigned probation)
{
    struct collector_settings s = {
        .cycle = cycle, .barrier = barrier, .min_heap = 0, .finished = note_finished};
    begin_heap(probation);
    EXPECT(collector_start(&s));
}

static void start(int mode, unsigned confirm, unsigned probation)
{
    start_with(cycle_settings(mode, confirm), probation);
}

/* A macro, so that no frame lies between the wiped part of the stack and the test's own. */
#define CYCLE_NOW(reason) (wipe_stack(), collector_run(reason))

static unsigned tasks(void)
{
    int32_t tids[64];
    return (unsigned)task_list(tids, GC_COUNT(tids));
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
    EXPECT_SOON(finished_count == (unsigned)cycles);
}

static void wrap_collecting(void)
{
    epochs_of_mode(MODE_COLLECT, 2, 300);
    EXPECT_SOON(judged_reclaimed >= 29 * LEAKS && judged_reclaimed == judged_count);
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
    make_leaks();
    hidden_link(leak[0], 0, leak[1], 0);
    make_live(); /* last: the registers forget the leaks */
    EXPECT(CYCLE_NOW(CYCLE_EXIT));
    sweep_finish();
    EXPECT(judged_count == LEAKS && judged_reclaimed == 0 && judged_indirect == 1);
    EXPECT(leaks_left() == LEAKS && cycle_last().reason == CYCLE_EXIT);
    EXPECT(!CYCLE_NOW(CYCLE_STRESS) && !CYCLE_NOW(CYCLE_EXIT)); /* it was the last one */
    EXPECT_SOON(finished_count == 1);
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
    EXPECT(!collector_run(CYCLE_STRESS));
    sweep_finish();
    EXPECT_SOON(leaks_left() == LEAKS && judged_count == 0 && finished_count == 1);
    const char *reason = collector_reason_not_run();
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
    EXPECT(CYCLE_NOW(CYCLE_STRESS) && collector_reason_not_run() == NULL);
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
    EXPECT(CYCLE_NOW(CYCLE_STRESS) && collector_reason_not_run() == NULL);
    sweep_finish();
    EXPECT(leaks_left() == 0);
    expect_live();
}

static _Atomic int phase;

static void *block_the_signal(void *data)
{
    uint64_t all = SIGNAL_ALL; /* libc would leave its own two */
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)data, sizeof all);
    relaxed_store(&phase, 1);
    while (acquire_load(&phase) != 2)
        sched_yield();
    return NULL;
}

static void late(void)
{
    pthread_t thread;
    struct cycle_settings s = cycle_settings(MODE_COLLECT, 1);
    s.stop_timeout_ns = 500000000;
    start_with(s, 0);
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    make_leaks();
    EXPECT(pthread_create(&thread, NULL, block_the_signal, NULL) == 0);
    while (acquire_load(&phase) == 0)
        sched_yield();
    uint8_t epoch = relaxed_load(&hot.epoch);
    expect_nothing_judged("did not stop in time");
    EXPECT(barrier == BARRIER_UFFD || relaxed_load(&hot.epoch) == epoch);
    release_store(&phase, 2);
    pthread_join(thread, NULL);
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
    sweep_finish();
    EXPECT(leaks_left() == 0);
}

static void disabled(void)
{
    start(MODE_COLLECT, 1, 0);
    collector_disable("a test");
    EXPECT(!CYCLE_NOW(CYCLE_STRESS));
    EXPECT_TEXT(collector_reason_not_run(), "a test");
}

/* ---- other processes ---- */

static volatile int ran_in_vfork = -1;

/* .inv.vfork */
static GC_NOINLINE void try_in_vfork(void)
{
    pid_t child = vfork();
    if (child == 0) {
        ran_in_vfork = collector_run(CYCLE_STRESS);
        _exit(0);
    }
    EXPECT(child > 0 && waitpid(child, NULL, 0) == child);
}

static void in_vfork(void)
{
    start(MODE_COLLECT, 1, 0);
    make_leaks();
    try_in_vfork();
    EXPECT(ran_in_vfork == 0 && finished_count == 0 && tasks() == 1);
    EXPECT(relaxed_load(&hot.epoch) == EPOCH_FIRST && leaks_left() == LEAKS);
    EXPECT(CYCLE_NOW(CYCLE_STRESS));
}

static void child_of_fork(void)
{
    EXPECT(!collector_run(CYCLE_STRESS)); /* before it was told */
    collector_after_fork_in_child();
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
    EXPECT_SOON(finished_count == 1 && trigger > heap_net());
    EXPECT(last_record.goal == last_record.live + (trigger - last_record.net_before));
    EXPECT(last_record.live == (int64_t)last_record.marked_bytes);
    EXPECT(last_record.reason == CYCLE_GROWTH && last_record.number == 1);
    EXPECT(last_record.took > 0 && last_record.total == last_record.took);
    EXPECT(last_record.pauses >= 1 && last_record.paused >= last_record.pause);
    EXPECT(last_record.took >= last_record.paused && last_record.pause > 0);
}

/* For want of memory a cycle runs, sweeps all, and is not repeated at once. */
static void exhausted(void)
{
    start(MODE_COLLECT, 1, 0);
    make_leaks();
    wipe_stack();
    EXPECT(!collector_on_exhausted(SIZE_MAX / 2) && finished_count == 0); /* would not help */
    wipe_stack();
    EXPECT(collector_on_exhausted(100) && leaks_left() == 0); /* swept without being asked to */
    EXPECT(!collector_on_exhausted(100));
    EXPECT_SOON(finished_count == 1);
}

/* ---- requests ---- */

/* A heap that is marked within a pause's budget needs no thread. */
static void small_heap(void)
{
    barrier = BARRIER_AUTO;
    start(MODE_COLLECT, 1, 0);
    mark_time = 500000;
    make_live();
    make_leaks();
    wipe_stack();
    collector_on_pressure(0);
    EXPECT(finished_count == 1 && tasks() == 1);
    wipe_stack();
    collector_on_stress();
    EXPECT(finished_count == 2 && tasks() == 1 && last_record.pauses == 1);
    sweep_finish();
    EXPECT(leaks_left() == 0);
    expect_live();
}

/* The program is not made to wait, but the cycle runs. */
static void only_asked(void)
{
    barrier = BARRIER_AUTO;
    start(MODE_COLLECT, 1, 0);
    mark_time = 500001;
    make_live();
    make_leaks();
    hold_at = HOLD_BEGIN;
    wipe_stack();
    collector_on_pressure(0);
    EXPECT_SOON(held && finished_count == 0 && tasks() == 2);
    for (unsigned i = 0; i < 5; i++) {
        hard_goal = INT64_MAX;
        collector_on_pressure(0); /* one is under way: no second one */
    }
    hold_at = HOLD_NOWHERE;
    EXPECT_SOON(finished_count == 1 && leaks_left() == 0); /* the thread sweeps, too */
    EXPECT(collected == 1 && last_record.reason == CYCLE_GROWTH);
    expect_live();
}

/* Nothing is asked for below min_heap, however much is about to come. */
static void below_min_heap(void)
{
    struct collector_settings s = {.cycle = cycle_settings(MODE_COLLECT, 1), .barrier = barrier,
                                   .min_heap = MIB, .finished = note_finished};
    begin_heap(0);
    EXPECT(collector_start(&s));
    make_live();
    collector_on_pressure(100 * MIB);
    EXPECT(collected == 0 && tasks() == 1);
    hidden big = hidden_new(MIB);
    collector_on_pressure(0);
    EXPECT_SOON(big != 0 && finished_count == 1);
}

/* Which way is chosen anew for each cycle; one does not spoil the other. */
static void either_way(void)
{
    barrier = BARRIER_AUTO;
    start(MODE_COLLECT, 1, 0);
    make_live();
    for (unsigned i = 0; i < 8; i++) {
        mark_time = i % 3 == 1 ? 0 : INT64_MAX;
        make_leaks();
        if (!EXPECT(CYCLE_NOW(CYCLE_STRESS)))
            printf("    %s\n", collector_reason_not_run());
        EXPECT_SOON(finished_count == i + 1);
        sweep_finish();
        EXPECT(leaks_left() == 0 && tasks() == 2);
        expect_live();
    }
}

static _Atomic int results; /* bit 0: a run returned; bit 1: it returned true */

static void *run_stress(void *data)
{
    (void)data;
    results = 1 | (collector_run(CYCLE_STRESS) ? 2 : 0);
    return NULL;
}

static void *press(void *data)
{
    (void)data;
    collector_on_pressure(0);
    results = 1;
    return NULL;
}

static void wait_ms(unsigned ms)
{
    usleep(ms * 1000);
}

/* Who asks while a cycle runs gets the next one: what it just dropped must be seen. */
static void asked_meanwhile(void)
{
    pthread_t thread;
    barrier = BARRIER_UFFD;
    start(MODE_COLLECT, 1, 0);
    hold_at = HOLD_RESCAN;
    collector_on_pressure(0);
    EXPECT_SOON(held);
    EXPECT(pthread_create(&thread, NULL, run_stress, NULL) == 0);
    wait_ms(30);
    EXPECT(results == 0);
    hold_at = HOLD_NOWHERE;
    EXPECT_SOON(results == 3 && collected == 2 && finished_count == 2);
    pthread_join(thread, NULL);
}

/* Past the hard goal who allocates waits for the end; before it, not. */
static void waits_past_hard_goal(void)
{
    pthread_t thread;
    barrier = BARRIER_UFFD;
    start(MODE_COLLECT, 1, 0);
    make_live();
    hold_at = HOLD_RESCAN;
    collector_on_pressure(0);
    EXPECT_SOON(held);
    hard_goal = heap_net();
    collector_on_pressure(0); /* returns */
    hard_goal = heap_net() - 1;
    EXPECT(pthread_create(&thread, NULL, press, NULL) == 0);
    wait_ms(50);
    EXPECT(results == 0 && collected == 1);
    hold_at = HOLD_NOWHERE;
    EXPECT_SOON(results == 1 && collected == 1);
    pthread_join(thread, NULL);
}

/* A block that is about to come waits for the end if it would pass the goal by itself, but only for
 * as long as its pages will cost. */
static void large_block_waits(void)
{
    barrier = BARRIER_UFFD;
    start(MODE_COLLECT, 1, 0);
    make_live();
    make_leaks();
    wipe_stack();
    hard_goal = INT64_MAX;
    hold_at = HOLD_RESCAN;
    EXPECT(heap_net() + (int64_t)(40 * MIB) > cycle_goal());
    collector_on_pressure(40 * MIB);
    EXPECT(bounded_waits != 0);
    EXPECT_SOON(held);
    bounded_waits = 0;
    collector_on_pressure(40 * MIB); /* one is under way */
    EXPECT(bounded_waits != 0 && collected == 1 && finished_count == 0);
    bounded_waits = 0;
    collector_on_pressure(KIB);           /* small: it helps */
    collector_on_pressure((size_t)1 << 50); /* there is no such room: it will fail */
    EXPECT(bounded_waits == 0);
    hold_at = HOLD_NOWHERE;
    EXPECT_SOON(finished_count == 1 && leaks_left() == 0);
    expect_live();
}

/* What lies on the stack below the entry from the program (entry.h) is the library's own. */
static GC_NOINLINE void run_below(hidden h)
{
    char *volatile kept = NULL;
    hidden_store((void *)(uintptr_t)&kept, h, 0);
    EXPECT(collector_run(CYCLE_STRESS));
    kept = NULL;
}

static GC_NOINLINE void run_below_entry(hidden h)
{
    char red_zone[256]; /* the entry's own frame is the program's, and what lies close */
    __asm__ volatile("" : : "r"(red_zone) : "memory");
    entry_stack = (uintptr_t)__builtin_frame_address(0);
    run_below(h);
    entry_stack = 0;
}

static void from_an_entry(void)
{
    start(MODE_COLLECT, 1, 0);
    hidden h = hidden_new(48);
    wipe_stack();
    run_below(h);
    sweep_finish();
    EXPECT(slot_is_live(hidden_byte(h)));
    wipe_stack();
    run_below_entry(h);
    sweep_finish();
    EXPECT(!slot_is_live(hidden_byte(h)));
    EXPECT(relaxed_load(&park_self->frame) == 0);
}

/* ---- its end ---- */

/* The deputy ends with the collector's thread, also before exec. */
static void deputy_ends(void)
{
    barrier = BARRIER_UFFD;
    refuses_descriptors = true;
    start(MODE_COLLECT, 1, 0);
    make_live();
    for (unsigned i = 1; i <= 20; i++) {
        make_leaks();
        EXPECT(CYCLE_NOW(CYCLE_STRESS) && tasks() == 3 && deputy_is_there());
        if (i % 2 == 0) {
            EXPECT(collector_hold_stops());
            collector_release_stops(); /* exec has failed */
        } else {
            collector_retire();
        }
        EXPECT(tasks() == 1 && !deputy_is_there() && finished_count == i);
        sweep_finish();
        EXPECT(leaks_left() == 0);
        expect_live();
    }
}

static void retire(void)
{
    barrier = BARRIER_UFFD;
    start(MODE_COLLECT, 1, 0);
    make_live();
    collector_retire(); /* there is none */
    for (unsigned i = 1; i <= 20; i++) {
        make_leaks();
        EXPECT(CYCLE_NOW(CYCLE_STRESS) && tasks() == 2);
        collector_retire();
        EXPECT(tasks() == 1 && finished_count == i);
        sweep_finish();
        EXPECT(leaks_left() == 0);
        expect_live();
    }
}

/* In the middle of a cycle, for which a thread waits: that one is let go, and makes no new thread.
 * */
static void retire_at(int where)
{
    pthread_t thread;
    barrier = BARRIER_UFFD;
    start(MODE_COLLECT, 1, 0);
    make_live();
    make_leaks();
    for (unsigned i = 0; i < 20; i++) {
        results = 0;
        hold_at = where;
        EXPECT(pthread_create(&thread, NULL, run_stress, NULL) == 0);
        EXPECT_SOON(held);
        collector_retire();
        EXPECT_SOON(results != 0 && (where == HOLD_JUDGE || results == 1));
        pthread_join(thread, NULL);
        EXPECT_SOON(tasks() == 1);
    }
    hold_at = HOLD_NOWHERE;
    expect_live();
    EXPECT(CYCLE_NOW(CYCLE_STRESS) && tasks() == 2);
    sweep_finish();
    EXPECT(leaks_left() == 0);
    expect_live();
}

static void retire_at_begin(void)
{
    retire_at(HOLD_BEGIN);
}

static void retire_at_rescan(void)
{
    retire_at(HOLD_RESCAN);
}

static void retire_at_judge(void)
{
    retire_at(HOLD_JUDGE);
}

/* Exit does not wait for the mark that is under way. */
static void exit_at(int where)
{
    pthread_t thread;
    barrier = BARRIER_UFFD;
    start(MODE_COLLECT, 3, 0);
    make_live();
    make_leaks();
    hold_at = where;
    EXPECT(pthread_create(&thread, NULL, run_stress, NULL) == 0);
    EXPECT_SOON(held);
    EXPECT(CYCLE_NOW(CYCLE_EXIT));
    sweep_finish();
    struct cycle_record r = cycle_last();
    EXPECT(r.reason == CYCLE_EXIT && r.pauses == 1 && r.unreached_blocks == LEAKS);
    EXPECT(judged_count == LEAKS && judged_reclaimed == 0 && leaks_left() == LEAKS);
    expect_live();
    EXPECT_SOON(results != 0);
    pthread_join(thread, NULL);
    EXPECT(!CYCLE_NOW(CYCLE_STRESS) && cycle_last().number == r.number);
}

static void exit_at_begin(void)
{
    exit_at(HOLD_BEGIN);
}

static void exit_at_rescan(void)
{
    exit_at(HOLD_RESCAN);
}

/* ---- fork in the middle ---- */

static void child_in_the_middle(void)
{
    hold_at = HOLD_NOWHERE;
    finished_count = 0;
    collector_after_fork_in_child();
    thread_after_fork();
    expect_live();
    EXPECT(tasks() == 1);
    EXPECT(CYCLE_NOW(CYCLE_STRESS) && tasks() == 2);
    sweep_finish();
    expect_live();
    EXPECT(leaks_left() == LEAKS); /* judged by no half mark: this cycle found them */
    for (unsigned i = 0; i < 3; i++)
        EXPECT(CYCLE_NOW(CYCLE_STRESS));
    sweep_finish();
    EXPECT_SOON(leaks_left() == 0 && finished_count == 4);
    expect_live();
}

static void fork_at(int where)
{
    pthread_t thread;
    barrier = BARRIER_UFFD;
    start(MODE_COLLECT, 2, 0);
    make_live();
    for (unsigned i = 0; i < 5; i++) {
        results = 0;
        make_leaks();
        hold_at = where;
        EXPECT(pthread_create(&thread, NULL, run_stress, NULL) == 0);
        EXPECT_SOON(held);
        EXPECT(child_passes(child_in_the_middle));
        hold_at = HOLD_NOWHERE;
        EXPECT_SOON(results == 3);
        pthread_join(thread, NULL);
        expect_live();
    }
}

static void fork_at_begin(void)
{
    fork_at(HOLD_BEGIN);
}

static void fork_at_rescan(void)
{
    fork_at(HOLD_RESCAN);
}

static void fork_at_judge(void)
{
    fork_at(HOLD_JUDGE);
}

/* ---- all at once ---- */

static _Atomic bool quit;

static void *work(void *data)
{
    (void)data;
    void *mine[64] = {NULL};
    unsigned wrong = 0;
    thread_attach((uintptr_t)__builtin_frame_address(0));
    for (unsigned i = 0; !quit; i++) {
        uintptr_t **p = mine[i % 64] != NULL ? mine[i % 64] : alloc_calloc(1, 64);
        wrong += p[1] != NULL && *p[1] != (uintptr_t)p[1];
        alloc_free(p[1]);
        alloc_free(p);
        p = mine[i % 64] = alloc_calloc(1, 64 + i % 7 * 16);
        p[1] = alloc_malloc(40);
        *p[1] = (uintptr_t)p[1];
        if (i % 2000 == 0)
            collector_on_stress();
        if (i % 3000 == 0)
            wrong += !collector_run(CYCLE_STRESS) && i == UINT32_MAX;
    }
    EXPECT(wrong == 0);
    thread_detach();
    return NULL;
}

/* Threads that ask, wait, allocate and free; one that retires the thread; both ways of marking. */
static void all_at_once(void)
{
    pthread_t threads[3];
    barrier = BARRIER_AUTO;
    start(MODE_COLLECT, 1, 0);
    make_live();
    for (unsigned i = 0; i < GC_COUNT(threads); i++)
        EXPECT(pthread_create(&threads[i], NULL, work, NULL) == 0);
    uint64_t until = clock_now_ns() + 2000000000u;
    for (unsigned i = 0; clock_now_ns() < until; i++) {
        mark_time = i % 3 ? INT64_MAX : 0;
        wait_ms(5);
        if (i % 8 == 0)
            collector_retire();
    }
    quit = true;
    for (unsigned i = 0; i < GC_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    expect_live();
    EXPECT(finished_count > 10 && heap_stats.reclaimed_count < finished_count);
}

/* The same with a thread of the collector's own. */
#define BESIDE(name) \
    static void name##_beside(void) \
    { \
        barrier = BARRIER_UFFD; \
        name(); \
    } \
    IN_CHILD(name) \
    IN_CHILD(name##_beside)
BESIDE(wrap_collecting)
BESIDE(wrap_reporting)
BESIDE(confirm_1)
BESIDE(confirm_2)
BESIDE(confirm_3)
BESIDE(found_again)
BESIDE(report_only)
BESIDE(off)
BESIDE(at_exit)
BESIDE(under_probation)
BESIDE(after_contradiction)
BESIDE(roots_fail)
BESIDE(late)
BESIDE(in_vfork)
BESIDE(in_fork)
BESIDE(from_within_a_hook)
BESIDE(undisturbed)
BESIDE(trigger_follows)
BESIDE(exhausted)
IN_CHILD(roots_cannot_be_opened)
IN_CHILD(disabled)
IN_CHILD(small_heap)
IN_CHILD(only_asked)
BESIDE(below_min_heap)
IN_CHILD(either_way)
IN_CHILD(asked_meanwhile)
IN_CHILD(waits_past_hard_goal)
IN_CHILD(large_block_waits)
BESIDE(from_an_entry)
IN_CHILD(deputy_ends)
IN_CHILD(retire)
IN_CHILD(retire_at_begin)
IN_CHILD(retire_at_rescan)
IN_CHILD(retire_at_judge)
IN_CHILD(exit_at_begin)
IN_CHILD(exit_at_rescan)
IN_CHILD(fork_at_begin)
IN_CHILD(fork_at_rescan)
IN_CHILD(fork_at_judge)
IN_CHILD(all_at_once)

/* ---- asking ---- */

static _Atomic unsigned begun_count, ended_count, answered_count;
static _Atomic uint32_t answered;

static void note_begun(void)
{
    begun_count++;
}

static void note_ended(void)
{
    ended_count++;
}

static void note_answer(uint32_t commands)
{
    answered |= commands;
    answered_count++;
}

static void start_asked(void)
{
    struct collector_settings s = {.cycle = cycle_settings(MODE_COLLECT, 1),
                                   .barrier = BARRIER_AUTO, .finished = note_finished,
                                   .begun = note_begun, .ended = note_ended,
                                   .answer = note_answer};
    begin_heap(0);
    EXPECT(collector_start(&s));
}

/* To attend takes a thread, and no cycle; the others take one. */
static void asked(void)
{
    start_asked();
    make_live();
    make_leaks();
    wipe_stack();
    EXPECT(tasks() == 1);
    collector_ask(COLLECTOR_ASK_ATTEND);
    EXPECT_SOON(answered == COLLECTOR_ASK_ATTEND && begun_count == 1);
    EXPECT(tasks() == 2 && collected == 0 && leaks_left() == LEAKS);
    collector_ask(COLLECTOR_ASK_COLLECT);
    EXPECT_SOON(answered == (COLLECTOR_ASK_ATTEND | COLLECTOR_ASK_COLLECT));
    EXPECT(collected == 1 && leaks_left() == 0 && last_record.reason == CYCLE_REQUEST);
    collector_retire();
    EXPECT(ended_count == 1 && tasks() == 1);
    expect_live();
}

/* Where no thread can be made the next one that comes to allocate makes it, and no cycle of its
 * own for that, however large the heap. */
static void asked_too_early(void)
{
    static const struct alloc_settings hooks = {
        .arena = true,
        .hooks = {.interrupted = collector_on_interrupt, .pressure = collector_on_pressure}};
    start_asked();
    alloc_start(&hooks);
    thread_cache.in_hook = 1;
    collector_ask(COLLECTOR_ASK_ATTEND);
    thread_cache.in_hook = 0;
    EXPECT(tasks() == 1);
    lock_acquire(page_heap_lock());
    collector_ask(COLLECTOR_ASK_ATTEND);
    lock_release(page_heap_lock());
    EXPECT(tasks() == 1 && begun_count == 0);
    make_live();
    EXPECT_SOON(answered == COLLECTOR_ASK_ATTEND && tasks() == 2);
    EXPECT(begun_count == 1 && collected == 0 && thread_cache.in_hook == 0);
}

static volatile bool masked;

static void note_mask(void)
{
    sigset_t now;
    EXPECT(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
    masked = sigismember(&now, SIGALRM) == 1;
}

/* .inv.signals: no handler comes on top of who makes the thread, and holds the lock. */
static void asked_with_signals_blocked(void)
{
    start_asked();
    collector_ask_later(COLLECTOR_ASK_ATTEND);
    EXPECT(tasks() == 1);
    on_deputy_asked = note_mask;
    collector_on_interrupt();
    on_deputy_asked = NULL;
    EXPECT(masked);
    EXPECT_SOON(answered == COLLECTOR_ASK_ATTEND);
    note_mask();
    EXPECT(!masked);
}

/* Who collects in one stop, and has the lock, makes it afterwards. */
static void asked_meanwhile_inline(void)
{
    start_asked();
    mark_time = 0; /* fits one stop */
    asks_in_cycle = true;
    EXPECT(CYCLE_NOW(CYCLE_STRESS) && collected == 1);
    EXPECT_SOON(answered == COLLECTOR_ASK_ATTEND && begun_count == 1 && tasks() == 2);
}

/* In fork's child nobody has asked for anything. What its parent's thread was asked is its. */
static void asked_before_fork(void)
{
    start_asked();
    collector_ask_later(COLLECTOR_ASK_COLLECT);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        collector_after_fork_in_child();
        thread_after_fork();
        collector_on_interrupt();
        _exit(tasks() != 1);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    collector_on_interrupt();
    EXPECT_SOON(answered == COLLECTOR_ASK_COLLECT);
}

IN_CHILD(asked)
IN_CHILD(asked_too_early)
IN_CHILD(asked_with_signals_blocked)
IN_CHILD(asked_meanwhile_inline)
IN_CHILD(asked_before_fork)

UNIT_MAIN(TEST(test_asked), TEST(test_asked_too_early), TEST(test_asked_with_signals_blocked),
          TEST(test_asked_meanwhile_inline), TEST(test_asked_before_fork),
          TEST(test_wrap_collecting), TEST(test_wrap_collecting_beside), TEST(test_wrap_reporting),
          TEST(test_wrap_reporting_beside), TEST(test_confirm_1), TEST(test_confirm_1_beside),
          TEST(test_confirm_2), TEST(test_confirm_2_beside), TEST(test_confirm_3),
          TEST(test_confirm_3_beside), TEST(test_found_again), TEST(test_found_again_beside),
          TEST(test_report_only), TEST(test_report_only_beside), TEST(test_off),
          TEST(test_off_beside), TEST(test_at_exit), TEST(test_at_exit_beside),
          TEST(test_under_probation), TEST(test_under_probation_beside),
          TEST(test_after_contradiction), TEST(test_after_contradiction_beside),
          TEST(test_roots_fail), TEST(test_roots_fail_beside), TEST(test_late),
          TEST(test_late_beside), TEST(test_in_vfork), TEST(test_in_vfork_beside),
          TEST(test_in_fork), TEST(test_in_fork_beside), TEST(test_from_within_a_hook),
          TEST(test_from_within_a_hook_beside), TEST(test_undisturbed),
          TEST(test_undisturbed_beside), TEST(test_trigger_follows),
          TEST(test_trigger_follows_beside), TEST(test_exhausted), TEST(test_exhausted_beside),
          TEST(test_roots_cannot_be_opened), TEST(test_disabled), TEST(test_small_heap),
          TEST(test_only_asked), TEST(test_below_min_heap), TEST(test_below_min_heap_beside),
          TEST(test_either_way), TEST(test_asked_meanwhile), TEST(test_waits_past_hard_goal),
          TEST(test_large_block_waits), TEST(test_from_an_entry),
          TEST(test_from_an_entry_beside), TEST(test_deputy_ends), TEST(test_retire),
          TEST(test_retire_at_begin), TEST(test_retire_at_rescan), TEST(test_retire_at_judge),
          TEST(test_exit_at_begin), TEST(test_exit_at_rescan), TEST(test_fork_at_begin),
          TEST(test_fork_at_rescan), TEST(test_fork_at_judge), TEST(test_all_at_once))
