/* cycle.c -- the phases of a collection.
 *
 *   phase    what holds                                            left for
 *   IDLE     no mark is under way; a sweep may be open             ARM
 *   ARM      the last sweep is finished; the heap is being armed   MARK, FINAL, IDLE (given up)
 *   MARK     hot.epoch has advanced, `window` is 1; roots are      RESCAN, IDLE (given up)
 *            armed and read, the graph is marked
 *   RESCAN   what was written meanwhile is read again              FINAL, IDLE (given up)
 *   FINAL    the world is stopped (or being stopped)               SWEEP, RESCAN (not in time),
 *                                                                  IDLE (given up)
 *   SWEEP    all reachable blocks carry hot.epoch; the judge's     IDLE
 *            terms are being set
 *
 * Theory: a mostly parallel mark (Boehm, Demers and Shenker 1991). The program runs while it is
 * marked; the barrier tells which pages it writes; these are read again, until so few are left that
 * the rest can be done while the world stands still. A pause that would take longer than its budget
 * is broken off: the program goes on, and so does the mark. Without a barrier, or with a heap so
 * small that it fits the budget, all is done in one stop (ARM, FINAL, SWEEP).
 *
 *   .inv.all_or_none   If roots could not all be read, or the mark was given up, nothing is judged:
 *                      `unfinished` is set, and the next cycle begins by taking every live block as
 *                      reached. Until then `window` stays 1, for blocks may carry the epoch before.
 *   .inv.registry      The REGISTRY lock is taken before the stop, since a stopped thread might
 *                      hold it; and WATCHES before one in which all is marked and decided. No other
 *                      lock is taken while the world is stopped.
 *   .inv.window        `window` is set before the epoch advances, and cleared while the world is
 *                      stopped: a free() never sees a new epoch with an old window.
 *
 * One writer of the phase: who holds the CYCLE lock (collector.c). */
#include "cycle/cycle.h"

#include "base/atomic.h"
#include "base/check.h"
#include "cycle/finalizer.h"
#include "cycle/pacer.h"
#include "cycle/probation.h"
#include "gc/armed.h"
#include "gc/kernel_roots.h"
#include "gc/leak_graph.h"
#include "gc/map_gate.h"
#include "gc/oracle.h"
#include "gc/queues.h"
#include "gc/rescan.h"
#include "gc/roots.h"
#include "gc/team.h"
#include "gc/touched.h"
#include "gc/withheld.h"
#include "gc/world.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"
#include "mutator/thread.h"
#include "sys/cgroup.h"
#include "sys/clock.h"
#include "sys/event.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/options.h"
#include "sys/print.h"
#include "sys/syscall.h"

enum {
    /* Rounds of RESCAN before the world is stopped, and stops before one is not broken off. */
    ROUNDS_MOST = 6,
    STOPS_MOST = 12,
    /* The same when rounds take as long as the program took to write what they read: more of them
     * would not help. */
    STUCK_MOST = 3,
    /* A last stop that would take longer than this can wait for the program to become calmer:
     * PATIENCE times as long as the mark has taken by then. Most of the time nothing is read. */
    LONG_STOP_NS = 5000000,
    PATIENCE = 4,
    NAP_SHARE = 3,
    NAP_NS = 10000000,
    /* Attempts to stop the world for the barrier's end, of stop_ms at most, and what is between. */
    END_TRIES = 20,
    END_PAUSE_NS = 1000000,
    /* Pages that can be read in a pause of 500 us, ~2 us each, besides all else. */
    PAGES_PER_PAUSE_US = 4,
    /* Between two looks at whether the barrier still holds. */
    LOOK_NS = 2000000,
    /* Of the control group's limit. */
    LIMIT_PERCENT = 90,
};

static struct {
    struct cycle_settings settings;
    _Atomic uint8_t phase;
    struct cycle_record record;
    struct roots_stats roots;
    bool unfinished;             /* .inv.all_or_none */
    bool watches;                /* for writes to what the last mark has not reached */
    uint64_t look_ns;            /* to ask the barrier about the whole heap, of this cycle; 0: not
                                  * known yet */
    uint64_t looked;             /* when the last look at it began; at first: when it was armed */
    uint64_t reading_ns;         /* what it took, with all that was written read again */
    uint64_t mark_begun, patient_until;
    _Atomic bool aborted;
    _Atomic int64_t goal, hard_goal; /* of the pacer's plan */
    _Atomic uint64_t not_before;
    _Atomic int waiting;         /* threads of the program, for the end */
} cycle;

#define TO(phase) (1u << CYCLE_##phase##_PHASE)
static const uint8_t leads_to[] = {
    [CYCLE_IDLE_PHASE] = TO(ARM),
    [CYCLE_ARM_PHASE] = TO(MARK) | TO(FINAL) | TO(IDLE),
    [CYCLE_MARK_PHASE] = TO(RESCAN) | TO(IDLE),
    [CYCLE_RESCAN_PHASE] = TO(FINAL) | TO(IDLE),
    [CYCLE_FINAL_PHASE] = TO(SWEEP) | TO(RESCAN) | TO(IDLE),
    [CYCLE_SWEEP_PHASE] = TO(IDLE),
};

static void enter(enum cycle_phase to)
{
    GC_CHECK(leads_to[relaxed_load(&cycle.phase)] & (1u << to));
    relaxed_store(&cycle.phase, (uint8_t)to);
    event_note(EVENT_PHASE, to, cycle.record.number);
}

bool cycle_is_resting(void)
{
    uint64_t until = relaxed_load(&cycle.not_before);
    return until != 0 && clock_now_ns() < until;
}

void cycle_note_waiting(int change)
{
    relaxed_add(&cycle.waiting, change);
}

int64_t cycle_goal(void)
{
    return relaxed_load(&cycle.goal);
}

int64_t cycle_hard_goal(void)
{
    return relaxed_load(&cycle.hard_goal);
}

enum cycle_phase cycle_phase(void)
{
    return relaxed_load(&cycle.phase);
}

/* The judge asks of each block that is due. At exit none is reclaimed: they are the report. */
static bool on_judged(const struct block *block, unsigned age)
{
    bool at_exit = cycle.record.reason == CYCLE_EXIT;
    if (cycle.settings.withhold != NULL && !at_exit) {
        cycle.settings.withhold(block);
        return false;
    }
    bool reclaim = !at_exit && !probation_is_pinned(block);
    if (cycle.settings.judged != NULL && (reclaim || at_exit))
        cycle.settings.judged(block, age, leak_graph_is_indirect(block->start), reclaim);
    return reclaim;
}

static void on_reclaimed(const struct block *block)
{
    finalizer_block_reclaimed(block->start);
}

static void set_plan(struct pacer_plan plan)
{
    relaxed_store(&cycle.not_before, plan.rest == 0 ? 0 : clock_now_ns() + plan.rest);
    relaxed_store(&cycle.goal, plan.goal);
    relaxed_store(&cycle.hard_goal, plan.hard);
    cycle.settings.set_trigger(plan.trigger);
}

bool cycle_start(const struct cycle_settings *settings)
{
    cycle.settings = *settings;
    set_plan(pacer_first());
    return team_init();
}

void cycle_abort(bool abort)
{
    relaxed_store(&cycle.aborted, abort);
    if (abort)
        team_abort();
}

static void take_as_reached(const struct block *block, uint8_t byte, void *data)
{
    (void)data;
    atomic_compare_exchange_strong(slot_of(block->start), &byte, relaxed_load(&hot.epoch));
}

/* .inv.all_or_none. The program runs: by compare-and-swap. */
static void take_all_as_reached(void)
{
    struct unreached what = {relaxed_load(&hot.epoch), EPOCH_FIRST};
    for (uint32_t i = 0; i < relaxed_load(&arena.top); i++) {
        struct slab *slab = slab_at(i);
        if (slab_kind(slab) >= SLAB_CLASSED && slab->head == i)
            judge_visit(slab, what, take_as_reached, NULL);
    }
    cycle.unfinished = false;
}

/* ---- stops ---- */

/* `too`: a lock that is needed in the stop as well, or NULL. Who has stopped the world releases it.
 * */
static const char *stop_world(enum world_who who, struct lock *too)
{
    lock_acquire(thread_registry_lock());
    if (too != NULL)
        lock_acquire(too);
    enum world_result stopped = world_stop(who, cycle.settings.stop_timeout_ns);
    if (stopped == WORLD_STOPPED)
        return NULL;
    if (too != NULL)
        lock_release(too);
    lock_release(thread_registry_lock());
    return stopped == WORLD_LATE ? "a thread did not stop in time"
                                 : "/proc/self/task cannot be read";
}

static void resume_world(void)
{
    world_start();
    lock_release(thread_registry_lock());
}

static void note_pause(uint64_t begun)
{
    struct cycle_record *r = &cycle.record;
    uint64_t took = clock_now_ns() - begun;
    r->pauses++;
    r->paused += took;
    r->pause = took > r->pause ? took : r->pause;
    event_note(EVENT_STOP, took, r->number);
}

static const char *begin_barrier(const struct barrier *barrier)
{
    uint64_t begun = clock_now_ns();
    const char *reason = barrier->stops ? stop_world(WORLD_EVERYBODY, NULL) : NULL;
    if (reason != NULL)
        return reason;
    if (barrier->begin != NULL)
        reason = barrier->begin();
    if (!barrier->stops)
        return reason;
    resume_world();
    note_pause(begun);
    return reason;
}

/* A task that is not stopped for the end may have a caught call behind it, and die of its signal.
 * So it is tried again, beside a program that nothing holds up any more. */
static bool stop_for_end(uint64_t *begun)
{
    _Atomic uint32_t nothing = 0;
    for (int i = 0; i < END_TRIES; i++) {
        *begun = clock_now_ns();
        if (stop_world(WORLD_EVERYBODY, NULL) == NULL)
            return true;
        futex_wait_for(&nothing, 0, END_PAUSE_NS);
    }
    return false;
}

/* If the world cannot be stopped at all, the barrier must come down all the same. */
static void end_barrier(const struct barrier *barrier)
{
    if (barrier->disarm != NULL)
        barrier->disarm();
    uint64_t begun = clock_now_ns();
    bool stopped = barrier->stops && stop_for_end(&begun);
    if (barrier->end != NULL)
        barrier->end();
    if (!stopped)
        return;
    resume_world();
    note_pause(begun);
}

/* ---- marking ---- */

static void begin_epoch(void)
{
    queues_end();
    kernel_roots_end(); /* of a mark that was given up: all is read anew */
    /* The last verdict is void: epochs come round to its own if many marks in a row fail. */
    release_store(&judge.epoch, 0);
    relaxed_store(&hot.window, 1); /* .inv.window */
    release_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    if (cycle.settings.oracle && !oracle_begin())
        print_error("oracle=1 needs memory, and a build with checks");
}

static struct roots_request roots_of(enum roots_pass pass, const struct cycle_order *order)
{
    return (struct roots_request){.pass = pass,
                                  .files = order->files,
                                  .barrier = order->barrier,
                                  .self = {(int32_t)syscall0(__NR_gettid), order->low}};
}

static const char *scan_roots(enum roots_pass pass, const struct cycle_order *order)
{
    struct roots_request request = roots_of(pass, order);
    return roots_scan(team_leader(), &request, &cycle.roots);
}

/* ---- what is attached to blocks ---- */

static bool may_reclaim(void)
{
    return probation_passed() && cycle.roots.interlock == NULL;
}

static struct finalizer_terms finalizer_terms(void)
{
    bool may_call = cycle.settings.mode == MODE_COLLECT && may_reclaim();
    return (struct finalizer_terms){cycle.settings.confirm, may_call};
}

/* What is to be read, and is not marked, is found by nobody if a list could not take it. */
static bool hold_contents(void)
{
    if (!team_drain(0))
        return false;
    if (!team_dropped())
        return true;
    finalizer_hold_all(team_leader());
    return team_drain(0);
}

/* The mark has ended, and nothing is swept yet. False: given up; nobody can be judged then. At exit
 * nothing is called, and all that is not reachable is a leak. */
static bool settle_finalizers(bool stopped)
{
    struct finalizer_terms terms = finalizer_terms();
    if (cycle.record.reason == CYCLE_EXIT)
        return true;
    finalizer_sift(stopped);
    if (finalizer_hold(team_leader(), &terms) && !hold_contents())
        return false;
    if (finalizer_keep(team_leader(), &terms) && !team_drain(0))
        return false;
    if (finalizer_decide(team_leader(), &terms) && !team_drain(0))
        return false;
    finalizer_decide_last(&terms);
    return true;
}

/* Beside the program, for whose weak references the gate is closed. What was not reached must not
 * look so when it opens, if it is not known what becomes of it. */
static const char *settle_beside(void)
{
    bool settled = settle_finalizers(false);
    if (!settled)
        take_all_as_reached();
    finalizer_open();
    return settled ? NULL : "given up";
}

/* What the sweep finds is what the program leaked. World stopped or not. */
static void judge_mark(const struct cycle_order *order)
{
    struct cycle_record *r = &cycle.record;
    bool at_exit = r->reason == CYCLE_EXIT, asked = r->reason == CYCLE_REQUEST;
    struct team_totals marked = team_totals();
    struct leak_counts counts = leak_graph_count(at_exit ? 1 : cycle.settings.confirm, at_exit);
    r->marked_blocks = marked.marked_blocks;
    r->marked_bytes = marked.marked_bytes;
    r->unreached_blocks = counts.blocks;
    r->unreached_bytes = counts.bytes;
    r->due_blocks = counts.due_blocks;
    r->due_bytes = counts.due_bytes;
    if ((r->interlock == NULL) != (cycle.roots.interlock == NULL))
        event_note(EVENT_INTERLOCK, cycle.roots.interlock != NULL, 0);
    r->interlock = cycle.roots.interlock;
    r->reclaiming = cycle.settings.mode >= MODE_COLLECT && may_reclaim();
    bool tells = at_exit || (r->reclaiming && cycle.settings.withhold == NULL);
    if (cycle.settings.classify && (asked ? counts.blocks != 0 : tells && counts.due_blocks != 0))
        leak_graph_build(&team_leader()->work, &order->files->pagemap);
}

/* From the store of the epoch on mutators sweep by these terms. */
static void set_terms(void)
{
    bool at_exit = cycle.record.reason == CYCLE_EXIT;
    judge.reclaim = at_exit || cycle.record.reclaiming;
    judge.confirm = at_exit ? 1 : cycle.settings.confirm;
    judge.least = at_exit ? SLOT_KEPT : EPOCH_FIRST;
    bool registered = registration_top() != 0;
    bool told = at_exit || cycle.settings.judged != NULL || cycle.settings.withhold != NULL ||
                probation_has_pins() || registered;
    judge.reclaiming = told ? on_judged : NULL;
    judge.reclaimed = registered ? on_reclaimed : NULL;
    release_store(&judge.epoch, relaxed_load(&hot.epoch));
    sweep_begin(); /* last: who takes a slab from the sweep's cursor judges it by that epoch */
}

/* The world is stopped and everything reachable is marked. */
static void end_mark(const struct cycle_order *order)
{
    struct cycle_record *r = &cycle.record;
    r->heap_marked = heap_used();
    r->stack_bytes = cycle.roots.stack_bytes;
    withheld_mark_ended();
    relaxed_store(&hot.window, 0);
    judge_end_newborn();
    if (cycle.settings.oracle) {
        struct roots_request request = roots_of(ROOTS_ALL, order);
        oracle_check(&request);
    }
    enter(CYCLE_SWEEP_PHASE);
}

static const char *mark_all(const struct cycle_order *order)
{
    judge_forget_newborn();
    begin_epoch();
    team_start(cycle.settings.workers, &order->files->pagemap);
    const char *reason = scan_roots(ROOTS_ALL, order);
    finalizer_queued(team_leader(), true);
    team_drain(0);
    cycle.record.root_bytes = cycle.roots.other_bytes;
    cycle.unfinished = reason != NULL;
    if (reason != NULL)
        return reason;
    end_mark(order);
    GC_CHECK(settle_finalizers(true) && "nobody runs who could give it up");
    judge_mark(order);
    return NULL;
}

static const char *open_and_mark_all(const struct cycle_order *order)
{
    struct roots_files files;
    struct cycle_order opened = *order;
    if (order->files != NULL)
        return mark_all(order);
    const char *reason = roots_open(&files);
    if (reason != NULL)
        return reason;
    opened.files = &files;
    reason = mark_all(&opened);
    roots_close(&files);
    return reason;
}

/* All in one stop. */
static const char *mark_in_one_stop(const struct cycle_order *order)
{
    uint64_t begun = clock_now_ns();
    const char *reason = stop_world(WORLD_RUNNING, registration_lock());
    if (reason != NULL)
        return reason;
    cycle.record.stopping = clock_now_ns() - begun;
    enter(CYCLE_FINAL_PHASE);
    reason = open_and_mark_all(order);
    lock_release(registration_lock()); /* before the sweep is open, whose locks come first */
    if (reason == NULL)
        set_terms();
    resume_world();
    note_pause(begun);
    return reason;
}

/* With the world stopped: false if it did not end before the deadline. The first time stacks come
 * first: if there is no time to mark what hangs from them, that is done beside the program. */
static bool look_again(const struct cycle_order *order, bool first, uint64_t deadline,
                       const char **reason)
{
    bool complete;
    judge_forget_newborn();
    struct roots_request request = roots_of(ROOTS_FINAL, order);
    *reason = roots_scan_queues(team_leader(), &request);
    if (*reason != NULL)
        return false;
    if (first)
        *reason = scan_roots(ROOTS_FINAL, order);
    if (*reason != NULL)
        return false;
    rescan_heap(order->barrier, team_leader(), false, deadline, &complete);
    if (!complete)
        return false;
    if (!first)
        *reason = scan_roots(ROOTS_FINAL, order);
    return team_drain(deadline) && *reason == NULL;
}

/* Asking which pages were written takes its time even if none was, 0.2 ms a GiB: no number of tries
 * makes that shorter. What is bounded is the rest. */
static uint64_t pause_budget(void)
{
    uint64_t budget = cycle.settings.pause_ns, least = cycle.look_ns + budget / 2;
    return least > budget ? least : budget;
}

/* A back end that stops the world, every thread of it, for its end, and cannot do most of that
 * before. */
static bool ends_in_pause(const struct barrier *barrier)
{
    return barrier->stops && barrier->disarm == NULL;
}

/* An interlock knows already that pointers cannot be seen, and why. */
static void end_watched_mark(const struct cycle_order *order)
{
    end_mark(order);
    if (cycle.roots.interlock == NULL)
        touched_end(probation_written);
    finalizer_close();
}

/* One stop. True: the mark has ended. */
static bool stop_and_finish(const struct cycle_order *order, unsigned stops, bool last,
                            const char **reason)
{
    uint64_t begun = clock_now_ns();
    bool ends_here = ends_in_pause(order->barrier);
    *reason = stop_world(ends_here ? WORLD_EVERYBODY : WORLD_RUNNING, NULL);
    if (*reason != NULL)
        return false;
    enter(CYCLE_FINAL_PHASE);
    /* Stopping many threads may take all of the budget. */
    uint64_t budget = pause_budget(), least = clock_now_ns() + budget / 2;
    uint64_t deadline = last ? 0 : begun + budget > least ? begun + budget : least;
    bool done = look_again(order, stops == 1, deadline, reason);
    if (done)
        end_watched_mark(order);
    else if (*reason == NULL)
        enter(CYCLE_RESCAN_PHASE);
    if (done && ends_here)
        order->barrier->end();
    resume_world();
    note_pause(begun);
    return done;
}

static bool gives_up(const struct barrier *barrier)
{
    return relaxed_load(&cycle.aborted) || (barrier->lost != NULL && barrier->lost());
}

/* While the program runs, and as many of its threads help as have passed the goal. */
static bool drain(const struct barrier *barrier)
{
    bool done = false;
    team_open_guests();
    while (!done && !gives_up(barrier))
        done = team_drain(barrier->lost == NULL ? 0 : clock_now_ns() + LOOK_NS);
    team_close_guests();
    return done && !gives_up(barrier);
}

/* Two looks, and some pages: half of the shortest time it took is about one look. */
static size_t look_and_rearm(const struct cycle_order *order)
{
    bool complete;
    uint64_t begun = clock_now_ns();
    size_t pages = rescan_heap(order->barrier, team_leader(), true, 0, &complete);
    uint64_t look = (clock_now_ns() - begun) / 2;
    if (cycle.look_ns == 0 || look < cycle.look_ns)
        cycle.look_ns = look;
    return pages;
}

static bool rescan_roots(const struct cycle_order *order, const char **reason)
{
    *reason = scan_roots(ROOTS_CONCURRENT, order);
    return *reason == NULL && drain(order->barrier);
}

/* Rounds of RESCAN, until few pages are left. False: aborted or failed. *stuck: rounds, of all the
 * cycle, that took nearly as long as the program had taken to write what they read: more of them
 * would not help. */
static bool rescan(const struct cycle_order *order, unsigned *stuck, const char **reason)
{
    size_t enough = cycle.settings.pause_ns / 1000 / PAGES_PER_PAUSE_US;
    for (unsigned round = 0; round < ROUNDS_MOST; round++) {
        uint64_t begun = clock_now_ns(), since = begun - cycle.looked;
        cycle.looked = begun;
        size_t pages = look_and_rearm(order);
        *reason = scan_roots(ROOTS_CONCURRENT, order);
        uint64_t took = cycle.reading_ns = clock_now_ns() - begun;
        if (*reason != NULL || !drain(order->barrier))
            return false;
        if (pages + cycle.roots.written_pages <= enough)
            break;
        if (took / 3 >= since / 4) {
            ++*stuck;
            break;
        }
    }
    return true;
}

/* Nobody minds if the cycle takes longer. */
static bool has_time(void)
{
    return relaxed_load(&cycle.waiting) == 0 && heap_net() < cycle_goal();
}

static void nap(const struct barrier *barrier)
{
    static _Atomic uint32_t nobody;
    uint64_t until = clock_now_ns() + NAP_SHARE * cycle.reading_ns;
    while (clock_now_ns() < until && has_time() && !gives_up(barrier))
        futex_wait_for(&nobody, 0, NAP_NS);
}

/* The program writes as fast as we read, and so much that the last stop would be long. Such a time
 * passes, mostly: a program builds its data, and then it uses them. If it does not pass, but the
 * program allocates, it comes to its goal and is held up there. If it does neither, nothing is lost
 * by waiting, but for those who wait for this cycle. True: it is worth another round. */
static bool wait_for_calm(const struct cycle_order *order)
{
    uint64_t now = clock_now_ns();
    enum cycle_reason reason = cycle.record.reason;
    if (cycle.reading_ns < LONG_STOP_NS || order->barrier->stops || !has_time() ||
        (reason != CYCLE_GROWTH && reason != CYCLE_STRESS))
        return false;
    if (cycle.patient_until == 0)
        cycle.patient_until = now + PATIENCE * (now - cycle.mark_begun);
    if (now >= cycle.patient_until)
        return false;
    nap(order->barrier);
    return true;
}

/* Most of the heap has not been reached: it hangs from the stacks. Rounds would look at little. */
static bool stacks_hold_most(void)
{
    return (int64_t)team_totals().marked_bytes < cycle.record.heap_before / 2;
}

static const char *finish_mark(const struct cycle_order *order)
{
    const char *reason = NULL;
    unsigned stuck = 0;
    for (unsigned stops = 1;; stops++) {
        bool at_once = stops == 1 && stacks_hold_most();
        bool goes_on = at_once ? rescan_roots(order, &reason) : rescan(order, &stuck, &reason);
        while (goes_on && stuck >= STUCK_MOST && wait_for_calm(order)) {
            stuck = STUCK_MOST - 1;
            goes_on = rescan(order, &stuck, &reason);
        }
        if (!goes_on)
            return reason != NULL ? reason : "given up";
        bool last = stops >= STOPS_MOST || stuck >= STUCK_MOST;
        if (stop_and_finish(order, stops, last, &reason))
            return NULL;
        if (reason != NULL)
            return reason;
    }
}

static void arm_heap(const struct cycle_order *order)
{
    uintptr_t end = rescan_arm(order->barrier);
    touched_off();
    if (cycle.watches)
        touched_begin(order->barrier, &order->files->pagemap, end);
}

static const char *mark_concurrently(const struct cycle_order *order)
{
    const struct barrier *barrier = order->barrier;
    const char *reason = begin_barrier(barrier);
    if (reason != NULL)
        return reason;
    armed_clear();
    cycle.looked = cycle.mark_begun = clock_now_ns();
    cycle.patient_until = 0;
    arm_heap(order); /* before the epoch: rescan.c, .inv.armed_first */
    cycle.unfinished = true;
    cycle.look_ns = 0;
    begin_epoch();
    team_start(cycle.settings.workers, &order->files->pagemap);
    enter(CYCLE_MARK_PHASE);
    reason = scan_roots(ROOTS_CONCURRENT, order);
    finalizer_queued(team_leader(), false);
    cycle.record.root_bytes = cycle.roots.other_bytes;
    if (reason == NULL && drain(barrier)) {
        enter(CYCLE_RESCAN_PHASE);
        reason = finish_mark(order);
        if (reason == NULL)
            reason = settle_beside();
    } else if (reason == NULL) {
        reason = "given up";
    }
    cycle.unfinished = reason != NULL;
    if (cycle.unfinished || !ends_in_pause(barrier)) /* else it came down in the last stop */
        end_barrier(barrier);
    return reason;
}

/* ---- the whole ---- */

static struct cycle_record new_record(enum cycle_reason reason)
{
    struct cycle_record *last = &cycle.record;
    return (struct cycle_record){.number = last->number,
                                 .reason = reason,
                                 .total = last->total,
                                 .begun = clock_uptime_ns(),
                                 .heap_before = heap_used(),
                                 .net_before = heap_net(),
                                 .interlock = last->interlock};
}

/* Bytes until the limit that the user or the control group has set. */
static int64_t memory_room(const struct cycle_order *order)
{
    if (cycle.settings.limit == 0) /* its files are for a thread with descriptors of its own */
        return order->files != NULL ? cgroup_room(LIMIT_PERCENT) : INT64_MAX;
    struct page_heap_stats pages = page_heap_stats();
    uint64_t slabs = pages.top_slabs - pages.free_slabs + pages.dirty_slabs;
    return cycle.settings.limit - (int64_t)((slabs << SLAB_SHIFT) + meta_used());
}

/* Without files of its own: the control group's limit is asked for by the next cycle. */
void cycle_change(const struct pacer_settings *pacing, unsigned confirm)
{
    struct cycle_order order = {0};
    GC_ASSERT(lock_held(LOCK_CYCLE));
    cycle.settings.limit = pacing->limit;
    cycle.settings.confirm = confirm;
    pacer_change(pacing);
    set_plan(pacer_again(memory_room(&order)));
}

static void finish(const struct cycle_order *order)
{
    struct cycle_record *r = &cycle.record;
    bool frees = r->reclaiming && cycle.settings.mode == MODE_COLLECT;
    uint64_t reclaimed = frees ? r->due_bytes : 0;
    r->live = (int64_t)r->marked_bytes + (int64_t)(r->unreached_bytes - reclaimed);
    /* What waits to be confirmed, or for the end of probation, must not buy the heap room to
     * grow: a leaking program would double three times before the first block comes back. What
     * will never be reclaimed must, or each cycle's findings would bring the next one closer. */
    bool will_reclaim = cycle.settings.mode == MODE_COLLECT && probation_reason() == NULL;
    struct pacer_input in = {
        .live = will_reclaim ? (int64_t)r->marked_bytes : r->live,
        .roots = (int64_t)(r->stack_bytes + r->root_bytes),
        .found = (int64_t)r->unreached_bytes,
        .marked = (int64_t)r->marked_bytes,
        .before = r->net_before,
        .now = heap_net(),
        .returned = heap_returned(),
        .room = memory_room(order),
        .took = r->took,
    };
    struct pacer_plan plan = pacer_next(&in);
    r->goal = r->live + plan.growth;
    set_plan(plan);
    probation_note_cycle(r->due_blocks);
    r->trust = probation_status();
}

/* Beside the running program. If the barrier does not hold, the mark begins anew, in one stop. */
static const char *mark_beside(const struct cycle_order *order)
{
    struct cycle_order in_one_stop = *order;
    const char *reason = mark_concurrently(order);
    if (reason == NULL) {
        probation_tell();
        judge_mark(order);
        set_terms();
        return NULL;
    }
    if (relaxed_load(&cycle.aborted))
        return reason;
    in_one_stop.barrier = NULL;
    enter(CYCLE_IDLE_PHASE);
    enter(CYCLE_ARM_PHASE);
    if (cycle.unfinished)
        take_all_as_reached();
    return mark_in_one_stop(&in_one_stop);
}

static const char *mark(const struct cycle_order *order)
{
    const char *reason = roots_prepare();
    if (reason == NULL)
        reason = order->barrier != NULL ? mark_beside(order) : mark_in_one_stop(order);
    kernel_roots_end();
    queues_end();
    team_end();
    return reason;
}

const char *cycle_collect(const struct cycle_order *order)
{
    struct cycle_record *r = &cycle.record;
    GC_ASSERT(lock_held(LOCK_CYCLE));
    uint64_t begun = clock_now_ns();
    enter(CYCLE_ARM_PHASE);
    sweep_finish();
    leak_graph_drop();
    if (cycle.unfinished)
        take_all_as_reached();
    cycle.watches = r->unreached_blocks != 0 && r->interlock == NULL &&
                    cycle.settings.withhold == NULL;
    *r = new_record(order->reason);
    cycle.settings.set_trigger(relaxed_load(&cycle.goal));
    const char *reason = mark(order);
    r->took = clock_now_ns() - begun;
    r->total += r->took;
    if (reason != NULL) {
        set_plan(pacer_retry(heap_net(), heap_used()));
        event_note(EVENT_FAILED, r->number + 1, 0);
    } else {
        r->number++;
        finish(order);
        event_note(EVENT_CYCLE, r->number, (uint64_t)r->live);
    }
    enter(CYCLE_IDLE_PHASE);
    return reason;
}

const char *cycle_inspect(const struct cycle_order *order,
                          void (*look)(const struct roots_request *all, void *data), void *data)
{
    struct roots_files files;
    struct cycle_order opened = *order;
    sweep_finish();
    const char *reason = roots_prepare();
    if (reason == NULL)
        reason = stop_world(WORLD_RUNNING, NULL);
    if (reason != NULL)
        return reason;
    reason = roots_open(&files);
    if (reason == NULL) {
        opened.files = &files;
        struct roots_request all = roots_of(ROOTS_ALL, &opened);
        look(&all, data);
        roots_close(&files);
    }
    resume_world();
    return reason;
}

struct cycle_record cycle_last(void)
{
    return cycle.record;
}

void cycle_after_fork_in_child(void)
{
    relaxed_store(&cycle.phase, CYCLE_IDLE_PHASE);
    relaxed_store(&cycle.aborted, false);
    relaxed_store(&cycle.waiting, 0);
    kernel_roots_end();
    queues_end();
    finalizer_open();
    finalizer_after_fork();
    /* Whoever marked or judged is not here to finish it. */
    cycle.unfinished = relaxed_load(&judge.epoch) != relaxed_load(&hot.epoch);
    set_plan(pacer_retry(heap_net(), heap_used()));
    leak_graph_drop();
    armed_clear();
    map_gate_after_fork();
    mem_moves_after_fork();
    team_after_fork();
    world_after_fork();
}
