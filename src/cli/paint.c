/* paint.c -- what `gcmalloc top` shows, as lines. */
#include "cli/paint.h"

#include "cli/instant.h"
#include "cli/units.h"

#include <string.h>

enum {
    BAR_COLUMNS = 40,
    GRAPH_ROWS = 5,
    GRAPH_LABEL = 12, /* columns left of the graph */
    GRAPH_MOST = 200,
};

/* ---- the header ------------------------------------------------------------------------------ */

/* "[####++++....]": the first part, what the second exceeds it by, the rest. */
static const char *bar(char *text, uint64_t first, uint64_t second, uint64_t all)
{
    for (int i = 0; i < BAR_COLUMNS; i++) {
        double here = ((double)i + 0.5) * (double)all / BAR_COLUMNS;
        text[i] = here < (double)first ? '#' : here < (double)second ? '+' : '.';
    }
    text[BAR_COLUMNS] = '\0';
    return text;
}

static uint64_t largest(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t larger = a > b ? a : b;
    return larger > c ? larger : c;
}

static void paint_bars(struct sheet *sheet, const struct totals *t)
{
    char text[BAR_COLUMNS + 1];
    uint64_t all = largest(t->heap_used, t->heap_goal, t->resident_bytes);
    sheet_add(sheet, LOOK_PLAIN, "heap      [%s] %s, %s of it live, goal %s",
              bar(text, t->heap_live, t->heap_used, all), units_bytes(t->heap_used).text,
              units_bytes(t->heap_live).text, units_bytes(t->heap_goal).text);
    sheet_add(sheet, LOOK_PLAIN, "resident  [%s] %s, %s of the heap given back",
              bar(text, t->resident_bytes, 0, all), units_bytes(t->resident_bytes).text,
              units_bytes(t->heap_released).text);
}

static void paint_name(struct sheet *sheet, const struct view *view, int width)
{
    const struct process *p = view->process;
    char inside[32] = "", left[128];
    if (p->inside != p->pid)
        snprintf(inside, sizeof(inside), ", %d inside", p->inside);
    int used = snprintf(left, sizeof(left), "%s  process %d%s", p->name, p->pid, inside);
    sheet_add(sheet, LOOK_TITLE, "%s%*sup %s", left,
              width - used - 14 > 2 ? width - used - 14 : 2, "",
              units_uptime(view->page.renewed).text);
}

static void paint_leaks(struct sheet *sheet, const struct view *view)
{
    const struct totals *t = &view->page.totals;
    sheet_add(sheet, LOOK_PLAIN,
              "leaks     %s/s; %s in %lu blocks unreached, %s in %lu blocks reclaimed",
              units_bytes((uint64_t)view->leak_rate).text, units_bytes(t->unreached_bytes).text,
              t->unreached_blocks, units_bytes(t->reclaimed_bytes).text, t->reclaimed_blocks);
}

static void paint_collector(struct sheet *sheet, const struct view *view)
{
    const struct totals *t = &view->page.totals;
    const struct stats_cycle *last = view_cycle(view, 0);
    uint64_t since = view->page.renewed > t->last_cycle ? view->page.renewed - t->last_cycle : 0;
    if (last == NULL)
        sheet_add(sheet, LOOK_PLAIN, "cycles    none yet");
    else
        sheet_add(sheet, LOOK_PLAIN, "cycles    %lu, the last one %s ago in %s", t->cycles,
                  units_duration(since).text, units_duration(last->took).text);
    sheet_add(sheet, LOOK_PLAIN,
              "stops     last %s, longest %s, together %s; collector %.1f %% of a processor",
              units_duration(last != NULL ? last->pause : 0).text,
              units_duration(t->pause_longest).text, units_duration(t->pause_total).text,
              view->collector_share * 100);
}

static void paint_trust(struct sheet *sheet, const struct view *view)
{
    const struct totals *t = &view->page.totals;
    const char *interlock = view->page.interlock, *why = view->page.not_collected;
    sheet_add(sheet, LOOK_PLAIN, "trust     probation %lu/%lu, %lu contradictions, %s",
              t->probation_passed, t->probation_needed, t->contradictions,
              t->reclaiming != 0 ? "leaks are reclaimed" : "leaks are reported only");
    if (*interlock != '\0')
        sheet_add(sheet, LOOK_WARNING, "interlock %s", interlock);
    else if (*why != '\0')
        sheet_add(sheet, LOOK_WARNING, "note      %s", why);
}

void paint_header(struct sheet *sheet, const struct view *view, int width)
{
    paint_name(sheet, view, width);
    paint_bars(sheet, &view->page.totals);
    paint_leaks(sheet, view);
    paint_collector(sheet, view);
    paint_trust(sheet, view);
}

/* ---- the graph ------------------------------------------------------------------------------- */

struct column {
    uint64_t used, live;
};

/* The largest figures of each column's time; a column without a moment repeats the one before. */
static uint64_t fill_columns(struct column *columns, int count, const struct stats_page *page)
{
    const struct stats_moment *moments = page->history;
    uint64_t first = moments[0].time, span = moments[page->history_count - 1].time - first + 1;
    uint64_t most = 1;
    memset(columns, 0, (size_t)count * sizeof(*columns));
    for (uint32_t i = 0; i < page->history_count; i++) {
        uint64_t since = moments[i].time - first;
        struct column *c = &columns[since < span ? since * (uint64_t)count / span : 0];
        c->used = largest(c->used, moments[i].heap_used, 0);
        c->live = largest(c->live, moments[i].live, 0);
        most = largest(most, c->used, c->live);
    }
    for (int i = 1; i < count; i++)
        if (columns[i].used == 0 && columns[i].live == 0)
            columns[i] = columns[i - 1];
    return most;
}

void paint_graph(struct sheet *sheet, const struct view *view, int width)
{
    struct column columns[GRAPH_MOST];
    const struct stats_page *page = &view->page;
    int count = width - GRAPH_LABEL - 1;
    count = count > GRAPH_MOST ? GRAPH_MOST : count;
    if (count < 8 || page->history_count < 2)
        return;
    uint64_t most = fill_columns(columns, count, page);
    for (int row = GRAPH_ROWS - 1; row >= 0; row--) {
        char line[GRAPH_MOST + 1];
        double level = ((double)row + 0.5) * (double)most / GRAPH_ROWS;
        for (int i = 0; i < count; i++)
            line[i] = level < (double)columns[i].live ? '#' : level < (double)columns[i].used ? '+'
                                                                                              : ' ';
        line[count] = '\0';
        sheet_add(sheet, LOOK_GRAPH, "%9s |%s",
                  row == GRAPH_ROWS - 1 ? units_bytes(most).text : row == 0 ? "0" : "", line);
    }
    sheet_add(sheet, LOOK_GRAPH, "%9s  # live  + heap, over the last %s", "",
              units_uptime(page->history[page->history_count - 1].time - page->history[0].time)
                  .text);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void useful_name(const struct stats_site *site, struct names *names, char *text)
{
    uint32_t frame = 0;
    while (frame + 1 < site->depth && names_passes_on(names, site->frames[frame]))
        frame++;
    if (frame + 1 == site->depth && names_passes_on(names, site->frames[frame]))
        frame = 0;
    if (site->depth == 0)
        snprintf(text, NAMES_TEXT, "(no stack was recorded)");
    else
        names_of(names, site->frames[frame], 0, text);
}

void paint_sites(struct sheet *sheet, const struct view *view, struct names *names)
{
    sheet_add(sheet, LOOK_COLUMNS, "%10s %12s %10s %10s  %s", "LEAKED", "PER SECOND", "BLOCKS",
              "RECLAIMED", "ALLOCATED BY");
    for (uint32_t i = 0; i < view->page.sites_count; i++) {
        const struct view_site *row = &view->sites[i];
        char name[NAMES_TEXT];
        useful_name(&row->site, names, name);
        sheet_add(sheet, LOOK_PLAIN, "%10s %12s %10lu %10s  %s",
                  units_bytes(row->site.bytes).text,
                  view->rates ? units_bytes((uint64_t)row->rate).text : "-", row->site.blocks,
                  units_bytes(row->site.reclaimed_bytes).text, name);
    }
}

static const char *reason_word(uint64_t reason)
{
    static const char *const words[] = {"growth", "stress", "memory", "exit", "request"};
    return reason < sizeof(words) / sizeof(words[0]) ? words[reason] : "?";
}

void paint_cycles(struct sheet *sheet, const struct view *view, unsigned most)
{
    sheet_add(sheet, LOOK_COLUMNS, "%8s %-8s %10s %10s %6s %10s %10s %10s %10s", "CYCLE", "REASON",
              "AT", "TOOK", "STOPS", "LONGEST", "HEAP", "LIVE", "UNREACHED");
    const struct stats_cycle *c;
    for (unsigned back = 0; back < most && (c = view_cycle(view, back)) != NULL; back++)
        sheet_add(sheet, LOOK_PLAIN, "%8lu %-8s %10s %10s %6lu %10s %10s %10s %10s", c->number,
                  reason_word(c->reason), units_uptime(c->begun).text,
                  units_duration(c->took).text, c->pauses, units_duration(c->pause).text,
                  units_bytes(c->heap_before).text, units_bytes(c->live).text,
                  units_bytes(c->unreached_bytes).text);
}

void paint_threads(struct sheet *sheet, const struct view *view)
{
    sheet_add(sheet, LOOK_COLUMNS, "%8s %5s %6s  %s", "THREAD", "STATE", "CPU %", "NAME");
    for (size_t i = 0; i < view->tasks.count; i++) {
        const struct task *task = &view->tasks.list[i];
        sheet_add(sheet, LOOK_PLAIN, "%8d %5c %6.1f  %s", task->tid, task->state,
                  task->share * 100, task->name);
    }
}

void paint_stack(struct sheet *sheet, const struct view_site *row, struct names *names)
{
    const struct stats_site *site = &row->site;
    sheet_add(sheet, LOOK_COLUMNS, "%s in %lu blocks leaked, allocated by:",
              units_bytes(site->bytes).text, site->blocks);
    for (uint32_t i = 0; i < site->depth; i++) {
        char name[NAMES_TEXT];
        for (size_t k = 0; names_of(names, site->frames[i], k, name); k++)
            sheet_add(sheet, LOOK_PLAIN, "  #%-2u 0x%012lx  %s", i, site->frames[i], name);
    }
    if (site->depth == STATS_FRAMES)
        sheet_add(sheet, LOOK_PLAIN, "  ... (a snapshot has the rest)");
}
