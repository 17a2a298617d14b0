/* view.c -- what a running process did since the last look. */
#include "cli/view.h"

#include "cli/instant.h"

#include <stdlib.h>
#include <string.h>

#define LEAK_WINDOW (60 * NS_PER_SECOND)

void view_open(struct view *view, struct process *process)
{
    memset(view, 0, sizeof(*view));
    view->process = process;
}

void view_close(struct view *view)
{
    tasks_free(&view->tasks);
}

static double per_second(uint64_t before, uint64_t after, uint64_t ns)
{
    if (ns == 0 || after < before)
        return 0;
    return (double)(after - before) * (double)NS_PER_SECOND / (double)ns;
}

/* What was ever found leaked: unreached blocks become reclaimed ones. */
static uint64_t leaked(const struct stats_moment *moment)
{
    return moment->reclaimed_bytes + moment->unreached_bytes;
}

static double leak_rate(const struct stats_page *page)
{
    if (page->history_count < 2)
        return 0;
    const struct stats_moment *last = &page->history[page->history_count - 1], *first = last;
    while (first > page->history && last->time - (first - 1)->time <= LEAK_WINDOW)
        first--;
    if (first == last)
        first--;
    return per_second(leaked(first), leaked(last), last->time - first->time);
}

static const struct view_site *find_site(const struct view_site *sites, size_t count,
                                         uint32_t stack)
{
    for (size_t i = 0; i < count; i++)
        if (sites[i].site.stack == stack)
            return &sites[i];
    return NULL;
}

static void take_sites(struct view *view, const struct stats_page *page)
{
    struct view_site before[STATS_SITES];
    size_t count = view->page.sites_count;
    uint64_t ns = page->renewed - view->page.renewed;
    memcpy(before, view->sites, sizeof(before));
    for (uint32_t i = 0; i < page->sites_count; i++) {
        const struct view_site *old = find_site(before, count, page->sites[i].stack);
        view->sites[i].site = page->sites[i];
        view->sites[i].rate = 0;
        if (view->rates)
            view->sites[i].rate = per_second(old != NULL ? old->site.bytes : 0,
                                             page->sites[i].bytes, ns);
    }
}

void view_take(struct view *view, const struct stats_page *page)
{
    tasks_read(&view->tasks, view->process->pid);
    bool same = view->page.started_unix_ns == page->started_unix_ns;
    if (same && view->page.renewed == page->renewed)
        return; /* rates since the last look that told something stay */
    view->rates = same;
    take_sites(view, page);
    view->page = *page;
    view->leak_rate = leak_rate(page);
    view->collector_share = page->renewed == 0 ? 0
                                               : (double)page->totals.collector_time /
                                                     (double)page->renewed;
    view_sort(view, view->order);
}

static int compare(double left, double right)
{
    return (left < right) - (left > right);
}

static int by_bytes(const void *a, const void *b)
{
    const struct view_site *left = a, *right = b;
    return compare((double)left->site.bytes, (double)right->site.bytes);
}

static int by_rate(const void *a, const void *b)
{
    const struct view_site *left = a, *right = b;
    int order = compare(left->rate, right->rate);
    return order != 0 ? order : by_bytes(a, b);
}

static int by_blocks(const void *a, const void *b)
{
    const struct view_site *left = a, *right = b;
    return compare((double)left->site.blocks, (double)right->site.blocks);
}

void view_sort(struct view *view, enum view_order order)
{
    static int (*const compares[])(const void *, const void *) = {by_bytes, by_rate, by_blocks};
    view->order = order;
    qsort(view->sites, view->page.sites_count, sizeof(view->sites[0]), compares[order]);
}

const struct stats_cycle *view_cycle(const struct view *view, unsigned back)
{
    if (back >= STATS_CYCLES)
        return NULL;
    unsigned place = view->page.cycles_next + 2 * STATS_CYCLES - 1 - back;
    const struct stats_cycle *cycle = &view->page.cycles[place % STATS_CYCLES];
    return cycle->number == 0 ? NULL : cycle;
}
