/* metrics.c -- the figures of a process as OpenMetrics text.
 *
 * Names are those of Prometheus's Go client, with another prefix, so that a dashboard made for Go
 * needs one word changed; what Go has no counterpart for comes from totals.h under its own name.
 * Figures that we do not have (sizes of span and cache tables) are left out: a wrong one would be
 * worse than none.
 *
 * node_exporter's textfile collector reads the older text format. Both readers take this text:
 *
 *   .inv.both   No time stamps, and no type that the older format does not know. Units and the end
 *               mark are comments to it.
 *   .inv.names  In OpenMetrics a counter NAME has the sample NAME_total. Go has a gauge
 *               memstats_alloc_bytes and a counter memstats_alloc_bytes_total, which would be one
 *               name with two types; the second stands there without a type.
 *   .inv.room   A line fits a printer's buffer: prefix, names and texts have bounds.
 *
 * Numbers are whole, and times have nine places: nothing is rounded. */
#include "watch/metrics.h"

#include "base/check.h"
#include "sys/print.h"

#include <string.h>

struct writer {
    const struct metrics_source *of;
    struct printer line;
    void (*take)(const char *line, void *data);
    void *data;
};

/* ---- the format ------------------------------------------------------------------------------ */

static void GC_PRINTF_LIKE(2, 3) add(struct writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printer_vprintf(&w->line, format, args);
    va_end(args);
}

static void end_line(struct writer *w)
{
    add(w, "\n");
    GC_ASSERT(!w->line.failed); /* .inv.room */
    w->take(w->line.text, w->data);
    printer_start(&w->line, -1);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static const char *unit_of(const char *name)
{
    return ends_with(name, "_bytes") ? "bytes" : ends_with(name, "_seconds") ? "seconds" : NULL;
}

static void head(struct writer *w, const char *name, const char *type, const char *help)
{
    add(w, "# HELP %s_%s %s", w->of->prefix, name, help);
    end_line(w);
    if (type == NULL)
        return;
    add(w, "# TYPE %s_%s %s", w->of->prefix, name, type);
    end_line(w);
    if (unit_of(name) == NULL)
        return;
    add(w, "# UNIT %s_%s %s", w->of->prefix, name, unit_of(name));
    end_line(w);
}

static void add_seconds(struct writer *w, uint64_t ns)
{
    add(w, "%lu.%09lu", ns / 1000000000, ns % 1000000000);
}

/* Times are nanoseconds here, and seconds there. */
static void sample(struct writer *w, const char *name, const char *end, uint64_t value)
{
    add(w, "%s_%s%s ", w->of->prefix, name, end);
    if (ends_with(name, "_seconds"))
        add_seconds(w, value);
    else
        add(w, "%lu", value);
    end_line(w);
}

static void gauge(struct writer *w, const char *name, uint64_t value, const char *help)
{
    head(w, name, "gauge", help);
    sample(w, name, "", value);
}

static void counter(struct writer *w, const char *name, uint64_t value, const char *help)
{
    head(w, name, "counter", help);
    sample(w, name, "_total", value);
}

static void untyped(struct writer *w, const char *name, uint64_t value, const char *help)
{
    head(w, name, NULL, help);
    sample(w, name, "", value);
}

static void add_escaped(struct writer *w, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            add(w, "\\");
        if (*text == '\n')
            add(w, "\\n");
        else
            add(w, "%c", *text >= ' ' && *text < 0x7f ? *text : '?');
    }
}

/* ---- Go's ------------------------------------------------------------------------------------ */

/* What each of the last cycles stopped the program for, ascending. */
static size_t sort_pauses(const struct stats_page *page, uint64_t sorted[STATS_CYCLES])
{
    size_t count = 0;
    for (size_t i = 0; i < STATS_CYCLES; i++) {
        if (page->cycles[i].number == 0)
            continue;
        size_t at = count++;
        for (; at > 0 && sorted[at - 1] > page->cycles[i].paused; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = page->cycles[i].paused;
    }
    return count;
}

/* As Go counts: one figure for each cycle, all its stops together. */
static void pauses(struct writer *w)
{
    static const char *const quantiles[] = {"0", "0.25", "0.5", "0.75", "1"};
    const char *prefix = w->of->prefix;
    uint64_t sorted[STATS_CYCLES];
    size_t count = sort_pauses(w->of->page, sorted);
    head(w, "gc_duration_seconds", "summary",
         "A summary of the time for which each of the last cycles stopped the program.");
    for (size_t i = 0; i < 5; i++) {
        add(w, "%s_gc_duration_seconds{quantile=\"%s\"} ", prefix, quantiles[i]);
        add_seconds(w, count == 0 ? 0 : sorted[(count - 1) * i / 4]);
        end_line(w);
    }
    add(w, "%s_gc_duration_seconds_sum ", prefix);
    add_seconds(w, w->of->page->totals.pause_total);
    end_line(w);
    add(w, "%s_gc_duration_seconds_count %lu", prefix, w->of->page->totals.cycles);
    end_line(w);
}

static void processor_share(struct writer *w)
{
    const struct stats_page *page = w->of->page;
    double all = (double)page->renewed * (w->of->processors != 0 ? w->of->processors : 1);
    head(w, "memstats_gc_cpu_fraction", "gauge",
         "The share of the processors' time that the collector took since the start.");
    add(w, "%s_memstats_gc_cpu_fraction %.9f", w->of->prefix,
        all == 0 ? 0 : (double)page->totals.collector_time / all);
    end_line(w);
}

static uint64_t last_cycle_unix(const struct stats_page *page)
{
    return page->totals.cycles == 0 ? 0 : page->started_unix_ns + page->totals.last_cycle;
}

static void memstats(struct writer *w)
{
    const struct totals *t = &w->of->page->totals;
    gauge(w, "memstats_alloc_bytes", t->heap_used, "Bytes allocated and still in use.");
    untyped(w, "memstats_alloc_bytes_total", t->allocated_bytes,
            "Bytes allocated, even if freed. A counter.");
    counter(w, "memstats_mallocs", t->mallocs, "Blocks ever allocated.");
    counter(w, "memstats_frees", t->frees, "Blocks freed or reclaimed.");
    gauge(w, "memstats_buck_hash_sys_bytes", t->stack_table_bytes,
          "Bytes used by the table of allocation stacks.");
    processor_share(w);
    gauge(w, "memstats_gc_sys_bytes", t->meta_bytes, "Bytes of the library's own data.");
    gauge(w, "memstats_heap_alloc_bytes", t->heap_used, "Heap bytes allocated and still in use.");
    gauge(w, "memstats_heap_idle_bytes", t->heap_free, "Heap bytes waiting to be used.");
    gauge(w, "memstats_heap_inuse_bytes", t->heap_mapped - t->heap_free,
          "Heap bytes that are in use.");
    gauge(w, "memstats_heap_released_bytes", t->heap_released,
          "Heap bytes given back to the kernel.");
    gauge(w, "memstats_heap_sys_bytes", t->heap_mapped, "Heap bytes obtained from the kernel.");
    gauge(w, "memstats_last_gc_time_seconds", last_cycle_unix(w->of->page),
          "Seconds since 1970 at the end of the last cycle.");
    gauge(w, "memstats_next_gc_bytes", t->heap_goal,
          "Heap bytes at which the next cycle should end.");
    gauge(w, "memstats_stack_inuse_bytes", t->stack_bytes,
          "Bytes of stacks that the last mark read.");
    gauge(w, "memstats_sys_bytes", t->heap_mapped + t->meta_bytes,
          "Bytes obtained from the kernel.");
}

static void gc(struct writer *w)
{
    const struct totals *t = &w->of->page->totals;
    gauge(w, "threads", t->threads, "Threads of the program that are known.");
    counter(w, "gc_cycles_total_gc_cycles", t->cycles, "All finished cycles.");
    counter(w, "gc_cycles_forced_gc_cycles", t->cycles_forced,
            "Cycles that were not begun by growth of the heap.");
    counter(w, "gc_cycles_automatic_gc_cycles", t->cycles - t->cycles_forced,
            "Cycles that were begun by growth of the heap.");
    counter(w, "gc_heap_allocs_bytes", t->allocated_bytes, "Bytes ever allocated.");
    counter(w, "gc_heap_frees_bytes", t->freed_bytes + t->reclaimed_bytes,
            "Bytes ever freed, by the program or by the collector.");
    gauge(w, "gc_heap_live_bytes", t->heap_live, "Bytes that the last mark reached.");
    gauge(w, "gc_heap_goal_bytes", t->heap_goal, "Heap bytes at which the next cycle should end.");
    gauge(w, "gc_scan_stack_bytes", t->stack_bytes, "Bytes of stacks that the last mark read.");
    gauge(w, "gc_scan_globals_bytes", t->root_bytes,
          "Bytes of other memory of the program that the last mark read.");
}

/* ---- our own --------------------------------------------------------------------------------- */

/* Rows of totals.h that stand above under Go's names. */
static bool is_gos(const char *name)
{
    static const char *const known[] = {
        "heap_used", "heap_live", "heap_goal", "heap_mapped", "heap_free", "heap_released",
        "allocated_bytes", "freed_bytes", "cycles", "cycles_forced", "last_cycle", "pause_total",
        "stack_bytes", "root_bytes", "threads", "stack_table_bytes", "meta_bytes", "mallocs",
        "frees"};
    for (size_t i = 0; i < GC_COUNT(known); i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

static bool is_time(const char *name)
{
    return strcmp(name, "pause_longest") == 0 || strcmp(name, "collector_time") == 0;
}

static void own(struct writer *w, const char *row, bool counts, uint64_t value, const char *help)
{
    struct printer name;
    if (is_gos(row))
        return;
    printer_start(&name, -1);
    printer_printf(&name, "%s%s", row, is_time(row) ? "_seconds" : "");
    (counts ? counter : gauge)(w, name.text, value, help);
}

static void rows_of_totals(struct writer *w)
{
    enum { GAUGE, COUNTER };
#define OWN_ROW(name, kind, help) own(w, #name, (kind) == COUNTER, w->of->page->totals.name, help);
    TOTALS(OWN_ROW)
#undef OWN_ROW
}

static void interlock(struct writer *w)
{
    head(w, "interlock", "gauge",
         "1 while something in the program keeps leaks from being reclaimed.");
    add(w, "%s_interlock{reason=\"", w->of->prefix);
    add_escaped(w, w->of->page->interlock);
    add(w, "\"} %d", w->of->page->interlock[0] != '\0');
    end_line(w);
}

static void info(struct writer *w)
{
    head(w, "info", "gauge", "The process.");
    add(w, "%s_info{pid=\"%d\",program=\"", w->of->prefix, w->of->pid);
    add_escaped(w, w->of->program);
    add(w, "\"} 1");
    end_line(w);
    gauge(w, "start_time_seconds", w->of->page->started_unix_ns,
          "Seconds since 1970 at the process's start.");
}

void metrics_each_line(const struct metrics_source *source,
                       void (*take)(const char *line, void *data), void *data)
{
    struct writer w = {.of = source, .take = take, .data = data};
    GC_ASSERT(strlen(source->prefix) <= METRICS_PREFIX_MAX); /* .inv.room */
    printer_start(&w.line, -1);
    pauses(&w);
    info(&w);
    memstats(&w);
    gc(&w);
    rows_of_totals(&w);
    interlock(&w);
    add(&w, "# EOF");
    end_line(&w);
}
