/* watch_trace.c -- the gctrace line, held against the pattern that Go's tools parse it with.
 *
 * Go's documentation of runtime, GODEBUG gctrace=1:
 *     gc # @#s #%: #+#+# ms clock, #+#/#/#+# ms cpu, #->#-># MB, # MB goal, # MB stacks,
 *     #MB globals, # P
 * and runtime/mgc.go, which prints it: " MB globals, ", and " (forced)" at the end of the line for
 * cycles that the program asked for. */
#include "watch/trace.h"

#include "said.h"

#include <regex.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define N "([0-9]+)"
#define T "([0-9]+(\\.[0-9]+)?)"

static const char go_line[] =
    "^gc " N " @" T "s " N "%: " T "\\+" T "\\+" T " ms clock, " T "\\+" T "/" T "/" T "\\+" T
    " ms cpu, " N "->" N "->" N " MB, " N " MB goal, " N " MB stacks, " N " MB globals, " N
    " P( \\(forced\\))?\n$";

enum { GROUPS = 64 };

static char line[1024];
static regmatch_t groups[GROUPS];

static void capture(const struct cycle_record *r)
{
    struct said s = said_begin();
    trace_cycle(r);
    said_end(s, line, sizeof line);
}

static bool matches(void)
{
    regex_t pattern;
    if (!EXPECT(regcomp(&pattern, go_line, REG_EXTENDED) == 0))
        return false;
    bool good = regexec(&pattern, line, GROUPS, groups, 0) == 0;
    regfree(&pattern);
    if (!good)
        printf("    line: %s\n", line);
    return good;
}

/* The numbers of the line, in order, as doubles. */
static size_t numbers(double *out, size_t most)
{
    size_t count = 0;
    for (const char *at = line; *at != '\0' && count < most;) {
        if (*at < '0' || *at > '9') {
            at++;
            continue;
        }
        char *end;
        out[count++] = strtod(at, &end);
        at = end;
    }
    return count;
}

static bool close_to(double a, double b)
{
    return a - b < 0.0011 && b - a < 0.0011;
}

static void test_fields(void)
{
    cpu_set_t cpus;
    EXPECT(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    struct cycle_record r = {
        .number = 17, .reason = CYCLE_GROWTH, .begun = 2500 * 1000000ull, .stopping = 50000,
        .took = 1800000, .pauses = 3, .pause = 450000, .paused = 700000,
        .total = 260 * 1000000ull,
        .heap_before = 100 << 20, .heap_marked = 105 << 20, .live = 60 << 20, .goal = 120 << 20,
        .stack_bytes = 3 << 20, .root_bytes = 9 << 20,
    };
    capture(&r);
    double got[32];
    EXPECT(matches());
    if (!EXPECT(numbers(got, 32) == 18))
        return;
    const int p = CPU_COUNT(&cpus);
    const double want[] = {17, 2.5, (double)(int)(260.0 * 100 / (2501.8 * p)), 0.050, 1.1, 0.4,
                           0.050, 0, 1.1, 0, 0.65, 100, 105, 60, 120, 3, 9, p};
    for (size_t i = 0; i < GC_COUNT(want); i++)
        if (!EXPECT(close_to(got[i], want[i])))
            printf("    field %zu: %f, wanted %f\n", i, got[i], want[i]);
}

static void test_forced(void)
{
    for (int reason = CYCLE_GROWTH; reason <= CYCLE_EXIT; reason++) {
        struct cycle_record r = {.number = 1, .reason = (enum cycle_reason)reason, .begun = 1};
        capture(&r);
        EXPECT(matches());
        EXPECT((strstr(line, " (forced)\n") != NULL) == (reason != CYCLE_GROWTH));
    }
}

/* Nothing, and very much, are printed as numbers too. */
static void test_extremes(void)
{
    struct cycle_record r = {0};
    capture(&r);
    EXPECT(matches());
    r = (struct cycle_record){
        .number = UINT32_MAX, .begun = (uint64_t)400 * 86400 * 1000000000u,
        .stopping = 90000000000u, .took = 3600000000000u, .pauses = 12,
        .pause = 180000000000u, .paused = 360000000000u,
        .total = 7200000000000u,
        .heap_before = (int64_t)1 << 40, .heap_marked = (int64_t)1 << 40,
        .live = (int64_t)1 << 40, .goal = INT64_MAX / 2,
        .stack_bytes = (uint64_t)1 << 40, .root_bytes = (uint64_t)1 << 40,
    };
    capture(&r);
    EXPECT(matches());
}

UNIT_MAIN(TEST(test_fields), TEST(test_forced), TEST(test_extremes))
