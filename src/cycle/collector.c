/* collector.c -- the collector's thread, requests, and waiting.
 *
 * A request is a number: `requested` counts up, and the thread serves all that came until it looks.
 * It sleeps on `bell`, which whoever wants something of it rings after having said what.
 * `finished` is the last number served. So a cycle is under way or due while the two differ, and
 * whoever waits for a number waits for a cycle that began after it asked.
 *
 *   .inv.signals   Signals, other than those that stop the world, are blocked while a program's
 *                  thread collects, helps or waits here: no handler runs on top, or leaves by a
 *                  jump.
 *   .inv.vfork     In a vfork child, which shares our memory but is another process, no cycle runs:
 *                  it could not stop the parent's threads.
 *   .inv.thread    `thread` is started and retired under the CYCLE lock; the thread itself takes
 *                  that lock for each cycle, and never while it waits. Its deputy, if it needs one,
 *                  is started before it and ends after it.
 *
 *   .inv.unseen  When the thread starts it has a copy of the program's first descriptors for some
 *                microseconds (own_thread.c, .inv.files). What another thread closes meanwhile
 *                would stay open: a writer would not see that nobody reads any more. So it is
 *                started while the world stands still.
 *
 * Fork does not wait for a cycle. The child has the parent's heap as it was at that moment, and
 * none of its threads: cycle_after_fork_in_child takes back what was half done. */
#include "cycle/collector.h"

#include "base/atomic.h"
#include "base/check.h"
#include "cycle/pacer.h"
#include "gc/deputy.h"
#include "gc/own_stack.h"
#include "gc/own_thread.h"
#include "gc/rescan.h"
#include "gc/roots.h"
#include "gc/team.h"
#include "gc/world.h"
#include "heap/central.h"
#include "heap/heap_stats.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"
#include "mutator/alloc.h"
#include "mutator/entry.h"
#include "mutator/scavenge.h"
#include "mutator/thread.h"
#include "sys/clock.h"
#include "sys/event.h"
#include "sys/lock.h"
#include "sys/options.h"
#include "sys/print.h"
#include "sys/signal.h"
#include "sys/syscall.h"

#include <limits.h>

enum {
    OWN_STACK = 256 << 10,
    MEMORY_SHARE = 20,
    /* How long an allocating thread helps to mark when the heap has passed its goal. */
    ASSIST_NS = 200000,
    /* A large block that would pass it waits for the cycle's end first, but not for longer than the
     * kernel takes to hand out its pages, and never long: signals are blocked meanwhile, and it may
     * never be written to. */
    WAIT_BYTES_PER_NS = 4,
    LARGE_WAIT_NS = 25000000,
};

/* The thread looks this often for free memory to give back; after so many looks that found none,
 * the rarer. */
#define DECAY_NS ((uint64_t)1000000000)
#define IDLE_NS (10 * DECAY_NS)
#define QUIET_LOOKS 6
/* A stop that brought nothing is tried again after twice as many looks, up to 2^VAIN_MOST. */
#define VAIN_MOST 8
/* For the thread to start in. */
#define START_STOP_NS 20000000
/* For a stop to take blocks out of caches: if it takes longer, it can wait. */
#define SCAVENGE_STOP_NS 20000000
#define UNTIL_SERVED (UINT64_MAX / 2)
/* Between two looks at whether another thread has done with retiring, if its wake-up is missed. */
#define RETIRER_NS 10000000

static struct {
    struct lock lock;
    struct collector_settings settings;
    char *stack_top;            /* of the stack for cycles on the program's threads */
    struct own_thread thread;
    const struct barrier *barrier; /* the thread's, once it has opened it */
    _Atomic bool no_thread;     /* the kernel refused one; or it would be seen */
    int32_t pid;
    bool closed;                /* the exit cycle has run */
    _Atomic uint32_t bell;      /* a futex: the thread waits on it */
    _Atomic uint32_t asked;     /* commands */
    _Atomic uint32_t requested;
    _Atomic uint32_t finished;  /* a futex: the program's threads wait on it */
    _Atomic uint32_t reason;    /* of the request */
    _Atomic bool retiring;
    _Atomic uint32_t retirer;   /* 1: some thread is in collector_retire. A futex */
    _Atomic uint64_t next_memory_cycle; /* not before this time */
    const char *_Atomic not_run; /* why the last attempt failed */
    const char *_Atomic disabled;
    _Atomic int64_t min_heap;
    _Atomic uint32_t inhibited; /* calls of collector_inhibit without collector_enable */
    uint8_t vain;               /* the thread's: stops in a row that brought nothing, */
    uint16_t passes;            /* and looks to be passed over before the next */
} collector = {.lock = LOCK_INIT(CYCLE)};

bool collector_start(const struct collector_settings *settings)
{
    collector.settings = *settings;
    relaxed_store(&collector.min_heap, settings->min_heap);
    collector.pid = (int32_t)syscall0(__NR_getpid);
    char *stack = meta_alloc(OWN_STACK);
    if (stack == NULL || !cycle_start(&settings->cycle))
        return false;
    collector.stack_top = stack + OWN_STACK;
    return true;
}

static bool may_run(void)
{
    if (collector.settings.cycle.mode == MODE_OFF || collector.stack_top == NULL ||
        collector.closed || relaxed_load(&collector.disabled) != NULL)
        return false;
    return collector.pid == (int32_t)syscall0(__NR_getpid); /* .inv.vfork */
}

/* The cycle at exit is the report. */
static bool may_begin(enum cycle_reason reason)
{
    return may_run() && (reason == CYCLE_EXIT || relaxed_load(&collector.inhibited) == 0);
}

/* CYCLE lock held. */
static bool collect(const struct cycle_order *order)
{
    const char *reason = cycle_collect(order);
    relaxed_store(&collector.not_run, reason);
    collector.closed = collector.closed || order->reason == CYCLE_EXIT;
    return reason == NULL;
}

static void tell(const struct cycle_record *record)
{
    if (collector.settings.finished != NULL)
        collector.settings.finished(record);
}

/* ---- the thread ---- */

static const struct barrier *open_barrier(void)
{
    static const struct {
        const struct barrier *barrier;
        enum collector_barrier choice;
        bool by_itself;         /* is it tried when the user leaves the choice to us? */
    } known[] = {{&barrier_uffd, BARRIER_UFFD, true},
                 {&barrier_mprotect, BARRIER_MPROTECT, true},
                 {&barrier_softdirty, BARRIER_SOFTDIRTY, false}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        bool forced = collector.settings.barrier == known[i].choice;
        if (!forced && !(known[i].by_itself && collector.settings.barrier == BARRIER_AUTO))
            continue;
        const char *reason = known[i].barrier->open();
        if (reason == NULL)
            return known[i].barrier;
        if (forced)
            print_error("barrier=%s cannot be used (%s): the world is stopped for whole marks",
                        known[i].barrier->name, reason);
    }
    return NULL;
}

/* What threads have in their caches and do not use, goes to central. */
static bool scavenge_caches(void)
{
    lock_acquire(&collector.lock);
    lock_acquire(thread_registry_lock());
    bool due = may_run() && !park_forbidden() && scavenge_look(); /* .inv.own of park.c */
    bool some = false;
    if (due && collector.passes != 0) {
        collector.passes--;
    } else if (due) {
        if (world_stop(WORLD_RUNNING, SCAVENGE_STOP_NS) == WORLD_STOPPED) {
            some = scavenge_take();
            world_start();
        }
        collector.vain = some ? 0 : (uint8_t)size_min(collector.vain + 1u, VAIN_MOST);
        collector.passes = (uint16_t)((1u << collector.vain) - 1);
    }
    lock_release(thread_registry_lock());
    lock_release(&collector.lock);
    scavenge_give();
    return some;
}

/* From the program's side inwards: what one level gives back, the next has to give. False: there
 * was nothing, and nothing is waiting for its time. */
static bool give_back(void)
{
    bool some = scavenge_caches();
    some |= central_scavenge() != 0;
    size_t bytes = central_discard_pages(PAGE_HEAP_DECAY_SECONDS);
    some |= bytes != 0 || page_heap_stats().dirty_slabs != 0;
    bytes += page_heap_decay(PAGE_HEAP_DECAY_SECONDS);
    if (bytes != 0)
        event_note(EVENT_DECAY, bytes, 0);
    return some;
}

static bool has_work(uint32_t served)
{
    return relaxed_load(&collector.requested) != served || relaxed_load(&collector.retiring) ||
           relaxed_load(&collector.asked) != 0;
}

static void wait_for_request(uint32_t served)
{
    unsigned quiet = 0; /* looks for memory in a row that found none */
    uint64_t until_look = DECAY_NS;
    for (;;) {
        uint32_t bell = acquire_load(&collector.bell);
        if (has_work(served))
            return;
        uint64_t wish = collector.settings.look != NULL ? collector.settings.look() : UINT64_MAX;
        uint64_t ns = wish < until_look ? wish : until_look;
        if (futex_wait_for(&collector.bell, bell, ns))
            continue;
        until_look -= ns;
        if (until_look != 0)
            continue;
        quiet = give_back() ? 0 : quiet + 1;
        until_look = quiet > QUIET_LOOKS ? IDLE_NS : DECAY_NS;
    }
}

static void serve(struct roots_files *files)
{
    struct cycle_order order = {relaxed_load(&collector.reason), collector.barrier, files, 0};
    struct cycle_record record;
    uint32_t serving = acquire_load(&collector.requested);
    lock_acquire(&collector.lock);
    bool done = may_begin(order.reason) && collect(&order);
    record = cycle_last();
    lock_release(&collector.lock);
    if (done && collector.settings.ended_cycle != NULL)
        collector.settings.ended_cycle(&record);
    release_store(&collector.finished, serving);
    futex_wake(&collector.finished, INT_MAX);
    if (!done)
        return;
    tell(&record);
    sweep_for(UINT32_MAX / 2);
    if (order.barrier != NULL)
        rescan_relax(order.barrier);
}

/* Wakes the thread. */
static void ring(void)
{
    atomic_fetch_add(&collector.bell, 1);
    futex_wake(&collector.bell, 1);
}

static uint32_t request(enum cycle_reason reason)
{
    relaxed_store(&collector.reason, reason);
    uint32_t number = atomic_fetch_add(&collector.requested, 1) + 1;
    ring();
    return number;
}

static void thread_main(void *data)
{
    (void)data;
    bool own_files = collector.thread.own_files;
    if (own_files)
        print_borrow_stderr();
    struct roots_files files;
    bool opened = own_files && roots_open(&files) == NULL;
    collector.barrier = opened ? open_barrier() : NULL;
    lock_acquire(&collector.lock);
    team_hire(collector.settings.cycle.workers);
    lock_release(&collector.lock);
    if (own_files && collector.settings.begun != NULL)
        collector.settings.begun();
    signal_unblock(SIGNAL_BIT(world_signal())); /* who asks need not disturb the program */
    while (!relaxed_load(&collector.retiring)) {
        uint32_t asked = atomic_exchange(&collector.asked, 0);
        if ((asked & ~(uint32_t)COLLECTOR_ASK_ATTEND) != 0)
            request(CYCLE_REQUEST);
        if (relaxed_load(&collector.requested) != relaxed_load(&collector.finished))
            serve(opened ? &files : NULL);
        if (asked != 0 && own_files && collector.settings.answer != NULL)
            collector.settings.answer(asked);
        wait_for_request(relaxed_load(&collector.finished));
    }
    signal_block(SIGNAL_ALL);
    if (own_files && collector.settings.ended != NULL)
        collector.settings.ended();
    lock_acquire(&collector.lock);
    team_dismiss();
    lock_release(&collector.lock);
    if (collector.barrier != NULL)
        collector.barrier->close();
    if (opened)
        roots_close(&files);
    collector.barrier = NULL;
}

/* ---- the program's threads ---- */

static uint64_t block_signals(void)
{
    uint64_t blocked = signal_block(~world_signals());
    thread_cache.in_hook = 1;
    return blocked;
}

static void restore_signals(uint64_t blocked)
{
    thread_cache.in_hook = 0;
    signal_unblock(blocked);
}

static bool under_way(void)
{
    return relaxed_load(&collector.requested) != relaxed_load(&collector.finished);
}

/* On a thread of the program's, whose descriptors the deputy shares. Without one it may be that
 * nothing is judged (queues.c). */
static void start_thread(void)
{
    if (deputy_is_needed())
        deputy_hire();
    if (own_thread_start(&collector.thread, "gcmalloc", true, thread_main, NULL))
        return;
    deputy_dismiss();
    relaxed_store(&collector.no_thread, true);
}

/* The others stand still meanwhile: .inv.unseen. False: not now. */
static bool start_unseen(void)
{
    if (!own_thread_prepare(&collector.thread) || !deputy_prepare()) {
        relaxed_store(&collector.no_thread, true);
        return true;
    }
    if (!lock_try(thread_registry_lock()))
        return false;
    enum world_result result = world_stop(WORLD_RUNNING, START_STOP_NS);
    if (result != WORLD_LATE)
        start_thread();
    if (result == WORLD_STOPPED)
        world_start();
    lock_release(thread_registry_lock());
    return result != WORLD_LATE;
}

/* CYCLE lock held. The thread is there, or could be made. */
static bool make_thread(void)
{
    if (acquire_load(&collector.thread.tid) != 0)
        return true;
    bool may_make = !relaxed_load(&collector.no_thread) && !relaxed_load(&collector.retiring);
    return may_make && start_unseen() && !relaxed_load(&collector.no_thread);
}

static bool have_thread(void)
{
    if (acquire_load(&collector.thread.tid) != 0)
        return true;
    lock_acquire(&collector.lock);
    bool made = make_thread();
    lock_release(&collector.lock);
    return made;
}

/* Signals blocked. False: not now. */
static bool try_make_thread(void)
{
    if (!lock_try(&collector.lock))
        return false;
    bool settled = make_thread() || relaxed_load(&collector.no_thread);
    lock_release(&collector.lock);
    return settled;
}

/* Where none of our locks is held a handler may start it, unless somebody is just at it. Else the
 * next thread that comes to allocate does. */
void collector_ask(uint32_t commands)
{
    atomic_fetch_or(&collector.asked, commands);
    ring();
    if (acquire_load(&collector.thread.tid) != 0 || !may_run())
        return;
    if (lock_any_held() || thread_cache.in_hook || !try_make_thread())
        alloc_interrupt();
}

void collector_ask_later(uint32_t commands)
{
    atomic_fetch_or(&collector.asked, commands);
    alloc_interrupt();
}

void collector_on_interrupt(void)
{
    if (relaxed_load(&collector.asked) == 0 || acquire_load(&collector.thread.tid) != 0 ||
        !may_run())
        return;
    uint64_t signals = block_signals();
    if (!try_make_thread())
        alloc_interrupt();
    restore_signals(signals);
}

void collector_hold_cycles(void)
{
    lock_acquire(&collector.lock);
}

void collector_release_cycles(void)
{
    lock_release(&collector.lock);
}

/* The lock: none is on its way. */
void collector_forbid_thread(void)
{
    bool there = acquire_load(&collector.thread.tid) != 0 &&
                 acquire_load(&collector.thread.settled) != 0;
    uint64_t signals = block_signals();
    if (!there)
        lock_acquire(&collector.lock);
    relaxed_store(&collector.no_thread, true);
    if (!there)
        lock_release(&collector.lock);
    restore_signals(signals);
}

/* Small enough to be marked within a pause's budget, as far as we know. */
static bool fits_one_stop(void)
{
    return pacer_mark_time(heap_used()) <= collector.settings.cycle.pause_ns;
}

/* Does a thread of our own collect? */
static bool in_background(enum cycle_reason reason)
{
    if (reason == CYCLE_EXIT || collector.settings.barrier == BARRIER_FULL)
        return false;
    if (collector.settings.barrier == BARRIER_AUTO && fits_one_stop())
        return false;
    return have_thread();
}

/* Until `number` has been served, or `ns` nanoseconds have passed. What the program's thread still
 * needs lies above its stub. */
static void wait_for(uint32_t number, uint64_t ns)
{
    uint64_t begun = clock_now_ns(), waited = 0;
    park_begin(entry_stack);
    cycle_note_waiting(1);
    for (uint32_t f; (int32_t)((f = acquire_load(&collector.finished)) - number) < 0;) {
        bool there = have_thread();
        if (waited >= ns || (!there && relaxed_load(&collector.no_thread)))
            break; /* or: it was retired, and cannot be made anew */
        futex_wait_for(&collector.finished, f, there ? ns - waited : RETIRER_NS);
        waited = clock_now_ns() - begun;
    }
    cycle_note_waiting(-1);
    park_end();
}

struct attempt {
    enum cycle_reason reason;
    bool done;
};

static void run_here(void *argument, uintptr_t low)
{
    struct attempt *a = argument;
    struct cycle_order order = {a->reason, NULL, NULL, size_max(low, entry_stack)};
    a->done = collect(&order);
}

/* In one stop, on this thread. A cycle that another one runs meanwhile will do, but not at exit:
 * that one waits for nobody. */
static bool run_inline(enum cycle_reason reason)
{
    struct attempt attempt = {reason, false};
    uint32_t before = cycle_last().number;
    if (reason == CYCLE_EXIT)
        cycle_abort(true);
    lock_acquire(&collector.lock);
    cycle_abort(false);
    bool other = reason != CYCLE_EXIT && reason != CYCLE_REQUEST && cycle_last().number != before;
    if (reason != CYCLE_EXIT && !fits_one_stop())
        team_hire(collector.settings.cycle.workers);
    if (!other && may_begin(reason))
        call_on_stack(run_here, &attempt, collector.stack_top);
    struct cycle_record record = cycle_last();
    lock_release(&collector.lock);
    if (attempt.done && collector.settings.ended_cycle != NULL)
        collector.settings.ended_cycle(&record);
    if (attempt.done)
        tell(&record);
    if (relaxed_load(&collector.asked) != 0 && may_run()) /* who did found the lock taken */
        have_thread();
    return attempt.done || other;
}

bool collector_run(enum cycle_reason reason)
{
    if (thread_cache.in_hook || !may_begin(reason))
        return false;
    bool done;
    uint64_t signals = block_signals();
    if (in_background(reason)) {
        wait_for(request(reason), UNTIL_SERVED);
        done = relaxed_load(&collector.not_run) == NULL;
    } else {
        done = run_inline(reason);
    }
    restore_signals(signals);
    return done;
}

/* Nobody else opens a sweep while the lock is held. */
static void finish_sweep(void)
{
    uint64_t signals = block_signals();
    lock_acquire(&collector.lock);
    sweep_finish();
    lock_release(&collector.lock);
    restore_signals(signals);
}

bool collector_run_to_end(void)
{
    if (lock_any_held())
        return false;
    uint32_t before = cycle_last().number;
    if (!collector_run(CYCLE_REQUEST) || cycle_last().number == before)
        return false;
    finish_sweep();
    return true;
}

bool collector_ask_and_wait(uint32_t commands, _Atomic uint32_t *done)
{
    if (thread_cache.in_hook || lock_any_held() || !may_run())
        return false;
    uint64_t signals = block_signals();
    bool there = have_thread() && collector.thread.own_files;
    if (there)
        collector_ask(commands);
    park_begin(entry_stack);
    while (there && acquire_load(done) != 1) {
        futex_wait_for(done, 0, RETIRER_NS);
        there = have_thread() && collector.thread.own_files;
    }
    park_end();
    restore_signals(signals);
    return acquire_load(done) == 1;
}

bool collector_change(void (*read)(struct collector_terms *out))
{
    struct collector_terms terms;
    if (lock_any_held() || collector.stack_top == NULL ||
        collector.pid != (int32_t)syscall0(__NR_getpid))
        return false;
    uint64_t signals = block_signals();
    lock_acquire(&collector.lock);
    read(&terms);
    relaxed_store(&collector.min_heap, terms.min_heap);
    cycle_change(&(struct pacer_settings){terms.percent, terms.min_heap, terms.limit},
                 terms.confirm);
    lock_release(&collector.lock);
    restore_signals(signals);
    return true;
}

void collector_inhibit(void)
{
    atomic_fetch_add(&collector.inhibited, 1);
}

void collector_enable(void)
{
    uint32_t now = relaxed_load(&collector.inhibited);
    while (now != 0 && !atomic_compare_exchange_weak(&collector.inhibited, &now, now - 1))
        continue;
}

bool collector_is_inhibited(void)
{
    return relaxed_load(&collector.inhibited) != 0;
}

struct inspection {
    void (*look)(const struct roots_request *all, void *data);
    void *data;
    uintptr_t low;
    bool done;
};

static void inspect_here(void *argument, uintptr_t low)
{
    struct inspection *i = argument;
    struct cycle_order order = {CYCLE_REQUEST, NULL, NULL, size_max(low, i->low)};
    i->done = cycle_inspect(&order, i->look, i->data) == NULL;
}

bool collector_inspect(void (*look)(const struct roots_request *all, void *data), void *data,
                       uintptr_t low)
{
    struct inspection i = {look, data, low, false};
    if (thread_cache.in_hook || lock_any_held() || !may_run())
        return false;
    uint64_t signals = block_signals();
    lock_acquire(&collector.lock);
    if (may_run())
        call_on_stack(inspect_here, &i, collector.stack_top);
    lock_release(&collector.lock);
    restore_signals(signals);
    return i.done;
}

/* The heap has come near its goal or has passed it, and the cycle that was to end before that has
 * not. */
static void keep_pace(size_t upcoming)
{
    uint64_t large_ns = size_min(upcoming / WAIT_BYTES_PER_NS, LARGE_WAIT_NS);
    if (heap_net() > cycle_hard_goal())
        wait_for(relaxed_load(&collector.requested), UNTIL_SERVED);
    else if (large_ns > ASSIST_NS && upcoming <= arena_size() &&
             heap_net() + (int64_t)upcoming > cycle_goal())
        wait_for(relaxed_load(&collector.requested), large_ns);
    else
        team_assist(ASSIST_NS);
}

void collector_on_pressure(size_t upcoming)
{
    /* Nothing is there yet that could be worth a cycle: one large block is about to come. */
    if (heap_used() < relaxed_load(&collector.min_heap) || !may_begin(CYCLE_GROWTH))
        return;
    uint64_t signals = block_signals();
    bool due = !under_way() && !cycle_is_resting();
    if (due)
        event_note(EVENT_TRIGGER, (uint64_t)heap_net(), (uint64_t)cycle_goal());
    if (due && in_background(CYCLE_GROWTH))
        request(CYCLE_GROWTH);
    else if (due)
        run_inline(CYCLE_GROWTH);
    if (under_way())
        keep_pace(upcoming);
    restore_signals(signals);
}

/* The next one is asked for; the one before must have ended, so that they keep the pace. */
void collector_on_stress(void)
{
    if (!may_begin(CYCLE_STRESS))
        return;
    uint64_t signals = block_signals();
    if (in_background(CYCLE_STRESS)) {
        wait_for(relaxed_load(&collector.requested), UNTIL_SERVED);
        request(CYCLE_STRESS);
    } else {
        run_inline(CYCLE_STRESS);
    }
    restore_signals(signals);
}

/* A program that lives at its limit must not spend its life collecting: cycles for want of memory
 * take at most one part in MEMORY_SHARE of the time. */
static bool memory_cycle_allowed(void)
{
    uint64_t now = clock_now_ns(), next = relaxed_load(&collector.next_memory_cycle);
    return now >= next;
}

bool collector_on_exhausted(size_t size)
{
    if (size > arena_size() || !memory_cycle_allowed())
        return false;
    uint64_t begun = clock_now_ns();
    event_note(EVENT_EXHAUSTED, size, 0);
    bool done = collector_run(CYCLE_MEMORY);
    if (done)
        sweep_for(UINT32_MAX / 2);
    uint64_t ended = clock_now_ns();
    relaxed_store(&collector.next_memory_cycle, ended + MEMORY_SHARE * (ended - begun));
    return done;
}

const char *collector_reason_not_run(void)
{
    const char *disabled = relaxed_load(&collector.disabled);
    return disabled != NULL ? disabled : relaxed_load(&collector.not_run);
}

bool collector_is_disabled(void)
{
    return relaxed_load(&collector.disabled) != NULL;
}

void collector_disable(const char *reason)
{
    relaxed_store(&collector.disabled, reason);
}

/* From `retiring` on no thread is started; one whose start is under way is there once the lock can
 * be had. It may have left by itself since: what tells is whether it was joined. */
static void retire(void)
{
    relaxed_store(&collector.retiring, true);
    if (acquire_load(&collector.thread.tid) != 0)
        cycle_abort(true);
    lock_acquire(&collector.lock);
    if (collector.thread.id == 0)
        team_dismiss(); /* hired for marks in one stop */
    lock_release(&collector.lock);
    request(CYCLE_GROWTH); /* wakes it; whoever waits is let go below */
    own_thread_join(&collector.thread);
    deputy_dismiss();
    cycle_abort(false);
    relaxed_store(&collector.retiring, false);
    release_store(&collector.finished, relaxed_load(&collector.requested));
    futex_wake(&collector.finished, INT_MAX);
    if (relaxed_load(&collector.asked) != 0) /* too late for the thread that is gone */
        alloc_interrupt();
}

/* One thread after the other: what the first has ended may be there again. */
void collector_retire(void)
{
    if (collector.pid != (int32_t)syscall0(__NR_getpid))
        return;
    uint64_t signals = block_signals();
    while (atomic_exchange(&collector.retirer, 1) != 0)
        futex_wait_for(&collector.retirer, 1, RETIRER_NS);
    retire();
    atomic_store(&collector.retirer, 0);
    futex_wake(&collector.retirer, 1);
    restore_signals(signals);
}

/* .inv.registry in cycle.c; .inv.shared in deputy.c */
bool collector_hold_stops(void)
{
    if (lock_any_held() || collector.pid != (int32_t)syscall0(__NR_getpid))
        return false;
    if (deputy_is_there())
        collector_retire();
    lock_acquire(thread_registry_lock());
    return true;
}

void collector_release_stops(void)
{
    lock_release(thread_registry_lock());
}

/* CYCLE: nobody marks, or looks at what is reserved. Where there is no collector nobody ever does,
 * and fork's child would not have that lock back. The other two: nobody takes of what is reserved;
 * and a fork, which takes them, copies all or nothing of this. */
bool collector_shrink_arena(size_t most)
{
    bool marks = collector.stack_top != NULL;
    uint64_t signals = block_signals();
    if (marks) {
        cycle_abort(true);
        lock_acquire(&collector.lock);
        cycle_abort(false);
    }
    lock_acquire(page_heap_lock());
    lock_acquire(meta_lock());
    bool shrunk = arena_shrink(most);
    if (shrunk)
        team_divide();
    lock_release(meta_lock());
    lock_release(page_heap_lock());
    if (marks)
        lock_release(&collector.lock);
    restore_signals(signals);
    return shrunk;
}

void collector_after_fork_in_child(void)
{
    lock_abandon(&collector.lock);
    collector.pid = (int32_t)syscall0(__NR_getpid);
    relaxed_store(&collector.finished, relaxed_load(&collector.requested));
    relaxed_store(&collector.asked, 0);
    relaxed_store(&collector.retiring, false);
    relaxed_store(&collector.retirer, 0);
    if (collector.barrier != NULL && collector.barrier->after_fork != NULL)
        collector.barrier->after_fork();
    collector.barrier = NULL;
    own_thread_after_fork();
    cycle_after_fork_in_child();
}
