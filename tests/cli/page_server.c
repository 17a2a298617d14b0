/* page_server.c -- a process that shows a page as the library does, with figures that are known.
 *
 *   page_server LIBRARY MODE     LIBRARY is mapped, so that /proc/PID/maps names it
 *
 * For the cases that the real library cannot be brought to: a page of another version, a longer
 * table of totals, a process that is asked and does not answer, or ends just then. It serves for a
 * minute at most, and ends with its standard input.
 *
 *   plain     the page is there from the start, and is renewed while it is watched
 *   late      the thread and its page come when the process is asked to attend
 *   longer    the table of totals has two rows more than ours
 *   version   the page is of version 9
 *   torn      the page is being written for ever
 *   stranger  the page is of another process
 *   deaf      requests are never answered
 *   ends      the process ends when it is asked for anything
 *   failed    profiles cannot be written
 *   cut       profiles lack their last line
 *   uncaught  the signal has no handler */
#include "watch/stats_page.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { LIFE_SECONDS = 60, TICK_MS = 20, EXTRA = 2 * sizeof(uint64_t) };

#define MIB ((uint64_t)1 << 20)
#define MS ((uint64_t)1000000)

static const char *mode;
static _Atomic unsigned asked;
static struct stats_page page;
static int page_fd;
static uint64_t started;

static bool is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static uint64_t now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void put(size_t at, const void *from, size_t size)
{
    if (pwrite(page_fd, from, size, (off_t)at) != (ssize_t)size)
        _exit(3);
}

/* Everything but the word that readers write. */
static void publish(void)
{
    const char *bytes = (const char *)&page;
    size_t shift = is("longer") ? EXTRA : 0;
    size_t answers = offsetof(struct stats_page, collects_done);
    size_t behind = offsetof(struct stats_page, not_collected);
    uint32_t sequence = page.sequence | 1;
    put(offsetof(struct stats_page, sequence), &sequence, sizeof(sequence));
    put(0, bytes, offsetof(struct stats_page, watched_until_unix_ns));
    put(answers, bytes + answers, behind - answers);
    put(behind + shift, bytes + behind, sizeof(page) - behind);
    if (is("torn"))
        return;
    page.sequence = sequence + 1;
    put(offsetof(struct stats_page, sequence), (const void *)&page.sequence, sizeof(sequence));
}

/* As deep as it looks in a debugger: the addresses are of these functions. */
static void fill_site(struct stats_site *site, uint64_t blocks, void (*leaker)(void))
{
    site->blocks = blocks;
    site->bytes = blocks * 48;
    site->reclaimed_blocks = blocks / 2;
    site->reclaimed_bytes = site->reclaimed_blocks * 48;
    site->stack = (uint32_t)blocks;
    site->block_size = 48;
    site->depth = 2;
    site->frames[0] = (uint64_t)(uintptr_t)leaker + 4;
    site->frames[1] = (uint64_t)(uintptr_t)publish + 4;
}

static void leaker_of_much(void)
{
    asked |= STATS_ATTEND;
}

static void leaker_of_little(void)
{
    asked |= STATS_COLLECT;
}

static void fill_totals(void)
{
    page.totals = (struct totals){
        .heap_used = 80 * MIB, .heap_live = 60 * MIB, .heap_goal = 120 * MIB,
        .heap_mapped = 100 * MIB, .heap_free = 15 * MIB, .heap_released = 5 * MIB,
        .allocated_bytes = 900 * MIB, .freed_bytes = 700 * MIB, .reclaimed_bytes = 120 * MIB,
        .reclaimed_blocks = 2400, .unreached_bytes = 7 * MIB, .unreached_blocks = 70,
        .pause_total = 30 * MS, .pause_longest = 2 * MS, .collector_time = 400 * MS,
        .stack_bytes = 65536, .root_bytes = MIB, .threads = 3, .probation_needed = 3,
        .probation_passed = 3, .reclaiming = 1, .stacks = 17, .stack_table_bytes = 40960,
        .meta_bytes = 4 * MIB, .resident_bytes = 110 * MIB};
}

static void add_cycle(uint64_t reason)
{
    struct stats_cycle *cycle = &page.cycles[page.cycles_next];
    uint64_t number = ++page.totals.cycles;
    page.cycles_next = (page.cycles_next + 1) % STATS_CYCLES;
    page.totals.last_cycle = now(CLOCK_MONOTONIC) - started;
    *cycle = (struct stats_cycle){.number = number, .reason = reason, .begun = number * 100 * MS,
                                  .took = 25 * MS, .pauses = 2, .pause = number * MS / 10,
                                  .paused = number * MS / 5, .heap_before = 90 * MIB,
                                  .heap_marked = 80 * MIB, .live = 60 * MIB, .goal = 120 * MIB,
                                  .unreached_blocks = 70, .unreached_bytes = 7 * MIB};
}

static void fill(void)
{
    memcpy(page.magic, STATS_MAGIC, sizeof(page.magic));
    page.version = is("version") ? 9 : STATS_VERSION;
    page.size = sizeof(page);
    page.pid = is("stranger") ? 1 : getpid();
    page.signal = STATS_SIGNAL;
    page.started_unix_ns = now(CLOCK_REALTIME);
    page.totals_size = sizeof(page.totals) + (is("longer") ? EXTRA : 0);
    page.snapshot_fd = -1;
    fill_totals();
    for (int i = 0; i < 10; i++)
        add_cycle(0);
    page.sites_count = 2;
    fill_site(&page.sites[0], 2000, leaker_of_much);
    fill_site(&page.sites[1], 100, leaker_of_little);
    for (page.history_count = 0; page.history_count < 60; page.history_count++)
        page.history[page.history_count] = (struct stats_moment){
            .time = page.history_count * 100 * MS, .heap_used = page.history_count * MIB,
            .live = 30 * MIB};
}

/* 1,000 filling lines: more than one buffer's worth. */
static void write_profile(void)
{
    if (page.snapshot_fd >= 0)
        close(page.snapshot_fd);
    page.snapshot_fd = is("failed") ? -1 : memfd_create("gcmalloc-snapshot", MFD_CLOEXEC);
    page.snapshots_done++;
    if (page.snapshot_fd < 0)
        return;
    dprintf(page.snapshot_fd, "gcmalloc-profile 2\nprocess %d 1 0\n", getpid());
    for (int i = 0; i < 1000; i++)
        dprintf(page.snapshot_fd, "thread %d one of many threads, and its name is long enough to "
                "cross the end of a buffer\n", i);
    if (!is("cut"))
        dprintf(page.snapshot_fd, "end 1002\n");
}

static void answer(unsigned commands)
{
    if (commands != 0 && is("ends"))
        _exit(0);
    if ((commands & STATS_COLLECT) != 0) {
        add_cycle(4);
        page.totals.reclaimed_bytes += 3 * MIB;
        page.totals.reclaimed_blocks += 30;
        page.sites[1].blocks += 100;
        page.sites[1].bytes += 4800;
        page.collects_done++;
    }
    if ((commands & STATS_SNAPSHOT) != 0)
        write_profile();
}

static bool is_watched(void)
{
    uint64_t until;
    return pread(page_fd, &until, sizeof(until),
                 offsetof(struct stats_page, watched_until_unix_ns)) == sizeof(until) &&
           until > now(CLOCK_REALTIME);
}

static void *serve(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "gcmalloc");
    if (unshare(CLONE_FILES) != 0)
        _exit(3);
    page_fd = memfd_create("gcmalloc-stats", MFD_CLOEXEC);
    if (page_fd < 0 || ftruncate(page_fd, sizeof(page) + EXTRA) != 0)
        _exit(3);
    fill();
    publish();
    for (;;) {
        unsigned commands = asked;
        asked &= ~commands;
        if (commands != 0 && !is("deaf"))
            answer(commands);
        if (commands != 0 || is_watched()) {
            page.renewed = now(CLOCK_MONOTONIC) - started;
            if (!is("deaf"))
                publish();
        }
        nanosleep(&(struct timespec){.tv_nsec = TICK_MS * 1000000}, NULL);
    }
    return NULL;
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    unsigned value = (unsigned)info->si_value.sival_int;
    if (info->si_code == SI_QUEUE && (value & ~0xffu) == STATS_MAGIC_VALUE)
        asked |= value & 0xff;
}

static void map_library(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
        _exit(3);
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    mode = argv[2];
    alarm(LIFE_SECONDS);
    started = now(CLOCK_MONOTONIC);
    map_library(argv[1]);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    if (!is("uncaught"))
        sigaction(STATS_SIGNAL, &action, NULL);
    pthread_t thread;
    if (!is("late"))
        pthread_create(&thread, NULL, serve, NULL);
    puts("ready");
    fflush(stdout);
    while (is("late") && asked == 0)
        usleep(1000);
    if (is("late"))
        pthread_create(&thread, NULL, serve, NULL);
    for (char c; read(STDIN_FILENO, &c, 1) > 0;)
        ;
    return 0;
}
