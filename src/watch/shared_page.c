/* shared_page.c -- the page that others map, written by the collector's thread.
 *
 * It is written with pwrite into a memfd, and mapped nowhere in the process: no root, nothing for a
 * barrier to protect, nothing that the program can meet in its maps. A copy is made here first.
 *
 *   .inv.sequence   The sequence word is odd while the rest is written, and different afterwards.
 *
 * Cost: 12 us to renew it, most of that for the copying of cycles, sites and history (100 KiB);
 * only while somebody watches is that done more often than the thread looks for free memory. */
#include "watch/shared_page.h"

#include "cycle/collector.h"
#include "gc/world.h"
#include "sys/clock.h"
#include "sys/syscall.h"
#include "watch/history.h"
#include "watch/leak.h"
#include "watch/leak_report.h"
#include "watch/stack_table.h"
#include "watch/stats.h"
#include "watch/stats_page.h"

#include <errno.h>
#include <linux/memfd.h>
#include <string.h>

_Static_assert((int)STATS_ATTEND == COLLECTOR_ASK_ATTEND &&
                   (int)STATS_COLLECT == COLLECTOR_ASK_COLLECT &&
                   (int)STATS_SNAPSHOT == COLLECTOR_ASK_SNAPSHOT,
               "the page's readers ask the collector's thread");
_Static_assert(STATS_MAGIC_VALUE == WORLD_ASK_VALUE, "by the signal");

static int page_fd = -1; /* negative: it is not there */

static struct {
    uint64_t events;     /* that were copied */
    uint64_t sites_of;   /* the cycle after which the sites were chosen, + 1 */
    struct stats_page page;
} shared GC_LARGE;

/* Not in Debian 12's headers. */
enum { NOEXEC_SEAL = 8 };

static int make_file(const char *name)
{
    long fd = syscall2(__NR_memfd_create, (long)name, MFD_CLOEXEC | NOEXEC_SEAL);
    if (fd == -EINVAL) /* before Linux 6.3 */
        fd = syscall2(__NR_memfd_create, (long)name, MFD_CLOEXEC);
    return (int)fd;
}

static void put(const void *from, size_t size, size_t at)
{
    syscall4(__NR_pwrite64, page_fd, (long)from, (long)size, (long)at);
}

static void put_sequence(uint32_t value)
{
    relaxed_store(&shared.page.sequence, value);
    put(&value, sizeof(value), offsetof(struct stats_page, sequence));
}

void shared_page_open(int signal)
{
    struct stats_page *p = &shared.page;
    p->snapshot_fd = -1;
    relaxed_store(&p->sequence, 0); /* in fork's child it may be odd */
    shared.events = 0;
    memset(p->magic, 0, sizeof(p->magic));
    p->version = STATS_VERSION;
    p->size = sizeof(*p);
    p->pid = (int32_t)syscall0(__NR_getpid);
    p->signal = signal;
    p->started_unix_ns = clock_started_unix_ns();
    p->totals_size = sizeof(p->totals);
    page_fd = make_file("gcmalloc-stats");
    if (page_fd >= 0 && syscall2(__NR_ftruncate, page_fd, sizeof(*p)) != 0)
        shared_page_close();
    if (page_fd < 0)
        return;
    put(p, offsetof(struct stats_page, events), 0);
    memcpy(p->magic, STATS_MAGIC, sizeof(p->magic)); /* last: who finds it finds the rest */
    put(p->magic, sizeof(p->magic), offsetof(struct stats_page, magic));
}

void shared_page_close(void)
{
    if (shared.page.snapshot_fd >= 0)
        syscall1(__NR_close, shared.page.snapshot_fd);
    if (page_fd >= 0)
        syscall1(__NR_close, page_fd);
    shared.page.snapshot_fd = page_fd = -1;
}

bool shared_page_watched(void)
{
    uint64_t until = 0;
    if (page_fd < 0)
        return false;
    syscall4(__NR_pread64, page_fd, (long)&until, sizeof(until),
             offsetof(struct stats_page, watched_until_unix_ns));
    return until > clock_started_unix_ns() + clock_uptime_ns();
}

/* ---- the sites that leaked most ---- */

static struct stats_site *site_of(const struct leak_group *g)
{
    struct stats_page *p = &shared.page;
    for (uint32_t i = 0; i < p->sites_count; i++)
        if (p->sites[i].stack == g->stack &&
            (g->stack != 0 || p->sites[i].block_size == g->block_size))
            return &p->sites[i];
    if (p->sites_count < STATS_SITES)
        return &p->sites[p->sites_count++];
    struct stats_site *least = &p->sites[0];
    for (uint32_t i = 1; i < STATS_SITES; i++)
        if (p->sites[i].bytes < least->bytes)
            least = &p->sites[i];
    if (least->bytes < g->bytes)
        memset(least, 0, sizeof(*least));
    return least->bytes < g->bytes ? least : NULL;
}

static void add_to_site(const struct leak_group *g)
{
    uintptr_t pcs[STACK_DEPTH_MAX];
    struct stats_site *s = site_of(g);
    if (s == NULL)
        return;
    s->stack = g->stack;
    s->block_size = g->block_size;
    s->blocks += g->blocks;
    s->bytes += g->bytes;
    s->reclaimed_blocks += g->reclaimed ? g->blocks : 0;
    s->reclaimed_bytes += g->reclaimed ? g->bytes : 0;
    s->depth = (uint32_t)size_min(stack_table_get(g->stack, pcs), STATS_FRAMES);
    for (uint32_t i = 0; i < s->depth; i++)
        s->frames[i] = pcs[i];
}

/* Counting walks the heap: once a cycle. */
static void choose_sites(uint64_t cycle)
{
    struct leak_group g;
    if (shared.sites_of == cycle + 1)
        return;
    shared.sites_of = cycle + 1;
    shared.page.sites_count = 0;
    memset(shared.page.sites, 0, sizeof(shared.page.sites));
    collector_hold_cycles();
    leak_count_present();
    collector_release_cycles();
    for (size_t i = 0; leak_group(i, &g); i++)
        add_to_site(&g);
}

/* ---- renewing ---- */

static void put_events(void)
{
    uint64_t count = event_count();
    uint64_t from = count > EVENTS_KEPT ? count - EVENTS_KEPT : 0;
    struct event e;
    for (uint64_t i = from > shared.events ? from : shared.events; i < count; i++)
        if (event_get(i, &e))
            put(&e, sizeof(e), offsetof(struct stats_page, events) + i % EVENTS_KEPT * sizeof(e));
    shared.events = count;
}

static void put_renewed(void)
{
    size_t from = offsetof(struct stats_page, collects_done);
    uint32_t sequence = relaxed_load(&shared.page.sequence);
    put_sequence(sequence + 1); /* .inv.sequence */
    put(&shared.page.collects_done, offsetof(struct stats_page, events) - from, from);
    put_sequence(sequence + 2);
    put_events();
}

static void copy_text(char *to, const char *text)
{
    size_t length = text == NULL ? 0 : size_min(strlen(text), STATS_TEXT - 1);
    memset(to, 0, STATS_TEXT);
    memcpy(to, text == NULL ? "" : text, length);
}

void shared_page_renew(const char *not_collected, const char *interlock, uint64_t resident)
{
    struct stats_page *p = &shared.page;
    stats_read(&p->totals, resident);
    if (shared_page_watched())
        choose_sites(p->totals.cycles);
    p->renewed = clock_uptime_ns();
    copy_text(p->not_collected, not_collected);
    copy_text(p->interlock, interlock);
    uint32_t cycles = history_cycles(p->cycles);
    p->cycles_next = cycles % STATS_CYCLES;
    p->history_count = history_moments(p->history);
    if (page_fd >= 0)
        put_renewed();
}

const struct stats_page *shared_page_shown(void)
{
    return &shared.page;
}

/* ---- answers ---- */

int shared_page_new_snapshot(void)
{
    return make_file("gcmalloc-snapshot");
}

void shared_page_drop_snapshot(int fd)
{
    if (fd >= 0)
        syscall1(__NR_close, fd);
}

void shared_page_answer(uint32_t commands, int snapshot)
{
    struct stats_page *p = &shared.page;
    p->collects_done += (commands & STATS_COLLECT) != 0;
    if ((commands & STATS_SNAPSHOT) == 0)
        return;
    if (p->snapshot_fd >= 0)
        syscall1(__NR_close, p->snapshot_fd);
    p->snapshot_fd = snapshot;
    p->snapshots_done++;
}
