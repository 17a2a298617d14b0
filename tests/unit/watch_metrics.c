/* watch_metrics.c -- the text, line by line. That Prometheus's own parsers take it is tested with
 * the gcmalloc command (tests/cli/run_live.py). */
#include "watch/metrics.h"

#include "unit.h"

static struct stats_page page;
static char text[64 << 10];
static size_t lines, longest;

static void take(const char *line, void *data)
{
    size_t length = strlen(line);
    EXPECT(data == &page && length > 1 && strchr(line, '\n') == line + length - 1);
    EXPECT(strlen(text) + length < sizeof text);
    strcat(text, line);
    lines++;
    longest = length > longest ? length : longest;
}

static void print(const char *prefix, const char *program)
{
    struct metrics_source source = {prefix, program, 42, 2, &page};
    text[0] = '\0';
    lines = longest = 0;
    metrics_each_line(&source, take, &page);
}

static bool has(const char *line)
{
    const char *at = strstr(text, line);
    bool found = at != NULL && (at == text || at[-1] == '\n');
    if (!found)
        printf("    not there: %s", line);
    return found;
}

static void begin(void)
{
    memset(&page, 0, sizeof page);
    page.started_unix_ns = 1700000000000000042;
    page.renewed = 4000000000;
}

static void test_numbers(void)
{
    begin();
    page.totals.heap_used = 12345678901234567;
    page.totals.pause_longest = 1500;
    page.totals.collector_time = 2000000000;
    page.totals.cycles = 9;
    page.totals.cycles_forced = 4;
    page.totals.last_cycle = 1000000000;
    page.totals.contradictions = 3;
    print("p", "prog");
    EXPECT(has("# HELP p_memstats_alloc_bytes Bytes allocated and still in use.\n"
               "# TYPE p_memstats_alloc_bytes gauge\n# UNIT p_memstats_alloc_bytes bytes\n"
               "p_memstats_alloc_bytes 12345678901234567\n"));
    EXPECT(has("p_pause_longest_seconds 0.000001500\n"));
    EXPECT(has("p_collector_time_seconds_total 2.000000000\n"));
    EXPECT(has("p_memstats_gc_cpu_fraction 0.250000000\n"));
    EXPECT(has("p_gc_cycles_automatic_gc_cycles_total 5\n"));
    EXPECT(has("p_memstats_last_gc_time_seconds 1700000001.000000042\n"));
    EXPECT(has("p_start_time_seconds 1700000000.000000042\n"));
    EXPECT(has("p_contradictions_total 3\n"));
    EXPECT(strstr(text, "p_heap_used") == NULL); /* it has Go's name */
    EXPECT_TEXT(text + strlen(text) - 6, "# EOF\n");
}

static void test_pauses(void)
{
    static const uint64_t paused[] = {50, 10, 40, 20, 30};
    begin();
    print("p", "prog");
    EXPECT(has("p_gc_duration_seconds{quantile=\"1\"} 0.000000000\n"));
    for (size_t i = 0; i < 5; i++) {
        page.cycles[(i + 254) % STATS_CYCLES].number = i + 1;
        page.cycles[(i + 254) % STATS_CYCLES].paused = paused[i];
    }
    page.totals.pause_total = 150;
    page.totals.cycles = 5;
    print("p", "prog");
    EXPECT(has("p_gc_duration_seconds{quantile=\"0\"} 0.000000010\n"
               "p_gc_duration_seconds{quantile=\"0.25\"} 0.000000020\n"
               "p_gc_duration_seconds{quantile=\"0.5\"} 0.000000030\n"
               "p_gc_duration_seconds{quantile=\"0.75\"} 0.000000040\n"
               "p_gc_duration_seconds{quantile=\"1\"} 0.000000050\n"
               "p_gc_duration_seconds_sum 0.000000150\np_gc_duration_seconds_count 5\n"));
}

static void test_texts(void)
{
    begin();
    strcpy(page.interlock, "a \"b\"\\\n\x01\xc3");
    print("p", "x\"y");
    EXPECT(has("p_interlock{reason=\"a \\\"b\\\"\\\\\\n??\"} 1\n"));
    EXPECT(has("p_info{pid=\"42\",program=\"x\\\"y\"} 1\n"));
}

/* .inv.room */
static void test_longest(void)
{
    static char prefix[METRICS_PREFIX_MAX + 1], program[65];
    begin();
    memset(page.interlock, '"', STATS_TEXT - 1);
    memset(prefix, 'x', METRICS_PREFIX_MAX);
    memset(program, '\\', 64);
    print(prefix, program);
    EXPECT(longest < 1000 && lines > 150);
    EXPECT(strstr(text, "\"} 1\n") != NULL);
    EXPECT_TEXT(text + strlen(text) - 6, "# EOF\n");
}

UNIT_MAIN(TEST(test_numbers), TEST(test_pauses), TEST(test_texts), TEST(test_longest))
