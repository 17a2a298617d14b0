/* watch_shared_page.c -- what a reader of the page sees, while it is written and afterwards. */
#include "watch/shared_page.h"

#include "sys/mem.h"
#include "child.h"
#include "cycle/collector.h"
#include "gc/world.h"
#include "heap/heap.h"
#include "sys/clock.h"
#include "watch/history.h"
#include "watch/stats_page.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { ROUNDS = 3000, FORKS = 60 };

/* This process's file of that name, by its number; -1: it has none. */
static int number_of(const char *name)
{
    for (int fd = 0; fd < 64; fd++) {
        char path[64], target[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t got = readlink(path, target, sizeof target - 1);
        target[got > 0 ? got : 0] = '\0';
        if (strstr(target, name) != NULL)
            return fd;
    }
    return -1;
}

static struct stats_page *map_page(void)
{
    struct stats_page *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED,
                                number_of("gcmalloc-stats"), 0);
    return EXPECT(p != MAP_FAILED) ? p : NULL;
}

static void begin(void)
{
    EXPECT(heap_init(64 * MIB, true));
    clock_start();
    shared_page_open(62);
}

static void fixed_part(void)
{
    begin();
    struct stats_page *p = map_page();
    EXPECT(memcmp(p->magic, STATS_MAGIC, 8) == 0 && p->version == STATS_VERSION);
    EXPECT(p->size == sizeof *p && p->pid == (int)getpid() && p->signal == 62);
    EXPECT(p->totals_size == sizeof(struct totals) && p->snapshot_fd == -1);
    EXPECT(p->started_unix_ns == clock_started_unix_ns() && p->sequence % 2 == 0);
}

static void renewed(void)
{
    struct cycle_record r = {.number = 3, .reason = CYCLE_REQUEST, .marked_bytes = 77};
    begin();
    struct stats_page *p = map_page();
    uint32_t sequence = p->sequence;
    history_add_cycle(&r, 4096);
    event_note(EVENT_REQUEST, 5, 6);
    shared_page_renew("no reason", NULL, mem_resident());
    EXPECT(p->sequence == sequence + 2 && p->renewed != 0 && p->renewed <= clock_uptime_ns());
    EXPECT_TEXT(p->not_collected, "no reason");
    EXPECT_TEXT(p->interlock, "");
    EXPECT(p->totals.cycles == 3 && p->totals.heap_live == 77 && p->totals.resident_bytes != 0);
    EXPECT(p->cycles_next == 1 && p->cycles[0].number == 3 && p->history_count == 1);
    EXPECT(p->events[0].stamp == 1 && p->events[0].a == 5 && p->events[0].b == 6);
    static char text[500];
    memset(text, 'x', sizeof text - 1);
    shared_page_renew(NULL, text, mem_resident()); /* cut */
    EXPECT_TEXT(p->not_collected, "");
    EXPECT(strlen(p->interlock) == STATS_TEXT - 1);
}

static void events_go_round(void)
{
    begin();
    struct stats_page *p = map_page();
    uint64_t first = event_count(), good = 0;
    for (uint64_t i = 0; i < 2 * EVENTS_KEPT + 5; i++) {
        event_note(EVENT_PHASE, first + i, 0);
        if (i % 1000 == 0)
            shared_page_renew(NULL, NULL, mem_resident());
    }
    shared_page_renew(NULL, NULL, mem_resident());
    for (uint64_t i = event_count() - EVENTS_KEPT; i < event_count(); i++)
        good += p->events[i % EVENTS_KEPT].stamp == i + 1 && p->events[i % EVENTS_KEPT].a == i;
    EXPECT(good == EVENTS_KEPT);
}

static void watched(void)
{
    begin();
    struct stats_page *p = map_page();
    EXPECT(!shared_page_watched());
    p->watched_until_unix_ns = clock_started_unix_ns() + clock_uptime_ns() + 60000000000u;
    EXPECT(shared_page_watched());
    p->watched_until_unix_ns = clock_started_unix_ns();
    EXPECT(!shared_page_watched());
}

static void answers(void)
{
    begin();
    struct stats_page *p = map_page();
    shared_page_answer(STATS_COLLECT, -1);
    shared_page_renew(NULL, NULL, mem_resident());
    EXPECT(p->collects_done == 1 && p->snapshots_done == 0 && p->snapshot_fd == -1);
    int fd = shared_page_new_snapshot();
    EXPECT(fd >= 0 && write(fd, "one", 3) == 3);
    shared_page_answer(STATS_SNAPSHOT, fd);
    shared_page_renew(NULL, NULL, mem_resident());
    EXPECT(p->collects_done == 1 && p->snapshots_done == 1 && p->snapshot_fd == fd);
    int next = shared_page_new_snapshot();
    shared_page_answer(STATS_SNAPSHOT | STATS_COLLECT, next);
    shared_page_renew(NULL, NULL, mem_resident());
    EXPECT(p->collects_done == 2 && p->snapshots_done == 2 && p->snapshot_fd == next);
    EXPECT(fcntl(fd, F_GETFD) == -1); /* one at a time is kept */
    shared_page_answer(STATS_SNAPSHOT, -1);
    shared_page_renew(NULL, NULL, mem_resident());
    EXPECT(p->snapshots_done == 3 && p->snapshot_fd == -1 && fcntl(next, F_GETFD) == -1);
}

/* Whatever number the files get: in a table without any the first is 0. */
static void in_an_empty_table(void)
{
    int out = fcntl(1, F_DUPFD_CLOEXEC, 10), in = fcntl(0, F_DUPFD_CLOEXEC, 20);
    EXPECT(out >= 10 && close(0) == 0);
    begin();
    EXPECT(number_of("gcmalloc-stats") == 0);
    struct stats_page *p = map_page();
    shared_page_renew("seen", NULL, mem_resident());
    EXPECT_TEXT(p->not_collected, "seen");
    shared_page_close();
    EXPECT(number_of("gcmalloc-stats") == -1);
    (void)in;
}

/* What was closed is not written to, nor closed again: its number may be another's. */
static void closed(void)
{
    begin();
    int fd = shared_page_new_snapshot();
    shared_page_answer(STATS_SNAPSHOT, fd);
    shared_page_close();
    EXPECT(number_of("gcmalloc") == -1);
    int other = open("/dev/zero", O_RDWR), another = open("/dev/zero", O_RDWR);
    shared_page_renew("x", "y", mem_resident());
    shared_page_answer(STATS_SNAPSHOT, -1);
    shared_page_close();
    EXPECT(fcntl(other, F_GETFD) != -1 && fcntl(another, F_GETFD) != -1);
    shared_page_open(62);
    struct stats_page *p = map_page();
    EXPECT(p->snapshot_fd == -1);
    shared_page_renew("again", NULL, mem_resident());
    EXPECT_TEXT(p->not_collected, "again");
}

static atomic_bool stop;

static void *renew_on(void *data)
{
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        static char text[2][100];
        memset(text[i % 2], 'a' + (int)(i % 26), 99);
        shared_page_answer(STATS_COLLECT, -1);
        shared_page_renew(text[i % 2], text[i % 2], mem_resident());
    }
    return data;
}

/* .inv.sequence: both texts and the count are of one renewal. */
static void beside_a_writer(void)
{
    static struct stats_page copy;
    pthread_t thread;
    unsigned got = 0, torn = 0;
    begin();
    struct stats_page *p = map_page();
    shared_page_answer(STATS_COLLECT, -1);
    EXPECT(pthread_create(&thread, NULL, renew_on, NULL) == 0);
    for (uint64_t tries = 0; got < ROUNDS && tries < 100000000; tries++) {
        uint32_t sequence = atomic_load(&p->sequence);
        memcpy((char *)&copy + offsetof(struct stats_page, collects_done), &p->collects_done,
               offsetof(struct stats_page, cycles_next) -
                   offsetof(struct stats_page, collects_done));
        atomic_thread_fence(memory_order_acquire);
        if (sequence % 2 != 0 || atomic_load(&p->sequence) != sequence || copy.collects_done < 3)
            continue;
        got++;
        torn += strcmp(copy.interlock, copy.not_collected) != 0 ||
                copy.interlock[50] != 'a' + (char)((copy.collects_done - 2) % 26);
    }
    atomic_store(&stop, true);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(got == ROUNDS && torn == 0);
}

static void in_child(void)
{
    shared_page_open(62);
    EXPECT(number_of("gcmalloc-stats") >= 0);
    struct stats_page *p = mmap(NULL, sizeof *p, PROT_READ, MAP_SHARED, number_of("gcmalloc-stats"),
                                0);
    EXPECT(p != MAP_FAILED && p->sequence % 2 == 0);
}

/* Whoever was writing is not there to finish it. The parent's file has another number. */
static void forked_meanwhile(void)
{
    pthread_t thread;
    begin();
    EXPECT(pthread_create(&thread, NULL, renew_on, NULL) == 0);
    for (int i = 0; i < FORKS; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            close(number_of("gcmalloc-stats"));
            in_child();
            _exit(unit_failures != 0);
        }
        int status;
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    }
    atomic_store(&stop, true);
    EXPECT(pthread_join(thread, NULL) == 0);
}

IN_CHILD(fixed_part)
IN_CHILD(renewed)
IN_CHILD(events_go_round)
IN_CHILD(watched)
IN_CHILD(answers)
IN_CHILD(in_an_empty_table)
IN_CHILD(closed)
IN_CHILD(beside_a_writer)
IN_CHILD(forked_meanwhile)

UNIT_MAIN(TEST(test_fixed_part), TEST(test_renewed), TEST(test_events_go_round), TEST(test_watched),
          TEST(test_answers), TEST(test_in_an_empty_table), TEST(test_closed),
          TEST(test_beside_a_writer), TEST(test_forked_meanwhile))
