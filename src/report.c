/* report.c -- what is told of the process, where to, and when.
 *
 * The leak report is for people, and names functions; the profile is for the gcmalloc command; the
 * shared page is for those who look at the process from outside. All are written from the same
 * accounts (watch/): at exit by the thread that ends the process, before that by the collector's,
 * which has descriptors of its own.
 *
 *   .inv.last   What is written at exit is the last, and whole: nothing else writes meanwhile to
 *               what may be the same file, or afterwards.
 *   .inv.records   Whether stacks and leaks are recorded is decided once, at the start: where
 *                  nothing was to be told then, nothing can be told later.
 *   .inv.asked     What the program asks for (report_to) is one request at a time: who has `taken`
 *                  it writes the rest, asks, and waits for `done`. The collector's thread writes
 *                  `error` and then `done` (release). */
#include "report.h"

#include "base/atomic.h"
#include "cycle/collector.h"
#include "cycle/probation.h"
#include "gc/withheld.h"
#include "gc/world.h"
#include "sys/clock.h"
#include "sys/event.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/options.h"
#include "sys/print.h"
#include "sys/sandbox.h"
#include "sys/signal.h"
#include "watch/destination.h"
#include "watch/history.h"
#include "watch/leak.h"
#include "watch/metrics_file.h"
#include "watch/profile.h"
#include "watch/shared_page.h"
#include "watch/suppress.h"
#include "watch/symbol.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* So often the page is renewed while somebody watches. */
enum { WATCHED_NS = 250000000 };
/* Between two looks at whether another thread has done with asking, if its wake-up is missed. */
enum { ASKED_NS = 10000000 };

static bool records; /* .inv.records */

static bool wants(const char *destination)
{
    return options.mode != MODE_OFF && strcmp(destination, "off") != 0;
}

void report_init(void)
{
    records = wants(options.report) || wants(options.profile) ||
              (options.exitcode != 0 && options.mode != MODE_OFF);
}

bool report_records(void)
{
    return records;
}

const char *report_no_stacks(void)
{
    if (options.stacks == STACKS_NONE)
        return "stacks=none";
    if (records || options.mode == MODE_SHAKEDOWN)
        return NULL;
    return "report=off, and no profile was asked for at the start; report=/dev/null has them "
           "recorded";
}

static struct {
    struct lock lock;   /* .inv.last */
    bool ended;         /* the last report is being written, or has been */
    struct symbol_time naming; /* for the present report, or the last one */
    bool collects;      /* there is a collector */
    void (*ask_reasons)(struct report_reasons *out);
    /* The collector's thread's; times in ns since the start. */
    uint64_t next;         /* periodic report */
    uint64_t next_metrics;
    bool own_files;        /* it is there, with descriptors of its own */
} running = {.lock = LOCK_INIT(REPORT)};

/* C++ names are readable if libstdc++ is loaded. */
static void find_demangler(void)
{
    union {
        void *address;
        symbol_demangler *call;
    } found = {.address = dlsym(RTLD_DEFAULT, "__cxa_demangle")};
    if (found.address != NULL)
        symbol_set_demangler(found.call, free);
}

/* REPORT lock held, and the last report not begun, or this one. */
static void start_naming(void)
{
    running.naming = symbol_time_start(options.symbolize_seconds.ns);
}

static void write_report(const char *to, const char *not_collected,
                         const struct cycle_record *last, bool ends)
{
    struct leak_summary summary = {
        .destination = to,
        .not_collected = not_collected,
        .reachable_blocks = last->marked_blocks,
        .reachable_bytes = last->marked_bytes,
        .interlock = options.mode == MODE_COLLECT ? last->interlock : NULL,
        .contradictions = probation_status().contradictions,
        .written = probation_status().written,
        .withheld = withheld_counts().blocks,
        .touched = withheld_counts().touched,
        .max_groups = (unsigned)once(options.max_leaks),
        .naming = &running.naming,
        .no_stacks = report_no_stacks(),
    };
    if (leak_any() && ends) /* it allocates */
        find_demangler();
    leak_report_write(&summary);
}

static bool write_profile_to(int fd, enum profile_reason reason, const struct report_reasons *why)
{
    const char *notes[3] = {NULL};
    size_t count = 0;
    if (why->not_collected != NULL)
        notes[count++] = why->not_collected;
    if (why->not_reclaimed != NULL)
        notes[count++] = why->not_reclaimed;
    return profile_write(fd, reason, notes, report_no_stacks());
}

static bool write_profile(const char *path, enum profile_reason reason,
                          const struct report_reasons *why)
{
    struct destination to = destination_open(path, "the profile", false);
    bool whole = to.fd >= 0 && write_profile_to(to.fd, reason, why);
    if (to.fd >= 0 && !whole)
        print_error("the profile could not be written whole to '%s'", path);
    destination_close(to);
    return whole;
}

/* Where the options send them. */
static void write_both(enum profile_reason reason, const struct report_reasons *why,
                       const struct cycle_record *last)
{
    char to[OPTION_PATH_MAX];
    options_text(options.report, to);
    if (wants(to))
        write_report(to, why->not_collected, last, reason == PROFILE_EXIT);
    options_text(options.profile, to);
    if (wants(to)) {
        history_add_moment(mem_resident());
        write_profile(to, reason, why);
    }
}

static void read_suppressions(void)
{
    char path[OPTION_PATH_MAX];
    options_text(options.suppressions, path);
    suppress_start(path);
}

void report_at_exit(const struct report_reasons *why)
{
    read_suppressions();
    struct cycle_record last = cycle_last();
    lock_acquire(&running.lock);
    running.ended = true;
    start_naming();
    print_be_patient();
    leak_end_present();
    write_both(PROFILE_EXIT, why, &last);
    lock_release(&running.lock);
}

int report_exit_status(void)
{
    int status = (int)once(options.exitcode);
    return status != 0 && leak_any_unsuppressed(&running.naming) ? status : 0;
}

/* ---- while the program runs: the collector's thread ---- */

static struct report_reasons reasons(void)
{
    struct report_reasons why;
    running.ask_reasons(&why);
    return why;
}

static void renew_page(uint64_t resident)
{
    struct report_reasons why = reasons();
    shared_page_renew(why.not_collected, why.not_reclaimed, resident);
}

static void count_leaks(void)
{
    collector_hold_cycles();
    leak_count_present();
    collector_release_cycles();
}

static void write_now(enum profile_reason reason)
{
    read_suppressions();
    struct report_reasons why = reasons();
    struct cycle_record last = cycle_last();
    lock_acquire(&running.lock);
    if (!running.ended) {
        start_naming();
        count_leaks();
        write_both(reason, &why, &last);
    }
    lock_release(&running.lock);
}

/* ---- what the program asks for ---- */

static struct {
    _Atomic uint32_t taken; /* a futex; .inv.asked */
    char path[OPTION_PATH_MAX];
    bool profile;
    int error;
    _Atomic uint32_t done;  /* 0 while it waits for the answer. A futex */
} asked = {.done = 1};

/* The report falls back to standard error, the profile does not: here neither does. */
static int write_asked(void)
{
    struct report_reasons why = reasons();
    struct cycle_record last = cycle_last();
    struct destination there = {.fd = -1};
    if (strcmp(asked.path, "stderr") != 0) {
        there = destination_open(asked.path, "what the program asked for", false);
        if (there.fd < 0)
            return EIO;
    }
    destination_close(there);
    start_naming();
    read_suppressions();
    count_leaks();
    if (asked.profile)
        return write_profile(asked.path, PROFILE_REQUEST, &why) ? 0 : EIO;
    write_report(asked.path, why.not_collected, &last, false);
    return 0;
}

static void answer_program(void)
{
    lock_acquire(&running.lock);
    asked.error = running.ended ? EAGAIN : write_asked();
    lock_release(&running.lock);
    release_store(&asked.done, 1);
    futex_wake(&asked.done, INT_MAX);
}

int report_to(const char *path, bool profile)
{
    if (strlen(path) >= OPTION_PATH_MAX || *path == 0)
        return EINVAL;
    while (atomic_exchange(&asked.taken, 1) != 0)
        futex_wait_for(&asked.taken, 1, ASKED_NS);
    memcpy(asked.path, path, strlen(path) + 1);
    asked.profile = profile;
    release_store(&asked.done, 0);
    bool done = collector_ask_and_wait(COLLECTOR_ASK_FILE, &asked.done);
    int error = done ? asked.error : EAGAIN;
    relaxed_store(&asked.done, 1);
    atomic_store(&asked.taken, 0);
    futex_wake(&asked.taken, 1);
    return error;
}

static int write_snapshot(void)
{
    struct report_reasons why = reasons();
    int fd = shared_page_new_snapshot();
    count_leaks();
    if (fd >= 0 && write_profile_to(fd, PROFILE_REQUEST, &why))
        return fd;
    shared_page_drop_snapshot(fd);
    return -1;
}

void report_thread_begun(void)
{
    running.own_files = true;
    shared_page_open(world_signal());
    renew_page(mem_resident());
}

void report_thread_ended(void)
{
    running.own_files = false;
    shared_page_close();
    report_resume_periodic();
}

static uint64_t until_periodic(void)
{
    uint64_t now = clock_uptime_ns();
    if (options.report_every.ns == 0)
        return UINT64_MAX;
    if (now < running.next)
        return running.next - now;
    if (running.next != 0)
        collector_ask(COLLECTOR_ASK_PERIODIC);
    running.next = now + options.report_every.ns;
    return running.next - now;
}

/* The page has just been renewed. */
static uint64_t until_metrics(void)
{
    uint64_t now = clock_uptime_ns();
    if (!running.own_files || !metrics_file_wanted())
        return UINT64_MAX;
    if (now >= running.next_metrics) {
        metrics_file_write(shared_page_shown());
        running.next_metrics = now + options.metrics_every.ns;
    }
    return running.next_metrics - now;
}

uint64_t report_look(void)
{
    uint64_t resident = mem_resident();
    history_add_moment(resident);
    renew_page(resident);
    uint64_t periodic = until_periodic(), metrics = until_metrics();
    uint64_t wish = periodic < metrics ? periodic : metrics;
    return shared_page_watched() && wish > WATCHED_NS ? WATCHED_NS : wish;
}

void report_answer(uint32_t commands)
{
    event_note(EVENT_REQUEST, commands, 0);
    int snapshot = (commands & COLLECTOR_ASK_SNAPSHOT) != 0 ? write_snapshot() : -1;
    if ((commands & COLLECTOR_ASK_FILE) != 0 && acquire_load(&asked.done) == 0)
        answer_program();
    if ((commands & (COLLECTOR_ASK_REPORT | COLLECTOR_ASK_PERIODIC)) != 0)
        write_now((commands & COLLECTOR_ASK_REPORT) != 0 ? PROFILE_SIGNAL : PROFILE_PERIODIC);
    shared_page_answer(commands, snapshot);
    renew_page(mem_resident());
}

/* Whoever sends the signal expects a word, and that the process lives on. */
static void say_no_report(void)
{
    const char *why = reasons().not_collected;
    print_error("report_signal: there is no report: %s",
                why != NULL ? why : "with mode=off nothing is recorded");
}

static void on_report_signal(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    if (sandbox_on())
        return;
    world_excuse(context);
    if (running.collects)
        collector_ask(COLLECTOR_ASK_REPORT);
    else
        say_no_report();
}

/* Those of the library and of libc, and those that faults send: whoever comes back from their
 * handler meets the fault again. */
static uint64_t reserved_signals(void)
{
    return world_signals() | SIGNAL_BIT(32) | SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) |
           SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGABRT) |
           SIGNAL_BIT(SIGSYS);
}

/* While it runs others are blocked, also libc's own: it may hold a lock, and must not be left by a
 * jump or a cancellation, nor a fork come on top of it. But never SIGSEGV and SIGSYS (signal.h). */
static bool install_report_signal(int signal)
{
    uint64_t mask = SIGNAL_ALL & ~(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGSYS));
    return !(reserved_signals() & SIGNAL_BIT(signal)) &&
           signal_install(signal, SA_RESTART, mask, on_report_signal) == 0;
}

/* Wishes that would be forgotten without a word. */
static void say_idle(void)
{
    const char *every = options.report_every.ns != 0 ? " report_every" : "";
    const char *metrics = strcmp(options.metrics, "off") != 0 ? " metrics" : "";
    if (every[0] != 0 || metrics[0] != 0)
        print_error("mode=off: there is no collector, and nothing is done for%s%s", every, metrics);
}

void report_start(bool collects, void (*ask_reasons)(struct report_reasons *out))
{
    running.collects = collects;
    running.ask_reasons = ask_reasons;
    if (options.mode == MODE_OFF)
        say_idle();
    metrics_file_start();
    if (options.report_signal != 0 && !install_report_signal((int)options.report_signal))
        print_error("report_signal=%ld: no handler can be set for it", options.report_signal);
}

/* What is done again and again takes the thread. */
static bool wants_thread(void)
{
    return options.report_every.ns != 0 || metrics_file_wanted();
}

void report_start_periodic(void)
{
    if (wants_thread())
        collector_ask(COLLECTOR_ASK_ATTEND);
}

/* A child that only makes way for another program is not given a thread. */
void report_resume_periodic(void)
{
    if (wants_thread())
        collector_ask_later(COLLECTOR_ASK_ATTEND);
}

void report_after_fork(void)
{
    lock_abandon(&running.lock);
    relaxed_store(&asked.taken, 0);
    relaxed_store(&asked.done, 1);
    running.own_files = false;
    running.next_metrics = 0; /* a file of its own, soon */
    metrics_file_after_fork();
}
