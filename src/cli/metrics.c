/* metrics.c -- `gcmalloc metrics`: the figures of a process as OpenMetrics text.
 *
 * Names are those of Prometheus's Go client, with another prefix, so that a dashboard made for Go
 * needs one word changed; what Go has no counterpart for comes from totals.h under its own name.
 * Figures that we do not have (numbers of mallocs and frees, sizes of span and cache tables) are
 * left out: a wrong one would be worse than none.
 *
 * node_exporter's textfile collector reads the older text format. Both readers take this text:
 *
 *   .inv.both   No time stamps, and no type that the older format does not know. Units and the end
 *               mark are comments to it.
 *   .inv.names  In OpenMetrics a counter NAME has the sample NAME_total. Go has a gauge
 *               memstats_alloc_bytes and a counter memstats_alloc_bytes_total, which would be one
 *               name with two types; the second stands there without a type.
 *
 * With --every the file appears by rename: a reader sees the one before or this one, whole. */
#include "cli/metrics.h"

#include "cli/values.h"
#include "cli/fault.h"
#include "cli/instant.h"
#include "cli/process.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct metrics {
    FILE *out;
    const char *prefix;
    const struct process *process;
    const struct stats_page *page;
};

/* ---- the format ------------------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static const char *unit_of(const char *name)
{
    return ends_with(name, "_bytes") ? "bytes" : ends_with(name, "_seconds") ? "seconds" : NULL;
}

static void head(const struct metrics *m, const char *name, const char *type, const char *help)
{
    fprintf(m->out, "# HELP %s_%s %s\n", m->prefix, name, help);
    fprintf(m->out, "# TYPE %s_%s %s\n", m->prefix, name, type);
    if (unit_of(name) != NULL)
        fprintf(m->out, "# UNIT %s_%s %s\n", m->prefix, name, unit_of(name));
}

static void gauge(const struct metrics *m, const char *name, double value, const char *help)
{
    head(m, name, "gauge", help);
    fprintf(m->out, "%s_%s %.17g\n", m->prefix, name, value);
}

static void counter(const struct metrics *m, const char *name, double value, const char *help)
{
    head(m, name, "counter", help);
    fprintf(m->out, "%s_%s_total %.17g\n", m->prefix, name, value);
}

static void untyped(const struct metrics *m, const char *name, double value, const char *help)
{
    fprintf(m->out, "# HELP %s_%s %s\n", m->prefix, name, help);
    fprintf(m->out, "%s_%s %.17g\n", m->prefix, name, value);
}

static void print_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            fputc('\\', out);
        if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(isprint((unsigned char)*text) ? *text : '?', out);
    }
}

/* ---- Go's ------------------------------------------------------------------------------------ */

static int compare_durations(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* As Go counts: one figure for each cycle, all its stops together. */
static void pauses(const struct metrics *m)
{
    uint64_t sorted[STATS_CYCLES];
    size_t count = 0;
    for (size_t i = 0; i < STATS_CYCLES; i++)
        if (m->page->cycles[i].number != 0)
            sorted[count++] = m->page->cycles[i].paused;
    qsort(sorted, count, sizeof(sorted[0]), compare_durations);
    head(m, "gc_duration_seconds", "summary",
         "A summary of the time for which each of the last cycles stopped the program.");
    static const char *const quantiles[] = {"0", "0.25", "0.5", "0.75", "1"};
    for (size_t i = 0; i < 5; i++)
        fprintf(m->out, "%s_gc_duration_seconds{quantile=\"%s\"} %.9g\n", m->prefix, quantiles[i],
                count == 0 ? 0 : (double)sorted[(count - 1) * i / 4] / 1e9);
    fprintf(m->out, "%s_gc_duration_seconds_sum %.9g\n%s_gc_duration_seconds_count %lu\n",
            m->prefix, (double)m->page->totals.pause_total / 1e9, m->prefix,
            m->page->totals.cycles);
}

static double processor_share(const struct stats_page *page)
{
    double processors = (double)sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t up = page->renewed;
    return up == 0 ? 0 : (double)page->totals.collector_time / ((double)up * processors);
}

static double last_cycle_unix(const struct stats_page *page)
{
    if (page->totals.cycles == 0)
        return 0;
    return (double)(page->started_unix_ns + page->totals.last_cycle) / 1e9;
}

static void memstats(const struct metrics *m)
{
    const struct totals *t = &m->page->totals;
    gauge(m, "memstats_alloc_bytes", (double)t->heap_used, "Bytes allocated and still in use.");
    untyped(m, "memstats_alloc_bytes_total", (double)t->allocated_bytes,
            "Bytes allocated, even if freed. A counter.");
    counter(m, "memstats_mallocs", (double)t->mallocs, "Blocks ever allocated.");
    counter(m, "memstats_frees", (double)t->frees, "Blocks freed or reclaimed.");
    gauge(m, "memstats_buck_hash_sys_bytes", (double)t->stack_table_bytes,
          "Bytes used by the table of allocation stacks.");
    gauge(m, "memstats_gc_cpu_fraction", processor_share(m->page),
          "The share of the processors' time that the collector took since the start.");
    gauge(m, "memstats_gc_sys_bytes", (double)t->meta_bytes, "Bytes of the library's own data.");
    gauge(m, "memstats_heap_alloc_bytes", (double)t->heap_used,
          "Heap bytes allocated and still in use.");
    gauge(m, "memstats_heap_idle_bytes", (double)t->heap_free, "Heap bytes waiting to be used.");
    gauge(m, "memstats_heap_inuse_bytes", (double)(t->heap_mapped - t->heap_free),
          "Heap bytes that are in use.");
    gauge(m, "memstats_heap_released_bytes", (double)t->heap_released,
          "Heap bytes given back to the kernel.");
    gauge(m, "memstats_heap_sys_bytes", (double)t->heap_mapped,
          "Heap bytes obtained from the kernel.");
    gauge(m, "memstats_last_gc_time_seconds", last_cycle_unix(m->page),
          "Seconds since 1970 at the end of the last cycle.");
    gauge(m, "memstats_next_gc_bytes", (double)t->heap_goal,
          "Heap bytes at which the next cycle should end.");
    gauge(m, "memstats_stack_inuse_bytes", (double)t->stack_bytes,
          "Bytes of stacks that the last mark read.");
    gauge(m, "memstats_sys_bytes", (double)(t->heap_mapped + t->meta_bytes),
          "Bytes obtained from the kernel.");
}

static void gc(const struct metrics *m)
{
    const struct totals *t = &m->page->totals;
    gauge(m, "threads", (double)t->threads, "Threads of the program that are known.");
    counter(m, "gc_cycles_total_gc_cycles", (double)t->cycles, "All finished cycles.");
    counter(m, "gc_cycles_forced_gc_cycles", (double)t->cycles_forced,
            "Cycles that were not begun by growth of the heap.");
    counter(m, "gc_cycles_automatic_gc_cycles", (double)(t->cycles - t->cycles_forced),
            "Cycles that were begun by growth of the heap.");
    counter(m, "gc_heap_allocs_bytes", (double)t->allocated_bytes, "Bytes ever allocated.");
    counter(m, "gc_heap_frees_bytes", (double)(t->freed_bytes + t->reclaimed_bytes),
            "Bytes ever freed, by the program or by the collector.");
    gauge(m, "gc_heap_live_bytes", (double)t->heap_live, "Bytes that the last mark reached.");
    gauge(m, "gc_heap_goal_bytes", (double)t->heap_goal,
          "Heap bytes at which the next cycle should end.");
    gauge(m, "gc_scan_stack_bytes", (double)t->stack_bytes,
          "Bytes of stacks that the last mark read.");
    gauge(m, "gc_scan_globals_bytes", (double)t->root_bytes,
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
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

static bool is_time(const char *name)
{
    return strcmp(name, "pause_longest") == 0 || strcmp(name, "collector_time") == 0;
}

static void own(const struct metrics *m, const char *row, bool counts, uint64_t value,
                const char *help)
{
    char name[64];
    if (is_gos(row))
        return;
    snprintf(name, sizeof(name), "%s%s", row, is_time(row) ? "_seconds" : "");
    (counts ? counter : gauge)(m, name, is_time(row) ? (double)value / 1e9 : (double)value, help);
}

static void rows_of_totals(const struct metrics *m)
{
    enum { GAUGE, COUNTER };
#define OWN_ROW(name, kind, help) own(m, #name, (kind) == COUNTER, m->page->totals.name, help);
    TOTALS(OWN_ROW)
#undef OWN_ROW
}

static void interlock(const struct metrics *m)
{
    head(m, "interlock", "gauge",
         "1 while something in the program keeps leaks from being reclaimed.");
    fprintf(m->out, "%s_interlock{reason=\"", m->prefix);
    print_escaped(m->out, m->page->interlock);
    fprintf(m->out, "\"} %d\n", m->page->interlock[0] != '\0');
}

static void info(const struct metrics *m)
{
    head(m, "info", "gauge", "The process.");
    fprintf(m->out, "%s_info{pid=\"%d\",program=\"", m->prefix, m->process->pid);
    print_escaped(m->out, m->process->name);
    fprintf(m->out, "\"} 1\n");
    gauge(m, "start_time_seconds", (double)m->page->started_unix_ns / 1e9,
          "Seconds since 1970 at the process's start.");
}

void metrics_write(FILE *out, const char *prefix, const struct process *process,
                   const struct stats_page *page)
{
    struct metrics m = {out, prefix, process, page};
    pauses(&m);
    info(&m);
    memstats(&m);
    gc(&m);
    rows_of_totals(&m);
    interlock(&m);
    fprintf(out, "# EOF\n");
}

/* ---- the command ----------------------------------------------------------------------------- */

struct order {
    const char *pid, *prefix, *path;
    uint64_t every, timeout;
};

static enum status cannot_write(const char *path)
{
    return fault(STATUS_OUTPUT, "%s: %s", path, strerror(errno));
}

static enum status write_file(const struct order *order, const struct process *p,
                              const struct stats_page *page)
{
    char fresh[4096];
    snprintf(fresh, sizeof(fresh), "%s.%d.new", order->path, (int)getpid());
    FILE *out = fopen(fresh, "we");
    if (out == NULL)
        return cannot_write(fresh);
    metrics_write(out, order->prefix, p, page);
    bool written = ferror(out) == 0;
    written = fclose(out) == 0 && written;
    if (written && rename(fresh, order->path) == 0)
        return STATUS_OK;
    enum status status = cannot_write(order->path);
    unlink(fresh);
    return status;
}

static enum status write_once(const struct order *order, struct process *p)
{
    static struct stats_page page;
    enum status status = process_look_anew(p, &page, order->every + 2 * NS_PER_SECOND);
    if (status != STATUS_OK)
        return status;
    if (order->path != NULL)
        return write_file(order, p, &page);
    metrics_write(stdout, order->prefix, p, &page);
    return fflush(stdout) == 0 ? STATUS_OK : cannot_write("standard output");
}

/* Until the process ends, which is no fault of its own here. The file goes with it: what it says
 * is true no more. */
static enum status write_again(const struct order *order, struct process *p)
{
    struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
    enum status status = write_once(order, p);
    if (status != STATUS_OK)
        return status;
    while (status == STATUS_OK && poll(&end, 1, (int)(order->every / NS_PER_MS)) <= 0)
        status = write_once(order, p);
    unlink(order->path);
    return process_ended(p) ? STATUS_OK : status;
}

static enum status run(const struct order *order)
{
    struct process p;
    enum status status = process_find(&p, order->pid);
    if (status != STATUS_OK)
        return status;
    if (order->timeout != 0)
        p.answer_ns = order->timeout;
    status = process_attach(&p);
    if (status == STATUS_OK)
        status = order->every != 0 ? write_again(order, &p) : write_once(order, &p);
    process_release(&p);
    return status;
}

static bool is_name(const char *text)
{
    bool good = isalpha((unsigned char)*text) || *text == '_' || *text == ':';
    for (; good && *text != '\0'; text++)
        good = isalnum((unsigned char)*text) || *text == '_' || *text == ':';
    return good;
}

static enum status check(const struct order *order)
{
    if (!is_name(order->prefix))
        return fault(STATUS_USAGE, "--prefix: '%s' is no name of a metric", order->prefix);
    if (order->every != 0 && order->path == NULL)
        return fault(STATUS_USAGE, "--every needs --output PATH");
    return STATUS_OK;
}

int metrics_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"prefix", required_argument, NULL, 'p'}, {"every", required_argument, NULL, 'e'},
        {"output", required_argument, NULL, 'o'}, {"timeout", required_argument, NULL, 't'}, {0}};
    struct order order = {.prefix = "gcmalloc"};
    for (int c; (c = getopt_long(argc, argv, "o:", options, NULL)) != -1;) {
        enum status status = STATUS_OK;
        if (c == 'p')
            order.prefix = optarg;
        else if (c == 'o')
            order.path = optarg;
        else if (c == 'e')
            status = values_seconds("--every", optarg, &order.every);
        else if (c == 't')
            status = values_seconds("--timeout", optarg, &order.timeout);
        else
            status = STATUS_USAGE;
        if (status != STATUS_OK)
            return status;
    }
    order.pid = values_only(argv[0], argc, argv);
    enum status status = order.pid == NULL ? STATUS_USAGE : check(&order);
    return status == STATUS_OK ? run(&order) : status;
}
