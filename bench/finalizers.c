/* finalizers.c -- what does a finalizer cost, a weak reference, and their neighbours?
 *
 *     finalizers attach [BLOCKS=100000]
 *
 * `plain`: ns of processor time for malloc and free of a block of 64 bytes, BLOCKS of them
 * allocated and then freed, ten times. The others are ratios to that, for the same with something
 * attached in between: a finalizer, a cleanup, a weak reference that is read once and dropped; and
 * `beside`: nothing is attached to these, but to one block in each of their spans. `get`: ns for
 * reading a weak reference.
 *
 *     finalizers called [BLOCKS=1000000]
 *
 * BLOCKS blocks with finalizers. `held`: ms of a cycle that reaches all of them, and `held.stop`:
 * of its stops. Then they are lost. `lost.stop`: ms of the longest stop in which that was found,
 * and `call`: ns a block from there until the last was called. Needs confirm=1,probation=0.
 *
 * Under an allocator that is not the library there is `plain` alone. */
#include "bench.h"
#include "gcmalloc.h"

#include <stdatomic.h>

enum { SIZE = 64, ROUNDS = 10, NEIGHBOURS = 64, CYCLES_MOST = 100, NAP_US = 200 };

static uint64_t blocks;
static void **table;       /* of the live blocks; what it holds is seen, unless it is hidden */
static gcmalloc_weak **weaks;
static atomic_ulong called;

static void count_call(void *block, void *data)
{
    use(block);
    use(data);
    called++;
}

static void count_cleanup(void *data)
{
    use(data);
}

enum what { NOTHING, FINALIZER, CLEANUP, WEAK, BESIDE };

static void attach(uint64_t i, enum what what)
{
    if (what == FINALIZER && gcmalloc_set_finalizer(table[i], count_call, NULL) != 0)
        die("gcmalloc_set_finalizer failed");
    if (what == CLEANUP && gcmalloc_add_cleanup(table[i], count_cleanup, NULL) == 0)
        die("gcmalloc_add_cleanup failed");
    if (what == WEAK || (what == BESIDE && i % NEIGHBOURS == 0))
        weaks[i] = gcmalloc_weak_new(table[i]);
    if (what == WEAK)
        use(gcmalloc_weak_get(weaks[i]));
}

static void detach(uint64_t i, enum what what)
{
    if (what == WEAK)
        gcmalloc_weak_drop(weaks[i]);
}

/* Of this thread: nobody else takes part. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* With BESIDE those that have something attached stay, and are not counted. */
static double ns_per_block(enum what what)
{
    uint64_t taken = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t begun = cpu_ns();
        for (uint64_t i = 0; i < blocks; i++) {
            if (what == BESIDE && round != 0 && i % NEIGHBOURS == 0)
                continue;
            table[i] = allocate(SIZE);
            if (what != BESIDE || round == 0)
                attach(i, what);
        }
        for (uint64_t i = 0; i < blocks; i++) {
            if (what == BESIDE && i % NEIGHBOURS == 0)
                continue;
            free(table[i]);
            detach(i, what);
        }
        taken += what == BESIDE && round == 0 ? 0 : cpu_ns() - begun;
    }
    uint64_t counted = what == BESIDE ? (ROUNDS - 1) * (blocks - blocks / NEIGHBOURS)
                                      : ROUNDS * blocks;
    return (double)taken / (double)counted;
}

static void end_beside(void)
{
    for (uint64_t i = 0; i < blocks; i += NEIGHBOURS) {
        free(table[i]);
        gcmalloc_weak_drop(weaks[i]);
    }
}

static double ns_per_get(void)
{
    void *block = allocate(SIZE);
    gcmalloc_weak *weak = gcmalloc_weak_new(block);
    uint64_t begun = cpu_ns();
    for (uint64_t i = 0; i < ROUNDS * blocks; i++)
        use(gcmalloc_weak_get(weak));
    uint64_t took = cpu_ns() - begun;
    gcmalloc_weak_drop(weak);
    free(block);
    return (double)took / (double)(ROUNDS * blocks);
}

static void measure_attach(void)
{
    blocks = blocks == 0 ? 100000 : blocks;
    ns_per_block(NOTHING);
    double plain = ns_per_block(NOTHING);
    report("finalizers", "plain", plain, "ns");
    if (!gcmalloc_active())
        return;
    report("finalizers", "finalizer", ns_per_block(FINALIZER) / plain, "x");
    report("finalizers", "cleanup", ns_per_block(CLEANUP) / plain, "x");
    report("finalizers", "weak", ns_per_block(WEAK) / plain, "x");
    report("finalizers", "beside", ns_per_block(BESIDE) / plain, "x");
    end_beside();
    report("finalizers", "get", ns_per_get(), "ns");
}

/* ---- called ---- */

static struct gcmalloc_stats stats;

/* Of the stops of the cycles since `before`, the longest, in ms. */
static double longest_stop(uint32_t before)
{
    uint64_t longest = 0;
    stats.size = sizeof stats;
    gcmalloc_read_stats(&stats);
    for (uint32_t n = before + 1; n <= stats.num_gc; n++) {
        uint64_t pause = stats.pause_ns[(n + GCMALLOC_PAUSES - 1) % GCMALLOC_PAUSES];
        longest = pause > longest ? pause : longest;
    }
    return (double)longest / 1e6;
}

static uint32_t cycles(void)
{
    stats.size = sizeof stats;
    gcmalloc_read_stats(&stats);
    return stats.num_gc;
}

/* The last few stay where their addresses lie by chance. */
static void wait_for_calls(void)
{
    for (int i = 0; i < CYCLES_MOST && called < blocks - blocks / 1000; i++) {
        gcmalloc_collect();
        for (unsigned long seen = called + 1; seen != called; usleep(NAP_US))
            seen = called;
    }
    if (called < blocks - blocks / 1000)
        die("most finalizers were not called: confirm=1,probation=0 is needed");
}

static void measure_called(void)
{
    blocks = blocks == 0 ? 1000000 : blocks;
    if (!gcmalloc_active())
        die("the library is needed");
    for (uint64_t i = 0; i < blocks; i++) {
        table[i] = allocate(SIZE);
        attach(i, FINALIZER);
    }
    uint32_t before = cycles();
    uint64_t begun = now_ns();
    gcmalloc_collect();
    report("finalizers", "held", (double)(now_ns() - begun) / 1e6, "ms");
    report("finalizers", "held.stop", longest_stop(before), "ms");
    memset(table, 0, blocks * sizeof(void *));
    before = cycles();
    begun = now_ns();
    wait_for_calls();
    report("finalizers", "call", (double)(now_ns() - begun) / (double)blocks, "ns");
    report("finalizers", "lost.stop", longest_stop(before), "ms");
}

int main(int argc, char **argv)
{
    const char *what = arg_word(argc, argv, 1, "attach");
    blocks = argc > 2 ? arg_count(argc, argv, 2, 1) : 0;
    size_t room = (blocks > 1000000 ? blocks : 1000000) * sizeof(void *);
    table = table_map(room);
    weaks = table_map(room);
    if (strcmp(what, "called") == 0)
        measure_called();
    else
        measure_attach();
    report_peak("finalizers");
}
