/* runtime.c -- the one list of the order in which things start, and what happens at fork and exit.
 *
 * Start: options, arena, allocator, unwinder, collector. It runs inside the first malloc of the
 * process, which may come from ld.so or from another library's constructor, so nothing here
 * allocates or needs libc to be initialised; the environment is found through ld.so's
 * __libc_stack_end. What needs libc (the key whose destructor ends a thread, the fork handlers) is
 * registered at the end: both calls use static memory of libc for their first entries.
 *
 * Fork: our handlers are registered first of all, so prepare runs last, when the program's handlers
 * are done, and the child's runs first. All locks are taken in the order of LOCKS. */
#include "runtime.h"

#include "api_stats.h"
#include "final_thread.h"
#include "report.h"

#include "cycle/collector.h"
#include "cycle/finalizer.h"
#include "cycle/pacer.h"
#include "cycle/probation.h"
#include "gc/mark.h"
#include "gc/own_stack.h"
#include "gc/own_thread.h"
#include "gc/protected.h"
#include "gc/root_ranges.h"
#include "gc/roots.h"
#include "gc/scan.h"
#include "gc/withheld.h"
#include "gc/world.h"
#include "heap/heap.h"
#include "heap/heap_stats.h"
#include "heap/meta.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"
#include "mutator/alloc.h"
#include "mutator/foreign.h"
#include "mutator/guard.h"
#include "mutator/handler.h"
#include "mutator/pins.h"
#include "mutator/pool.h"
#include "mutator/thread.h"
#include "sys/clock.h"
#include "sys/follow.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/options.h"
#include "sys/print.h"
#include "sys/sandbox.h"
#include "sys/signal.h"
#include "sys/syscall.h"
#include "sys/task.h"
#include "watch/guard_report.h"
#include "watch/history.h"
#include "watch/leak.h"
#include "watch/modules.h"
#include "watch/notice.h"
#include "watch/profile.h"
#include "watch/shakedown.h"
#include "watch/stack_table.h"
#include "watch/trace.h"
#include "watch/unwind.h"

#include <dlfcn.h>
#include <elf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_stack_end;
/* Of this library, from the linker. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));
extern char __bss_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));

static struct {
    bool started, exited;
    bool collects;          /* there is a collector */
    bool have_key;
    pthread_key_t key;      /* its destructor ends a thread's registration */
    const char *no_arena;   /* why there is none */
    int32_t pid;            /* vfork's child has another, and our memory */
} runtime;

/* Rounds of TSD destructors in which the thread keeps its cache; libc does four. */
enum { DESTRUCTOR_ROUNDS = 3 };

static __thread unsigned destructor_round;
static __thread uint32_t stops_before; /* the thread began */

struct environment {
    char *const *envp;
    bool secure;            /* set-user-id: no options from the environment */
};

static struct environment find_environment(void)
{
    uintptr_t *at = __libc_stack_end;
    struct environment e = {(char *const *)(at + 1 + at[0] + 1), false};
    char *const *end = e.envp;
    while (*end != NULL)
        end++;
    for (const Elf64_auxv_t *a = (const void *)(end + 1); a->a_type != AT_NULL; a++)
        if (a->a_type == AT_SECURE)
            e.secure = a->a_un.a_val != 0;
    return e;
}

/* Captures are ten times faster where the unwinder knows the stack's bounds. A thread's are told
 * when it begins; the main thread's stack grows, so its lower bound follows the deepest capture. */
enum { MAIN_STACK_MOST = 64 << 20 };

static __thread uintptr_t told_low;

static void tell_main_stack(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), high = (uintptr_t)__libc_stack_end;
    if (park_self == NULL || park_self->stack_hint != high)
        return;
    if (here >= high || high - here > MAIN_STACK_MOST || (told_low != 0 && told_low <= here))
        return;
    told_low = align_down(here, PAGE_SIZE);
    unwind_set_stack(told_low, high);
}

/* The bounds of this thread's own stack; false if libc does not know. */
static bool thread_stack(uintptr_t *low, uintptr_t *high)
{
    pthread_attr_t attributes;
    void *start;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return false;
    bool known = pthread_attr_getstack(&attributes, &start, &size) == 0;
    pthread_attr_destroy(&attributes);
    *low = (uintptr_t)start;
    *high = (uintptr_t)start + size;
    return known;
}

static uint32_t capture_stack(void)
{
    uintptr_t pcs[STACK_DEPTH];
    if (sandbox_on())
        return 0;
    tell_main_stack();
    unsigned depth = unwind_capture(pcs, STACK_DEPTH);
    return depth == 0 ? 0 : stack_table_intern(pcs, depth, modules_tenants(pcs, depth));
}

/* The table of descriptors is the program's, unless the thread is ours: then nobody meets what is
 * opened for a moment. */
static bool own_files(void)
{
    return own_thread_has((int32_t)syscall0(__NR_gettid));
}

static void on_ended_cycle(const struct cycle_record *record)
{
    history_add_cycle(record, own_files() ? mem_resident() : 0);
}

static void on_finished(const struct cycle_record *record)
{
    if (once(options.gctrace))
        trace_cycle(record);
    pool_turn();
}

static bool wants_stacks(void)
{
    return report_no_stacks() == NULL;
}

static void on_born(uint32_t stack, uint64_t bytes, uint64_t parts)
{
    struct stack_account *account = stack_table_account(stack);
    relaxed_add(&account->allocated_blocks, parts);
    relaxed_add(&account->allocated_bytes, bytes * parts);
}

static void on_died(uint32_t stack, uint64_t bytes, uint64_t parts)
{
    struct stack_account *account = stack_table_account(stack);
    relaxed_add(&account->freed_blocks, parts);
    relaxed_add(&account->freed_bytes, bytes * parts);
}

static void on_judged(const struct block *block, unsigned age, bool indirect, bool reclaimed)
{
    if (reclaimed && block_stack(block) != 0)
        on_died(block_stack(block), block_requested(block), alloc_parts(block));
    leak_note(block, age, indirect, reclaimed);
}

/* The program freed or resized a block that the last mark did not reach. */
static void on_contradiction(const struct block *block)
{
    probation_contradiction(block);
    withheld_free(block);
}

static void on_touched(const struct block *block, const struct withheld_access *access)
{
    if (access->how != TOUCH_FREE) /* which has been counted */
        probation_contradiction(block);
    shakedown_touched(block, access);
}

/* Each of the two wants SIGSEGV, and shakedown has it whole. */
static void start_guard(void)
{
    if (options.guard == 0 || runtime.no_arena != NULL)
        return;
    if (options.mode == MODE_SHAKEDOWN) {
        print_error("guard does not go with mode=shakedown, in which every block has pages of its "
                    "own: no block is guarded");
        return;
    }
    if (!guard_start(guard_report_print)) {
        print_error("guard: there is no memory for the pool: no block is guarded");
        return;
    }
    notice_start();
    handler_watch(guard_on_fault);
    handler_watch_default(true);
    signal_unblock(SIGNAL_BIT(SIGSEGV)); /* as some parents leave it */
}

/* Before a block is taken, with no lock held: .inv.poll of alloc.c. */
static void on_interrupt(void)
{
    collector_on_interrupt();
    final_thread_poll();
}

static void on_stress(void)
{
    final_thread_poll();
    collector_on_stress();
}

static void start_allocator(void)
{
    bool collects = options.mode != MODE_OFF && runtime.no_arena == NULL;
    struct alloc_settings s = {
        .hooks = {.pressure = collects ? collector_on_pressure : NULL,
                  .interrupted = collects ? on_interrupt : NULL,
                  .stress = collects ? on_stress : NULL,
                  .exhausted = collects ? collector_on_exhausted : NULL,
                  .contradiction = on_contradiction,
                  .ended = finalizer_block_ended,
                  .capture = capture_stack,
                  .born = on_born,
                  .died = on_died},
        .sampling = !wants_stacks()                ? ALLOC_SAMPLE_NONE
                    : options.stacks == STACKS_ALL ? ALLOC_SAMPLE_ALL
                                                   : ALLOC_SAMPLE_SOME,
        .sample_bytes = options.sample,
        .stress = collects ? (uint64_t)options.stress : 0,
        .arena = runtime.no_arena == NULL,
        .guard = guard_on() ? (uint64_t)options.guard : 0,
        .whole_pages = options.mode == MODE_SHAKEDOWN,
        .zero_on_free = options.zero_on_free != 0,
        .junk = options.junk != 0,
    };
    alloc_start(&s);
}

/* A quarter of the processors, as Go has it, and at least one. */
static unsigned marking_workers(void)
{
    unsigned quarter = task_processors() / 4;
    if (options.workers != 0)
        return (unsigned)options.workers;
    return quarter == 0 ? 1 : quarter;
}

/* The mprotect back end has SIGSEGV to itself, and opens what is withheld. */
static enum collector_barrier chosen_barrier(void)
{
    enum collector_barrier chosen = (enum collector_barrier)options.barrier;
    if (options.mode != MODE_SHAKEDOWN)
        return chosen;
    if (chosen == BARRIER_MPROTECT)
        print_error("barrier=mprotect does not go with mode=shakedown: the world is stopped for "
                    "whole marks");
    if (chosen == BARRIER_AUTO)
        return BARRIER_UFFD;
    return chosen == BARRIER_MPROTECT ? BARRIER_FULL : chosen;
}

static const char *why_not_collected(void)
{
    if (runtime.no_arena != NULL)
        return runtime.no_arena;
    return collector_reason_not_run();
}

static void reasons(struct report_reasons *why)
{
    why->not_collected = why_not_collected();
    why->not_reclaimed = options.mode == MODE_COLLECT ? cycle_last().interlock : NULL;
}

static void read_terms(struct collector_terms *out)
{
    int64_t limit = (int64_t)once(options.limit), min_heap = (int64_t)options.min_heap;
    out->percent = once(options.percent);
    out->limit = limit;
    out->min_heap = limit != 0 && limit / 2 < min_heap ? limit / 2 : min_heap;
    out->confirm = (unsigned)once(options.confirm);
}

static void start_collector(void)
{
    struct collector_terms terms;
    read_terms(&terms);
    struct pacer_settings pacing = {terms.percent, terms.min_heap, terms.limit};
    struct collector_settings s = {
        .cycle = {.mode = options.mode,
                  .confirm = terms.confirm,
                  .workers = marking_workers(),
                  .stop_timeout_ns = options.stop_ms.ns,
                  .pause_ns = options.pause_us.ns,
                  .limit = terms.limit,
                  .classify = report_records(),
                  .oracle = options.oracle != 0,
                  .judged = report_records() ? on_judged : NULL,
                  .withhold = options.mode == MODE_SHAKEDOWN ? withheld_add : NULL,
                  .set_trigger = alloc_set_trigger},
        .barrier = chosen_barrier(),
        .min_heap = terms.min_heap,
        .ended_cycle = on_ended_cycle,
        .finished = on_finished,
        .begun = report_thread_begun,
        .ended = report_thread_ended,
        .look = report_look,
        .answer = report_answer,
    };
    if (runtime.no_arena != NULL || options.mode == MODE_OFF)
        return;
    mark_set_align((size_t)options.align);
    scan_set_tag_bits((unsigned)options.tag_bits);
    scan_set_guard(pointer_guard());
    pacer_start(&pacing);
    probation_start(options.mode == MODE_SHAKEDOWN ? 0 : (unsigned)options.probation);
    world_set_signal((int)options.signal);
    signal_unblock(SIGNAL_BIT(world_signal())); /* as some parents leave it */
    roots_exclude((uintptr_t)__bss_start, (uintptr_t)_end);
    roots_never_arm((uintptr_t)__ehdr_start, align_up((uintptr_t)_end, PAGE_SIZE));
    if (options.mode == MODE_SHAKEDOWN) {
        notice_start();
        withheld_start(on_touched);
    }
    runtime.collects = collector_start(&s);
    if (!runtime.collects)
        collector_disable("no memory for the collector's own stack");
    world_on_ask(collector_ask);
    finalizer_on_ready(final_thread_wake);
}

static void end_thread(void)
{
    uintptr_t low = park_self == NULL ? 0 : park_self->stack_low;
    if (final_thread_is_here())
        final_thread_ended();
    thread_detach();
    if (low != 0 && world_stops() != stops_before && !sandbox_on())
        world_wipe_stack(low);
}

static void on_thread_end(void *value)
{
    if (destructor_round++ < DESTRUCTOR_ROUNDS && pthread_setspecific(runtime.key, value) == 0)
        return;
    if (park_self != NULL && relaxed_load(&park_self->tid) == runtime.pid)
        final_thread_main_ended(); /* its cache stays: few programs go on without it */
    else
        end_thread();
}

/* A handler that forks on top of one of our slow paths takes no locks (.inv.handler in alloc.c): in
 * parent and child the interrupted call goes on with the lock that it holds. */
static __thread bool fork_in_handler;

static void lock_everything(void)
{
    fork_in_handler = lock_any_held();
    if (fork_in_handler)
        return;
    lock_acquire(thread_registry_lock());
    heap_lock_all();
    lock_acquire(leak_lock());
    lock_acquire(history_lock());
    lock_acquire(options_lock());
    lock_acquire(modules_lock());
    lock_acquire(pool_lock());
    lock_acquire(pins_lock());
    lock_acquire(meta_lock());
    unwind_fork_prepare();
}

static void unlock_in_parent(void)
{
    if (fork_in_handler)
        return;
    unwind_fork_parent();
    lock_release(meta_lock());
    lock_release(pins_lock());
    lock_release(pool_lock());
    lock_release(modules_lock());
    lock_release(options_lock());
    lock_release(history_lock());
    lock_release(leak_lock());
    heap_unlock_all();
    lock_release(thread_registry_lock());
}

static void reset_and_release(struct lock *lock)
{
    lock_reset(lock);
    lock_release(lock);
}

static void unlock_in_child(void)
{
    withheld_after_fork();
    notice_after_fork();
    report_after_fork();
    lock_abandon(profile_lock());
    lock_abandon(api_stats_lock());
    if (fork_in_handler)
        return;
    guard_after_fork();
    runtime.pid = (int32_t)syscall0(__NR_getpid); /* not above: CYCLE may be held for ever */
    unwind_fork_child();
    root_ranges_after_fork();
    reset_and_release(meta_lock());
    reset_and_release(pins_lock());
    reset_and_release(pool_lock());
    reset_and_release(modules_lock());
    reset_and_release(options_lock());
    reset_and_release(history_lock());
    reset_and_release(leak_lock());
    heap_unlock_all_in_child();
    reset_and_release(thread_registry_lock());
    if (runtime.collects && !sandbox_on()) {
        collector_after_fork_in_child();
        report_resume_periodic();
    }
    thread_after_fork();
    final_thread_after_fork();
}

void runtime_start(void)
{
    if (runtime.started)
        return;
    runtime.started = true;
    runtime.pid = (int32_t)syscall0(__NR_getpid);
    clock_start();
    struct environment e = find_environment();
    print_note_stderr();
    options_parse(e.secure ? NULL : e.envp, 2);
    report_init();
    if (!options.follow) {
        follow_stop(e.envp, "libgcmalloc.so");
        follow_stop(e.envp, "libgcmalloc.so.1");
    }
    if (!heap_init(options.arena, options.past_end))
        runtime.no_arena = "there is no address space for the arena (a limit is too small)";
    else if (options.hugepages)
        arena_prefer_huge();
    unwind_init((uintptr_t)__ehdr_start, (uintptr_t)etext);
    start_guard();
    start_allocator();
    start_collector();
    report_start(runtime.collects, reasons);
    runtime.have_key = pthread_key_create(&runtime.key, on_thread_end) == 0;
    pthread_atfork(lock_everything, unlock_in_parent, unlock_in_child);
}

void runtime_begin(void)
{
    if (runtime.have_key) /* pthread_exit of the main thread is noticed; no other end of it */
        pthread_setspecific(runtime.key, &runtime);
    if (runtime.collects)
        report_start_periodic();
}

/* Of signals that waits must not notice. */
static bool may_interrupt(void)
{
    return runtime.collects || (options.report_signal != 0 && runtime.no_arena == NULL);
}

/* Not in vfork's child, whose place would be the parent's. */
bool runtime_main_blocks(void)
{
    if (may_interrupt() && !sandbox_on() && runtime.pid == (int32_t)syscall0(__NR_getpid))
        alloc_attach();
    return park_self != NULL;
}

bool runtime_started(void)
{
    return runtime.started;
}

static void note_thread_stack(uintptr_t here)
{
    uintptr_t low = here, high = here;
    bool known = thread_stack(&low, &high);
    park_self->stack_low = low;
    stops_before = world_stops();
    if (known && wants_stacks())
        unwind_set_stack(low, high);
}

void runtime_thread_begin(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (withheld_on() || handler_watched())
        signal_unblock(SIGNAL_BIT(SIGSEGV)); /* as its attributes may have it */
    /* Without the key the thread's end would go unnoticed: it stays a stranger. */
    if (!runtime.have_key || runtime.no_arena != NULL || !thread_attach(here))
        return;
    if (pthread_setspecific(runtime.key, &runtime) != 0)
        thread_detach();
    else if (!sandbox_on())
        note_thread_stack(here);
}

/* For names and texts, which a thread with 16 KiB of stack has no room for. */
enum { END_STACK = 256 << 10 };

struct end {
    int status; /* to exit with; 0: as the program likes */
};

static void tell_the_end(void *argument, uintptr_t low)
{
    (void)low;
    struct end *end = argument;
    struct report_reasons why;
    sweep_finish();
    reasons(&why);
    report_at_exit(&why);
    end->status = report_exit_status();
}

/* Nothing was ever allocated, or a little that is free again: there is hardly a word to say. */
static bool was_idle(void)
{
    return heap_used() == 0 && cycle_last().number == 0 && strcmp(options.profile, "off") == 0;
}

/* Whoever called exit() may have hardly any stack left. */
static struct end end_on_own_stack(void)
{
    struct end end = {0};
    char *stack = was_idle() ? NULL : mem_map(END_STACK);
    if (stack == NULL) {
        tell_the_end(&end, 0);
        return end;
    }
    call_on_stack(tell_the_end, &end, stack + END_STACK);
    mem_release(stack, END_STACK);
    return end;
}

void runtime_exit(void)
{
    /* In a sandbox not a word: it would take system calls, and a report files. */
    if (runtime.exited || !runtime.started || sandbox_on() || lock_any_held() ||
        !(report_records() || once(options.gctrace)))
        return;
    runtime.exited = true;
    withheld_end(); /* the report reads what leaked */
    /* A process that allocated nothing, or gave all back, is not made to wait: 0.1 ms, a tenth of
     * what /bin/true takes. */
    if (heap_used() != 0)
        collector_run(CYCLE_EXIT);
    struct end end = end_on_own_stack();
    /* Not fflush and _exit: exit() waits for no stream that somebody holds, say to read from it. */
    if (end.status != 0)
        exit(end.status);
}

bool runtime_has_collector(void)
{
    return runtime.collects;
}

bool runtime_collects(void)
{
    return runtime.collects && !collector_is_disabled();
}

bool runtime_options_changed(void)
{
    return collector_change(read_terms);
}

static const char *why_not_reclaimed(const struct cycle_record *last)
{
    if (why_not_collected() != NULL)
        return why_not_collected();
    if (collector_is_inhibited())
        return "the program has disabled the collector";
    if (options.mode != MODE_COLLECT)
        return "mode is not collect";
    return last->interlock != NULL ? last->interlock : probation_reason();
}

struct runtime_trust runtime_trust(void)
{
    struct probation_status status = probation_status();
    struct cycle_record last = cycle_last();
    return (struct runtime_trust){
        .cycles = last.number,
        .reclaimed_blocks = (uint64_t)heap_stats.reclaimed_count,
        .contradictions = status.contradictions,
        .passed = status.passed,
        .needed = status.needed,
        .interlock = why_not_reclaimed(&last),
    };
}

bool runtime_hold_stops(void)
{
    return runtime.started && !sandbox_on() && collector_hold_stops();
}

void runtime_release_stops(bool held)
{
    if (held)
        collector_release_stops();
}

void runtime_retire_collector(void)
{
    if (runtime.started && !sandbox_on() && !lock_any_held())
        collector_retire();
}

void runtime_forbid_thread(void)
{
    if (runtime.collects && !sandbox_on() && !lock_any_held())
        collector_forbid_thread();
}

void runtime_sandbox(bool on)
{
    if (runtime.collects)
        collector_disable(on ? "a filter of system calls (seccomp) is in force" : NULL);
    if (on && runtime.collects) {
        withheld_end(); /* what names a touch needs files */
        runtime_retire_collector();
        world_await_left(); /* with system calls that the filter may not know */
    }
    if (guard_on())
        handler_watch_default(!on);
    sandbox_set(on);
}

void runtime_heap_mapping_begin(void)
{
    protected_change_begin();
}

void runtime_heap_mapping_end(void)
{
    protected_change_end();
}

/* What a vfork child limits is its own, until it makes way for another program. */
static bool may_shrink(void)
{
    return runtime.started && runtime.no_arena == NULL && !sandbox_on() && !lock_any_held() &&
           runtime.pid == (int32_t)syscall0(__NR_getpid);
}

/* Below what is reserved the program can have meant nothing but its own memory: it is left half of
 * the limit at least, as if that had been there at the start (meta.c). A limit above that may have
 * been reckoned from what the process has, reservation included, and is kept as it is. */
void runtime_limit_coming(size_t bytes)
{
    if (may_shrink() && bytes < arena_reserved())
        collector_shrink_arena(bytes / 2);
}

/* The rest of the process is in the way, too. */
void runtime_limit_set(void)
{
    size_t limit = may_shrink() ? mem_address_limit() : SIZE_MAX;
    if (limit == SIZE_MAX)
        return;
    for (bool more = true; more && mem_is_full();)
        more = collector_shrink_arena(size_min(limit, arena_reserved()) / 2);
}

struct modules_seen *runtime_library_closing(void)
{
    return wants_stacks() && !sandbox_on() ? modules_before_unload() : NULL;
}

void runtime_library_closed(struct modules_seen *seen)
{
    unwind_flush();
    modules_after_unload(seen);
}
