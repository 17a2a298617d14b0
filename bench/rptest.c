/* rptest.c -- what does a random mix of small and middling blocks cost, scattered over a thread's
 * own table, with some freed by another thread?
 *
 * After the published description of rpmalloc's benchmark (BENCHMARKS.md there; "rptest" in
 * mimalloc-bench). Each thread has BLOCKS slots and makes LOOPS loops. In each, OPERATIONS blocks
 * scattered over the table are freed, then as many are allocated, scattered too, which frees what
 * lies in their slots; every CROSS-th loop as many more are allocated and given to the next thread,
 * which frees them (unless it lags behind, inbox.h). Sizes lie in LEAST..MOST, DISTRIBUTION says
 * how: `even`, `linear` (falling linearly to none at MOST) or `exponential`. They are drawn before
 * the clock starts. Time is wall clock for each block allocated, all threads together.
 *
 *     rptest [THREADS=2] [DISTRIBUTION=linear] [CROSS=2] [LOOPS=12000] [BLOCKS=1000]
 *            [OPERATIONS=100] [LEAST=8] [MOST=16000] */
#include "inbox.h"
#include "threads.h"

#include <math.h>

/* SIZES: sizes drawn, a prime, so that slots and sizes do not fall into step. SCATTER: a stride
 * that shares no factor with a table of any usual size. */
enum { SIZES = 7919, SCATTER = 7907 };
/* Exponential falloff: e^-6, one in 400, at the upper end relative to the lower. */
static const double FALLOFF = 6;

struct plan {
    size_t sizes[SIZES];
    size_t blocks, operations;
    uint64_t loops, cross;
};

struct worker {
    _Alignas(LINE) struct inbox inbox;
    _Alignas(LINE) const struct plan *plan;
    struct inbox *next;
    void **table;
    uint64_t slot, size, made;
};

/* Where between 0 and 1 a size lies, for a uniform `u`: the inverse of the distribution. */
static double place_of(const char *distribution, double u)
{
    if (!strcmp(distribution, "even"))
        return u;
    if (!strcmp(distribution, "linear"))
        return 1 - sqrt(1 - u);
    if (!strcmp(distribution, "exponential"))
        return -log(1 - u * (1 - exp(-FALLOFF))) / FALLOFF;
    die("DISTRIBUTION is even, linear or exponential");
    return 0;
}

static void plan_draw(struct plan *plan, const char *distribution, size_t least, size_t most)
{
    uint64_t rng = 11;
    for (size_t i = 0; i < SIZES; i++) {
        double u = (double)(rng_next(&rng) >> 11) * 0x1p-53;
        plan->sizes[i] = least + (size_t)(place_of(distribution, u) * (double)(most - least));
    }
}

static void *next_block(struct worker *w)
{
    w->made++;
    return allocate(w->plan->sizes[w->size++ % SIZES]);
}

static void **next_slot(struct worker *w)
{
    w->slot = (w->slot + SCATTER) % w->plan->blocks;
    return &w->table[w->slot];
}

static void send_away(struct worker *w)
{
    struct parcel *p = parcel_new(w->plan->operations);
    while (p->count < w->plan->operations)
        p->blocks[p->count++] = next_block(w);
    inbox_push(w->next, p);
}

static void loop_once(struct worker *w, bool cross)
{
    for (size_t i = 0; i < w->plan->operations; i++) {
        void **slot = next_slot(w);
        free(*slot);
        *slot = NULL;
    }
    /* The second walk over the table is not in step with the first. */
    w->slot++;
    for (size_t i = 0; i < w->plan->operations; i++) {
        void **slot = next_slot(w);
        free(*slot);
        *slot = next_block(w);
    }
    if (cross)
        send_away(w);
    inbox_empty(&w->inbox);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (uint64_t i = 1; i <= w->plan->loops; i++)
        loop_once(w, i % w->plan->cross == 0);
    for (size_t i = 0; i < w->plan->blocks; i++)
        free(w->table[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct plan plan;
    unsigned threads = (unsigned)arg_count(argc, argv, 1, 2);
    const char *distribution = arg_word(argc, argv, 2, "linear");
    plan.cross = arg_count(argc, argv, 3, 2);
    plan.loops = arg_count(argc, argv, 4, 12000);
    plan.blocks = arg_count(argc, argv, 5, 1000);
    plan.operations = arg_count(argc, argv, 6, 100);
    plan_draw(&plan, distribution, arg_count(argc, argv, 7, 8), arg_count(argc, argv, 8, 16000));
    struct worker *workers = table_map(threads * sizeof *workers);
    for (unsigned t = 0; t < threads; t++) {
        workers[t].plan = &plan;
        workers[t].next = &workers[(t + 1) % threads].inbox;
        workers[t].table = table_map(plan.blocks * sizeof *workers[t].table);
        workers[t].size = t * 1009;
    }
    char name[48];
    snprintf(name, sizeof name, "rptest.%s.%u", distribution, threads);

    double ns = (double)threads_run(worker_main, workers, sizeof *workers, threads);
    uint64_t made = 0;
    for (unsigned t = 0; t < threads; t++) {
        inbox_empty(&workers[t].inbox);
        made += workers[t].made;
    }
    report(name, "time", ns / (double)made, "ns");
    report_peak(name);
}
