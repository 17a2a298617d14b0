/* cycle.c -- the phases of a collection.
 *
 *   phase     holds                                             left by
 *   IDLE      every reachable block carries hot.epoch or will   prepare()
 *             be reached by the next mark
 *   PREPARE   every slab is swept; roots can be read            mark_all(), abandon()
 *   MARK      the world is stopped; hot.epoch has advanced;     set_terms()
 *             the mark is under way
 *   SWEEP     all reachable blocks carry hot.epoch; judge's     finish()
 *             terms and the sweep's range are set
 *
 * The cycle runs where it was needed, on the allocating thread: a program without threads keeps
 * having none, and no signal is ever sent to it. Signals, other than the one that stops the world,
 * are blocked from before the CYCLE lock is taken until after it is released, so no handler of the
 * program runs on our stack, or waits for a lock that the code under it holds.
 *
 *   .inv.all_or_none   If roots could not all be read, nothing is judged: every live block is
 *                      taken as reached.
 *   .inv.registry      The REGISTRY lock is taken before the stop, since a stopped thread might
 *                      hold it. No other lock is taken in MARK.
 *   .inv.vfork         In a vfork child, which shares our memory but is another process, no cycle
 *                      runs: it could not stop the parent's threads. */
#include "cycle/cycle.h"

#include "base/atomic.h"
#include "base/check.h"
#include "cycle/pacer.h"
#include "cycle/probation.h"
#include "gc/leak_graph.h"
#include "gc/own_stack.h"
#include "gc/roots.h"
#include "gc/team.h"
#include "gc/world.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"
#include "mutator/entry.h"
#include "mutator/thread.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/options.h"
#include "sys/syscall.h"

#include <signal.h>
#include <string.h>

enum { OWN_STACK = 256 << 10, MEMORY_SHARE = 20 };

static struct {
    struct lock lock;
    struct cycle_settings settings;
    enum cycle_phase phase;
    char *stack_top;
    struct cycle_record record;
    uint64_t started;
    int32_t pid;
    bool closed;                 /* the exit cycle has run */
    _Atomic uint64_t next_memory_cycle; /* not before this time */
    _Atomic uint32_t finished;   /* number of cycles, for waiters on the lock */
    const char *_Atomic not_run; /* why the last attempt failed */
    const char *_Atomic disabled;
} cycle = {.lock = LOCK_INIT(CYCLE)};

struct attempt {
    enum cycle_reason reason;
    bool done;
};

static void enter(enum cycle_phase from, enum cycle_phase to)
{
    GC_CHECK(cycle.phase == from);
    cycle.phase = to;
}

static bool reclaiming_now(void)
{
    return cycle.settings.mode == MODE_COLLECT && probation_passed();
}

/* The judge asks of each block that is due. At exit none is reclaimed: they are the report. */
static bool on_judged(const struct block *block, unsigned age)
{
    bool reclaim = cycle.record.reason != CYCLE_EXIT && !probation_is_pinned(block);
    if (cycle.settings.judged != NULL && (reclaim || cycle.record.reason == CYCLE_EXIT))
        cycle.settings.judged(block, age, leak_graph_is_indirect(block->start), reclaim);
    return reclaim;
}

bool cycle_start(const struct cycle_settings *settings)
{
    cycle.settings = *settings;
    cycle.started = clock_now_ns();
    cycle.pid = (int32_t)syscall0(__NR_getpid);
    char *stack = meta_alloc(OWN_STACK);
    if (stack == NULL)
        return false;
    cycle.stack_top = stack + OWN_STACK;
    judge.reclaiming = on_judged;
    cycle.settings.set_trigger(pacer_first());
    return team_init();
}

/* Finishes the last sweep and makes sure that roots can be read. */
static const char *prepare(void)
{
    enter(CYCLE_IDLE_PHASE, CYCLE_PREPARE_PHASE);
    sweep_finish();
    leak_graph_drop();
    return roots_prepare();
}

static void abandon(const char *reason)
{
    enter(CYCLE_PREPARE_PHASE, CYCLE_IDLE_PHASE);
    relaxed_store(&cycle.not_run, reason);
    cycle.settings.set_trigger(heap_net() + pacer_retry(heap_used()));
}

static void take_as_reached(const struct block *block, uint8_t byte, void *data)
{
    (void)byte;
    (void)data;
    relaxed_store(slot_of(block->start), relaxed_load(&hot.epoch));
}

/* .inv.all_or_none */
static void take_all_as_reached(void)
{
    struct unreached what = {relaxed_load(&hot.epoch), EPOCH_FIRST};
    for (uint32_t i = 0; i < relaxed_load(&arena.top); i++) {
        struct slab *slab = slab_at(i);
        if (slab_kind(slab) >= SLAB_CLASSED && slab->head == i)
            judge_visit(slab, what, take_as_reached, NULL);
    }
}

static const char *mark_all(uintptr_t low)
{
    struct own_stack self = {(int32_t)syscall0(__NR_gettid), low};
    struct roots_stats roots;
    enter(CYCLE_PREPARE_PHASE, CYCLE_MARK_PHASE);
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    memset(judge.newborn, 0, sizeof(judge.newborn));
    team_start(1, roots_pagemap());
    const char *reason = roots_scan(team_leader(), &self, &roots);
    team_drain(0);
    cycle.record.stack_bytes = roots.stack_bytes;
    cycle.record.root_bytes = roots.other_bytes;
    if (reason != NULL)
        take_all_as_reached();
    return reason;
}

static void count_unreached(void)
{
    struct cycle_record *r = &cycle.record;
    bool at_exit = r->reason == CYCLE_EXIT;
    struct leak_counts counts = leak_graph_count(at_exit ? 1 : cycle.settings.confirm,
                                                 at_exit);
    struct team_totals marked = team_totals();
    r->marked_blocks = marked.marked_blocks;
    r->marked_bytes = marked.marked_bytes;
    r->unreached_blocks = counts.blocks;
    r->unreached_bytes = counts.bytes;
    r->due_blocks = counts.due_blocks;
    r->due_bytes = counts.due_bytes;
    r->reclaiming = reclaiming_now();
    if (cycle.settings.classify && counts.due_blocks != 0 && (at_exit || r->reclaiming))
        leak_graph_build(&team_leader()->work, roots_pagemap());
}

/* The world is still stopped: as soon as it runs, mutators sweep by these terms. */
static void set_terms(void)
{
    bool at_exit = cycle.record.reason == CYCLE_EXIT;
    enter(CYCLE_MARK_PHASE, CYCLE_SWEEP_PHASE);
    judge.reclaim = at_exit || cycle.record.reclaiming;
    judge.confirm = at_exit ? 1 : cycle.settings.confirm;
    judge.least = at_exit ? SLOT_KEPT : EPOCH_FIRST;
    sweep_begin();
}

static void finish(void)
{
    struct cycle_record *r = &cycle.record;
    uint64_t reclaimed = r->reclaiming ? r->due_bytes : 0;
    r->live = (int64_t)r->marked_bytes + (int64_t)(r->unreached_bytes - reclaimed);
    /* What waits to be confirmed, or for the end of probation, must not buy the heap room to
     * grow: a leaking program would double three times before the first block comes back. What
     * will never be reclaimed must, or each cycle's findings would bring the next one closer. */
    bool will_reclaim = cycle.settings.mode == MODE_COLLECT && probation_reason() == NULL;
    struct pacer_input in = {will_reclaim ? (int64_t)r->marked_bytes : r->live,
                             (int64_t)(r->stack_bytes + r->root_bytes),
                             (int64_t)r->unreached_bytes};
    int64_t growth = pacer_next(&in);
    r->goal = r->live + growth;
    cycle.settings.set_trigger(heap_net() + growth);
    probation_note_cycle(r->due_blocks);
    team_end();
    relaxed_store(&cycle.not_run, NULL);
    enter(CYCLE_SWEEP_PHASE, CYCLE_IDLE_PHASE);
}

/* Stops the world, marks, and lets it go. */
static const char *stop_and_mark(uintptr_t low)
{
    struct cycle_record *r = &cycle.record;
    uint64_t t0 = clock_now_ns();
    lock_acquire(thread_registry_lock());
    enum world_result stopped = world_stop(cycle.settings.stop_timeout_ns);
    uint64_t t1 = clock_now_ns();
    const char *reason = NULL;
    if (stopped == WORLD_STOPPED)
        reason = roots_open();
    if (stopped == WORLD_STOPPED && reason == NULL) {
        r->heap_before = heap_used();
        reason = mark_all(low);
        count_unreached();
        set_terms();
        roots_close();
    }
    uint64_t t2 = clock_now_ns();
    if (stopped == WORLD_STOPPED)
        world_start();
    lock_release(thread_registry_lock());
    r->stopping = t1 - t0;
    r->marking = t2 - t1;
    r->resuming = clock_now_ns() - t2;
    if (stopped == WORLD_LATE)
        return "a thread did not stop in time";
    return stopped == WORLD_NO_TASKS ? "/proc/self/task cannot be read" : reason;
}

static void run(void *argument, uintptr_t low)
{
    struct attempt *a = argument;
    struct cycle_record *r = &cycle.record;
    const char *reason = prepare();
    if (entry_stack > low)
        low = entry_stack;
    r->reason = a->reason;
    r->begun = clock_now_ns() - cycle.started;
    if (reason == NULL)
        reason = stop_and_mark(low);
    if (cycle.phase == CYCLE_PREPARE_PHASE) {
        abandon(reason);
        return;
    }
    r->number++;
    r->total += r->stopping + r->marking + r->resuming;
    finish();
    if (reason != NULL)
        relaxed_store(&cycle.not_run, reason);
    a->done = reason == NULL;
    cycle.closed = a->reason == CYCLE_EXIT;
    relaxed_add(&cycle.finished, 1);
}

static uint64_t block_signals(void)
{
    uint64_t all = ~((uint64_t)1 << (world_signal() - 1)), old = 0;
    syscall4(__NR_rt_sigprocmask, SIG_BLOCK, (long)&all, (long)&old, sizeof(old));
    return old;
}

static void restore_signals(uint64_t old)
{
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, sizeof(old));
}

static bool may_run(void)
{
    if (cycle.settings.mode == MODE_OFF || cycle.stack_top == NULL || cycle.closed ||
        relaxed_load(&cycle.disabled) != NULL)
        return false;
    return cycle.pid == (int32_t)syscall0(__NR_getpid); /* .inv.vfork */
}

bool cycle_run(enum cycle_reason reason)
{
    struct attempt attempt = {reason, false};
    struct cycle_record record;
    if (thread_cache.in_hook || !may_run())
        return false;
    uint32_t before = relaxed_load(&cycle.finished);
    uint64_t signals = block_signals();
    thread_cache.in_hook = 1;
    lock_acquire(&cycle.lock);
    bool other = reason != CYCLE_EXIT && relaxed_load(&cycle.finished) != before;
    if (!other && may_run())
        call_on_stack(run, &attempt, cycle.stack_top);
    record = cycle.record;
    lock_release(&cycle.lock);
    if (attempt.done && cycle.settings.finished != NULL)
        cycle.settings.finished(&record);
    thread_cache.in_hook = 0;
    restore_signals(signals);
    return attempt.done || other;
}

void cycle_on_pressure(size_t upcoming)
{
    (void)upcoming;
    /* Nothing is there yet that could be worth a cycle: one large block is about to come. */
    if (heap_used() >= cycle.settings.min_heap)
        cycle_run(CYCLE_GROWTH);
}

void cycle_on_stress(void)
{
    cycle_run(CYCLE_STRESS);
}

/* A program that lives at its limit must not spend its life collecting: cycles for want of memory
 * take at most one part in MEMORY_SHARE of the time. */
static bool memory_cycle_allowed(void)
{
    uint64_t now = clock_now_ns(), next = relaxed_load(&cycle.next_memory_cycle);
    return now >= next;
}

bool cycle_on_exhausted(size_t size)
{
    if (size > arena.end - arena.base || !memory_cycle_allowed())
        return false;
    uint64_t begun = clock_now_ns();
    bool done = cycle_run(CYCLE_MEMORY);
    if (done)
        sweep_for(UINT32_MAX / 2);
    uint64_t ended = clock_now_ns();
    relaxed_store(&cycle.next_memory_cycle, ended + MEMORY_SHARE * (ended - begun));
    return done;
}

const char *cycle_reason_not_run(void)
{
    const char *disabled = relaxed_load(&cycle.disabled);
    return disabled != NULL ? disabled : relaxed_load(&cycle.not_run);
}

void cycle_disable(const char *reason)
{
    relaxed_store(&cycle.disabled, reason);
}

struct cycle_record cycle_last(void)
{
    return cycle.record;
}

void cycle_lock_for_fork(void)
{
    lock_acquire(&cycle.lock);
}

void cycle_unlock_after_fork(void)
{
    lock_release(&cycle.lock);
}

void cycle_after_fork_in_child(void)
{
    lock_reset(&cycle.lock);
    cycle.pid = (int32_t)syscall0(__NR_getpid);
    team_after_fork();
    world_after_fork();
    lock_release(&cycle.lock);
}
