/* cycle_cycle.c -- one collection: its phases, its stops, its record, and what it does when it
 * fails.
 *
 * Each test is a process with a heap of its own. Cycles run on the test's thread, with a barrier
 * that calls back (`fake`): what a program would do meanwhile is done there, at a known point of
 * the mark. The last tests run beside real threads, with the kernel's barrier. */
#include "cycle/cycle.h"

#include "child.h"
#include "cycle/finalizer.h"
#include "gc/own_stack.h"
#include "heap/sweep.h"
#include "live_and_leaked.h"
#include "sys/maps.h"
#include "sys/syscall.h"

#include <pthread.h>
#include <signal.h>

/* Of cycle.c: rounds that do not get shorter, each followed by a stop. */
enum { STACK = 256 << 10, STUCK_MOST = 3 };

/* ---- the doubles ---- */

static int maps_lines_left = -1; /* then fail; -1: never */

bool __real_maps_next(struct maps_reader *r, struct mapping *m);
bool __wrap_maps_next(struct maps_reader *r, struct mapping *m);
bool __wrap_maps_next(struct maps_reader *r, struct mapping *m)
{
    if (maps_lines_left == 0) {
        r->failed = true;
        return false;
    }
    maps_lines_left -= maps_lines_left > 0;
    return __real_maps_next(r, m);
}

/* A thread of the program sweeps as soon as it can; or nobody does. */
static bool nobody_sweeps;

void __real_sweep_begin(void);
void __wrap_sweep_begin(void);
void __wrap_sweep_begin(void)
{
    __real_sweep_begin();
    if (!nobody_sweeps)
        sweep_for(UINT32_MAX / 2);
}

/* For tests of how long something takes: time stands still but for what they let pass, and for
 * sleep. What the machine does besides does not count. */
static uint64_t own_time; /* 0: the real one */

static void let_pass(uint64_t ns)
{
    EXPECT(own_time != 0);
    own_time += ns;
}

uint64_t __real_clock_now_ns(void);
uint64_t __wrap_clock_now_ns(void);
uint64_t __wrap_clock_now_ns(void)
{
    return own_time != 0 ? own_time : __real_clock_now_ns();
}

/* The mark waits for the program to become calmer: as long as this at a time. */
enum { NAP_NS = 10000000 };
static _Atomic unsigned naps;

bool __real_futex_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
bool __wrap_futex_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
bool __wrap_futex_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds)
{
    naps += nanoseconds == NAP_NS;
    if (own_time == 0)
        return __real_futex_wait_for(word, value, nanoseconds);
    let_pass(nanoseconds);
    return false;
}

/* Everything counts as written, page by page or at once. */
static struct {
    unsigned arms, takes, begins, ends;
    unsigned phases;            /* bit per phase in which it was called */
    bool by_page;
    bool often, nothing;        /* each page many times, none */
    bool heap;                  /* its beginning is asked for */
    bool calm_after_nap;
    const char *begin_fails;
    void (*on_arm)(void);
    void (*on_take)(bool rearm);
    void (*on_begin)(void);
} seen;

static bool fake_arm(uintptr_t start, uintptr_t end)
{
    EXPECT(start < end);
    seen.arms++;
    seen.phases |= 1u << cycle_phase();
    if (seen.on_arm != NULL)
        seen.on_arm();
    return true;
}

static void fake_take(uintptr_t start, uintptr_t end, bool rearm, pagemap_visit_fn *visit,
                      void *data)
{
    seen.takes++;
    seen.phases |= 1u << cycle_phase();
    EXPECT(cycle_phase() == (rearm ? CYCLE_RESCAN_PHASE : CYCLE_FINAL_PHASE));
    seen.heap = start == arena.base;
    if (seen.on_take != NULL)
        seen.on_take(rearm);
    for (uintptr_t at = start; seen.by_page && at < end; at += PAGE_SIZE)
        visit(at, at + PAGE_SIZE, data);
    for (unsigned i = 0; !seen.by_page && !seen.nothing && i < (seen.often ? 100 : 1); i++)
        visit(start, end, data);
}

static const char *fake_begin(void)
{
    seen.begins++;
    if (seen.on_begin != NULL)
        seen.on_begin();
    return seen.begin_fails;
}

static void fake_end(void)
{
    seen.ends++;
}

static struct barrier fake = {.name = "fake", .begin = fake_begin, .arm = fake_arm,
                              .take = fake_take, .end = fake_end};

/* ---- running one ---- */

static struct lock cycle_lock = LOCK_INIT(CYCLE);
static struct roots_files files;
static char *stack_top;
static const char *reason;

static void start_with(struct cycle_settings s, unsigned probation)
{
    begin_heap(probation);
    EXPECT(cycle_start(&s) && roots_prepare() == NULL && roots_open(&files) == NULL);
    stack_top = (char *)meta_alloc(STACK) + STACK;
}

static void start(unsigned confirm)
{
    struct cycle_settings s = cycle_settings(MODE_COLLECT, confirm);
    s.pause_ns = 10000000000u;
    start_with(s, 0);
}

static void collect_here(void *data, uintptr_t low)
{
    struct cycle_order *order = data;
    order->low = low;
    reason = cycle_collect(order);
}

static GC_NOINLINE bool collect(enum cycle_reason why, const struct barrier *barrier)
{
    struct cycle_order order = {why, barrier, barrier != NULL ? &files : NULL, 0};
    lock_acquire(&cycle_lock);
    call_on_stack(collect_here, &order, stack_top);
    lock_release(&cycle_lock);
    EXPECT(cycle_phase() == CYCLE_IDLE_PHASE);
    return reason == NULL;
}

#define COLLECT(barrier) (wipe_stack(), collect(CYCLE_STRESS, (barrier)))

/* ---- phases and records ---- */

static void expect_record(const struct cycle_record *r, uint32_t cycles)
{
    EXPECT(r->number == cycles && r->reason == CYCLE_STRESS);
    EXPECT(r->pauses == 1 && r->pause == r->paused && r->pause <= r->took);
    EXPECT(r->total >= r->took && r->took > 0);
    EXPECT(r->marked_blocks == LIVE && r->live == (int64_t)r->marked_bytes);
    EXPECT(r->stack_bytes > 0 && r->root_bytes > 0 && r->heap_marked == r->heap_before);
    EXPECT(relaxed_load(&hot.window) == 0);
    EXPECT(relaxed_load(&judge.epoch) == relaxed_load(&hot.epoch));
}

static void phases(void)
{
    start(1);
    EXPECT(cycle_phase() == CYCLE_IDLE_PHASE);
    make_live();
    make_leaks();
    EXPECT(COLLECT(&fake));
    struct cycle_record r = cycle_last();
    expect_record(&r, 1);
    EXPECT(r.unreached_blocks == LEAKS && r.due_blocks == LEAKS && r.reclaiming);
    EXPECT(r.stopping == 0 && leaks_left() == 0);
    EXPECT(seen.phases == (1u << CYCLE_ARM_PHASE | 1u << CYCLE_MARK_PHASE |
                           1u << CYCLE_RESCAN_PHASE | 1u << CYCLE_FINAL_PHASE));
    EXPECT(seen.begins == 1 && seen.ends == 1 && seen.arms > 1 && seen.takes > 2);
    expect_live();
    make_leaks();
    EXPECT(COLLECT(NULL));
    r = cycle_last();
    expect_record(&r, 2);
    EXPECT(r.unreached_blocks == LEAKS && r.stopping > 0 && leaks_left() == 0);
    expect_live();
}

static void begin_within(void)
{
    struct cycle_order order = {CYCLE_STRESS, &fake, &files, 0};
    seen.on_begin = NULL;
    cycle_collect(&order);
}

static void illegal_in_begin(void)
{
    start(1);
    seen.on_begin = begin_within;
    COLLECT(&fake);
}

static void collect_on_take(bool rearm)
{
    struct cycle_order order = {CYCLE_STRESS, &fake, &files, 0};
    seen.on_take = NULL;
    (void)rearm;
    cycle_collect(&order);
}

static void illegal_in_rescan(void)
{
    start(1);
    make_live();
    seen.on_take = collect_on_take;
    COLLECT(&fake);
}

/* One cycle at a time: ARM is entered from IDLE alone. */
static void test_illegal(void)
{
    static char text[4096];
    EXPECT(child_aborts(illegal_in_begin, text, sizeof(text)) && strstr(text, "leads_to") != NULL);
    EXPECT(child_aborts(illegal_in_rescan, text, sizeof(text)) && strstr(text, "leads_to") != NULL);
}

/* ---- sweeping begins when the terms are known ---- */

static GC_NOINLINE hidden new_large(void)
{
    hidden h = hidden_new(200000);
    ((uintptr_t *)reveal(h))[1] = 4711;
    return h;
}

/* A large block that lives, swept by the program at the very moment the sweep is opened. */
static void swept_at_once(void)
{
    static char *keep;
    start(1);
    make_live();
    hidden large = new_large();
    hidden_store(&keep, large, 0);
    for (unsigned i = 0; i < 2 * EPOCH_COUNT; i++) {
        make_leaks();
        if (i % 8 == 0)
            hidden_new(100000); /* a large one that is lost */
        bool done = COLLECT(i % 16 == 3 ? NULL : &fake);
        if (!EXPECT(done && hidden_byte(large) == relaxed_load(&hot.epoch) && leaks_left() == 0))
            break;
    }
    EXPECT(is_number(large, 4711));
    expect_live();
}

/* ---- pauses ---- */

static void take_a_while(bool rearm)
{
    (void)rearm;
    let_pass(1000000);
}

/* No pause is long enough: the last one is taken whole. */
static void never_in_time(void)
{
    struct cycle_settings s = cycle_settings(MODE_COLLECT, 1);
    s.pause_ns = 1;
    own_time = clock_now_ns();
    start_with(s, 0);
    make_live();
    make_leaks();
    seen.by_page = true;
    seen.on_take = take_a_while;
    EXPECT(COLLECT(&fake));
    struct cycle_record r = cycle_last();
    EXPECT(r.pauses == STUCK_MOST && r.paused > r.pause && r.paused < r.took);
    EXPECT(r.marked_blocks == LIVE && r.unreached_blocks == LEAKS && leaks_left() == 0);
    EXPECT(seen.begins == 1 && seen.ends == 1);
    expect_live();
}

/* ---- a program that writes faster than it is read ---- */

/* Reading takes longer than a stop should, and than the program took to write it: 20 ms a round,
 * with the roots, for the time of a look at the heap is allowed in a stop. No stop is in time. */
static void write_much(bool rearm)
{
    static bool slept;
    if (seen.heap && rearm) {
        seen.nothing = seen.calm_after_nap && naps != 0;
        slept = false;
    }
    if (seen.nothing)
        return;
    if (seen.heap && !rearm)
        let_pass(2000000);
    if (!seen.heap && rearm && !slept)
        let_pass(20000000);
    slept |= !seen.heap;
}

static void start_writing(void)
{
    static const struct pacer_settings pacing = {100, 64 * MIB, 0};
    struct cycle_settings s = cycle_settings(MODE_COLLECT, 1);
    s.pause_ns = 1000000;
    own_time = clock_now_ns();
    start_with(s, 0);
    pacer_start(&pacing); /* the goal is far away */
    EXPECT(cycle_start(&s));
    make_live();
    make_leaks();
    seen.often = true;
    seen.on_take = write_much;
}

static void expect_finished(void)
{
    struct cycle_record r = cycle_last();
    EXPECT(r.marked_blocks == LIVE && r.unreached_blocks == LEAKS && leaks_left() == 0);
    expect_live();
}

/* It becomes calm: that is waited for. */
static void calms_down(void)
{
    start_writing();
    seen.calm_after_nap = true;
    EXPECT(collect(CYCLE_GROWTH, &fake) && naps != 0 && seen.nothing);
    expect_finished();
}

/* It does not: the last stop is taken, after some patience; at once for one who waits. */
static void never_calm(void)
{
    start_writing();
    EXPECT(collect(CYCLE_GROWTH, &fake) && naps != 0);
    expect_finished();
    make_leaks();
    naps = 0;
    EXPECT(collect(CYCLE_MEMORY, &fake) && naps == 0);
    expect_finished();
}

/* With `stops` the barrier goes up and comes down while nothing else runs, whatever happens. */
static _Atomic unsigned spins;
static _Atomic bool quit;
static bool moved;

static void *spin(void *data)
{
    (void)data;
    while (!quit)
        spins++;
    return NULL;
}

static void watch_spins(void)
{
    unsigned before = spins;
    for (volatile unsigned i = 0; i < 3000000; i++)
        continue;
    moved |= spins != before;
}

static void give_up(bool rearm)
{
    (void)rearm;
    cycle_abort(true);
}

static void barrier_that_stops(void)
{
    pthread_t thread;
    start(1);
    make_live();
    make_leaks();
    EXPECT(pthread_create(&thread, NULL, spin, NULL) == 0);
    fake.stops = true;
    fake.end = fake_end;
    seen.on_begin = watch_spins;
    EXPECT(COLLECT(&fake) && !moved && seen.begins == 1 && seen.ends == 1);
    EXPECT(cycle_last().pauses == 2 && leaks_left() == 0);
    make_leaks();
    seen.on_take = give_up;
    EXPECT(!COLLECT(&fake) && seen.begins == 2 && seen.ends == 2);
    cycle_abort(false);
    seen.on_take = NULL;
    seen.begin_fails = "no barrier today";
    EXPECT(COLLECT(&fake) && seen.ends == 2 && leaks_left() == 0); /* in one stop, then */
    EXPECT(cycle_last().pauses == 2); /* the one for begin(), and the mark */
    make_leaks();
    seen.begin_fails = NULL;
    EXPECT(COLLECT(&fake) && seen.ends == 3 && leaks_left() == 0 && !moved);
    quit = true;
    pthread_join(thread, NULL);
    expect_live();
}

/* ---- given up ---- */

static void expect_given_up(const struct barrier *barrier)
{
    uint32_t before = cycle_last().number;
    unsigned judged = judged_count;
    EXPECT(!COLLECT(barrier) && cycle_last().number == before);
    sweep_finish();
    EXPECT(judged_count == judged && leaks_left() == LEAKS);
    EXPECT(trigger > heap_net()); /* tried again, later */
    expect_live();
}

/* .inv.all_or_none: what lives is not judged, and the ages begin anew. */
static void given_up(void)
{
    start(2);
    make_live();
    make_leaks();
    for (unsigned round = 0; round < 4; round++) {
        EXPECT(COLLECT(&fake) && leaks_left() == LEAKS); /* age 1 */
        seen.on_take = round == 0 ? give_up : NULL;
        maps_lines_left = round == 1 ? 0 : round == 2 ? 5 : -1;
        if (round == 3)
            cycle_abort(true); /* before it begins */
        expect_given_up(&fake);
        if (round != 1 && round != 2)
            EXPECT(strcmp(reason, "given up") == 0);
        EXPECT(relaxed_load(&hot.window) == 1);
        expect_given_up(round == 1 || round == 2 ? NULL : &fake); /* twice in a row */
        seen.on_take = NULL;
        maps_lines_left = -1;
        cycle_abort(false);
        EXPECT(COLLECT(round % 2 ? &fake : NULL) && leaks_left() == LEAKS); /* age 1 again */
        EXPECT(relaxed_load(&hot.window) == 0);
        expect_live();
        EXPECT(COLLECT(&fake) && leaks_left() == 0);
        expect_live();
        make_leaks();
    }
    EXPECT(judged_count == 4 * LEAKS);
}

/* While finalizers are settled, after the last stop: one is queued already, and what another one's
 * block holds is about to be marked. What was decided holds; nothing else is, and who waits for a
 * weak reference is let through. */
static void called(void)
{
}

static void abort_the_cycle(void)
{
    cycle_abort(true);
}

static GC_NOINLINE hidden finalized(hidden holds, enum finalizer_order order)
{
    hidden h = hidden_new(96);
    hidden_link(h, 8, holds, 0);
    EXPECT(finalizer_set((uintptr_t)reveal(h), called, NULL, order));
    return h;
}

static GC_NOINLINE void *weak_to(hidden h, bool is_long)
{
    return finalizer_weak_new((uintptr_t)reveal(h), is_long);
}

static GC_NOINLINE bool reads(void *weak, hidden h)
{
    void *got;
    return finalizer_weak_get(weak, &got) && got == (h == 0 ? NULL : reveal(h));
}

static GC_NOINLINE bool take_one(hidden h)
{
    struct finalizer_call next;
    return finalizer_take(&next) && next.block == reveal(h);
}

/* More than is marked between two looks whether to go on. */
static GC_NOINLINE hidden long_chain(void)
{
    hidden h = hidden_new(96);
    for (unsigned i = 0; i < 20000; i++) {
        hidden before = hidden_new(96);
        hidden_link(before, 8, h, 0);
        h = before;
    }
    return h;
}

static void settling_given_up(void)
{
    start(1);
    make_live();
    hidden held = long_chain(), weakly = hidden_new(96), alone = hidden_new(96);
    hidden last = finalized(held, FINALIZER_NO_ORDER), first = finalized(alone, FINALIZER_ORDERED);
    void *of_last = weak_to(last, false), *of_held = weak_to(held, true),
         *long_weak = weak_to(weakly, true);
    make_leaks();
    finalizer_on_ready(abort_the_cycle);
    expect_given_up(&fake);
    EXPECT(reason != NULL && strcmp(reason, "given up") == 0);
    EXPECT(finalizer_due() == 1 && take_one(first));
    EXPECT(reads(of_last, last) && reads(of_held, held) && reads(long_weak, weakly));
    expect_given_up(&fake); /* at once */
    EXPECT(finalizer_due() == 0);
    finalizer_on_ready(NULL);
    cycle_abort(false);
    EXPECT(COLLECT(&fake) && leaks_left() == 0 && finalizer_due() == 1 && take_one(last));
    EXPECT(reads(of_last, 0) && reads(of_held, held) && reads(long_weak, 0));
    EXPECT(COLLECT(&fake) && reads(of_held, 0));
    expect_live();
}

/* One mark after another fails, until the epoch is that of the last verdict: nothing is judged by
 * it. Spans that were made since then have not been swept for it. */
static void epochs_come_round(void)
{
    start(1);
    nobody_sweeps = true;
    make_leaks();
    EXPECT(COLLECT(NULL) && leaks_left() == LEAKS);
    uint8_t verdict = relaxed_load(&hot.epoch);
    maps_lines_left = 0;
    EXPECT(!COLLECT(NULL) && leaks_left() == 0); /* by the verdict, before the mark */
    make_live();
    for (unsigned i = 1; i < EPOCH_COUNT; i++) {
        EXPECT(relaxed_load(&hot.epoch) != verdict);
        EXPECT(!COLLECT(NULL));
    }
    EXPECT(relaxed_load(&hot.epoch) == verdict && cycle_last().number == 1);
    for (unsigned i = 0; i < 4 * LIVE; i++) /* more than the thread's cache has */
        hidden_new(SIZE + i % 5 * 200);
    expect_live();
    EXPECT(judged_count == LEAKS);
    maps_lines_left = -1;
    EXPECT(COLLECT(NULL) && cycle_last().number == 2);
    sweep_finish();
    expect_live();
}

/* ---- the program goes on ---- */

enum { VICTIMS = 400 };
static char *victims[VICTIMS];
static hidden moving;
static char *moving_word;
static unsigned next_victim, moves;

static GC_NOINLINE void free_victim(void)
{
    alloc_free(victims[next_victim]);
    hidden_new(SIZE + next_victim % 3 * 1000); /* born, and lost */
    victims[next_victim] = alloc_calloc(1, SIZE);
    next_victim = (next_victim + 1) % VICTIMS;
}

/* The only reference to a large block moves from place to place, behind the marker. */
static GC_NOINLINE void move_one(void)
{
    size_t size = 5000 + moves++ % 40 * 5000;
    char *p = alloc_realloc(moving_word, size);
    *(volatile size_t *)(void *)p = 4711;
    moving_word = p;
    moving = ~(uintptr_t)p;
}

/* Block i of the list is cut out, and put in again elsewhere: a reference crosses the wavefront. */
static GC_NOINLINE void swap_two(void)
{
    void **a = reveal(live[0]), **b = *a, **c = b == NULL ? NULL : *b;
    if (c == NULL)
        return;
    void *rest = *c;
    *a = c;
    *c = b;
    *b = rest;
}

/* Done by another thread: who holds one of our locks must not allocate. */
static _Atomic unsigned asked, answered;

static void *mutate_when_asked(void *data)
{
    (void)data;
    thread_attach((uintptr_t)__builtin_frame_address(0));
    while (!quit) {
        sched_yield();
        if (asked == answered)
            continue;
        free_victim();
        move_one();
        swap_two();
        wipe_stack();
        answered++;
    }
    thread_detach();
    return NULL;
}

static void mutate(void)
{
    if (cycle_phase() != CYCLE_MARK_PHASE && cycle_phase() != CYCLE_RESCAN_PHASE)
        return;
    asked++;
    while (answered != asked)
        sched_yield();
}

static void mutate_on_take(bool rearm)
{
    if (rearm)
        mutate();
}

/* The list is linked by word 0 alone here. */
static GC_NOINLINE void make_plain_list(void)
{
    make_live();
    for (size_t i = 1; i < LIVE; i++)
        hidden_link(live[i - 1], 0, live[i], 0);
}

static GC_NOINLINE size_t list_length(void)
{
    size_t count = 0;
    for (void **p = reveal(live[0]); p != NULL; p = *p)
        count++;
    return count;
}

static void program_goes_on(void)
{
    pthread_t thread;
    start(1);
    make_plain_list();
    for (size_t i = 0; i < VICTIMS; i++)
        victims[i] = alloc_calloc(1, SIZE);
    moving_word = alloc_calloc(1, 100000);
    *(size_t *)(void *)moving_word = 4711;
    EXPECT(pthread_create(&thread, NULL, mutate_when_asked, NULL) == 0);
    seen.on_arm = mutate;
    seen.on_take = mutate_on_take;
    for (unsigned i = 0; i < 300; i++) {
        bool done = COLLECT(&fake);
        if (!EXPECT(done && list_length() == LIVE))
            break;
        size_t good = 0;
        for (size_t v = 0; v < VICTIMS; v++)
            good += relaxed_load(slot_of((uintptr_t)victims[v])) == relaxed_load(&hot.epoch);
        EXPECT(good == VICTIMS);
        EXPECT(*(size_t *)(void *)moving_word == 4711);
        EXPECT(hidden_byte(moving) == relaxed_load(&hot.epoch));
    }
    quit = true;
    pthread_join(thread, NULL);
    EXPECT(moves > 600);
    expect_live();
}

/* ---- fork ---- */

static char *second_stack;
static unsigned forks;

static void child_collects(void)
{
    seen.on_arm = NULL;
    seen.on_take = NULL;
    cycle_after_fork_in_child();
    EXPECT(cycle_phase() == CYCLE_IDLE_PHASE);
    roots_close(&files);
    EXPECT(roots_open(&files) == NULL);
    for (unsigned i = 1; i <= 3; i++) {
        struct cycle_order order = {CYCLE_STRESS, i == 2 ? NULL : &fake, &files, 0};
        wipe_stack();
        call_on_stack(collect_here, &order, second_stack);
        EXPECT(reason == NULL);
        sweep_finish();
        EXPECT(leaks_left() == (i < 2 ? LEAKS : 0));
        expect_live();
    }
}

static void fork_now(void)
{
    if (cycle_phase() == CYCLE_IDLE_PHASE || forks++ % 3 != 0)
        return;
    EXPECT(child_passes(child_collects));
}

static void fork_on_take(bool rearm)
{
    if (rearm)
        fork_now();
}

/* In every phase in which the program runs. */
static void forked(void)
{
    start(2);
    second_stack = (char *)meta_alloc(STACK) + STACK;
    make_live();
    for (unsigned i = 0; i < 3; i++) {
        make_leaks();
        seen.on_arm = fork_now;
        seen.on_take = fork_on_take;
        EXPECT(COLLECT(&fake));
        EXPECT(forks > 5);
        expect_live();
    }
}

/* ---- threads, and the kernel's barrier ---- */

enum { SLOTS = 512, THREADS = 2, STEPS = 1500 };

struct node {
    uintptr_t check;    /* ~ the address of the other half */
    struct node *half;
};

static struct node *kept[SLOTS];
static _Atomic unsigned wrong, steps_left[THREADS];
static bool plain; /* without the oracle */

static bool whole(const struct node *n)
{
    return n->check == ~(uintptr_t)n->half && n->half->check == ~(uintptr_t)n;
}

static struct node *new_node(size_t size)
{
    struct node *n = plain ? alloc_malloc(size) : alloc_calloc(1, size);
    struct node *half = alloc_calloc(1, 48);
    *n = (struct node){~(uintptr_t)half, half};
    *half = (struct node){~(uintptr_t)n, NULL};
    return n;
}

/* The oracle reads a new block before it is written, too: what was there must hold no address. */
static void lose(struct node *n)
{
    if (n != NULL && !plain)
        *(struct node *volatile *)&n->half = NULL;
}

static void free_node(struct node *n)
{
    alloc_free(n->half);
    lose(n);
    alloc_free(n);
}

static struct node *resize(struct node *n, size_t size)
{
    struct node *to = plain ? alloc_realloc(n, size) : alloc_calloc(1, size);
    if (!plain) {
        *to = *n;
        lose(n);
        alloc_free(n);
    }
    to->half->check = ~(uintptr_t)to;
    return to;
}

/* Makes, moves, frees, loses. */
static void step(struct node **place, struct node **other, unsigned x)
{
    struct node *n = *place;
    wrong += n != NULL && !whole(n);
    if (x >> 29 == 0 || x >> 29 == 3) {
        struct node *made = new_node(32 + (x >> 10) % (x >> 29 == 0 ? 500 : 60000));
        lose(n);
        *place = made;
    } else if (x >> 29 == 1 && n != NULL) {
        *place = NULL;
        free_node(n);
    } else if (x >> 29 == 2 && n != NULL) {
        *place = resize(n, 32 + (x >> 12) % 3000);
    } else {
        *place = *other;
        *other = n;
    }
}

static void *churn(void *data)
{
    unsigned self = (unsigned)(uintptr_t)data, x = self + 1;
    struct node **mine = &kept[self * (SLOTS / THREADS)];
    thread_attach((uintptr_t)__builtin_frame_address(0));
    while (!quit) {
        if (steps_left[self] == 0) { /* what is lost must not fill the heap */
            sched_yield();
            continue;
        }
        x = x * 1664525u + 1013904223u;
        step(&mine[(x >> 8) % (SLOTS / THREADS)], &mine[(x >> 17) % (SLOTS / THREADS)], x);
        steps_left[self]--;
    }
    thread_detach();
    return NULL;
}

static void start_beside(const struct barrier *barrier)
{
    struct cycle_settings s = cycle_settings(MODE_COLLECT, 1);
    s.oracle = !plain && GC_CHECK_LEVEL >= 1;
    start_with(s, 0);
    EXPECT(barrier->open == NULL || barrier->open() == NULL);
    make_live();
}

/* More than one turn of the epochs. Each mark is checked by the oracle, too, if not plain. */
static void wrap_beside(const struct barrier *barrier)
{
    pthread_t threads[THREADS];
    start_beside(barrier);
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, churn, (void *)i) == 0);
    for (unsigned i = 0; i < 300; i++) {
        for (unsigned t = 0; t < THREADS; t++)
            steps_left[t] = STEPS;
        make_leaks();
        usleep(i % 4 * 500);
        if (!EXPECT(COLLECT(barrier)))
            printf("    %s\n", reason);
        if (i % 3 == 0)
            sweep_finish();
    }
    quit = true;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(wrong == 0 && judged_reclaimed > 290 * LEAKS);
    EXPECT(relaxed_load(&hot.epoch) == EPOCH_FIRST + 300 % EPOCH_COUNT);
    for (unsigned i = 0; i < SLOTS; i++)
        EXPECT(kept[i] == NULL || whole(kept[i]));
    expect_live();
}

static void wrap_uffd(void)
{
    wrap_beside(&barrier_uffd);
}

static void wrap_uffd_plain(void)
{
    plain = true;
    wrap_beside(&barrier_uffd);
}

static void wrap_fake(void)
{
    wrap_beside(&fake);
}

IN_CHILD(phases)
IN_CHILD(swept_at_once)
IN_CHILD(never_in_time)
IN_CHILD(calms_down)
IN_CHILD(never_calm)
IN_CHILD(barrier_that_stops)
IN_CHILD(given_up)
IN_CHILD(settling_given_up)
IN_CHILD(epochs_come_round)
IN_CHILD(program_goes_on)
IN_CHILD(forked)
IN_CHILD(wrap_uffd)
IN_CHILD(wrap_uffd_plain)
IN_CHILD(wrap_fake)

UNIT_MAIN(TEST(test_phases), TEST(test_illegal), TEST(test_swept_at_once),
          TEST(test_never_in_time), TEST(test_calms_down), TEST(test_never_calm),
          TEST(test_barrier_that_stops), TEST(test_given_up),
          TEST(test_settling_given_up),
          TEST(test_epochs_come_round), TEST(test_program_goes_on), TEST(test_forked),
          TEST(test_wrap_uffd), TEST(test_wrap_uffd_plain), TEST(test_wrap_fake))
