/* scale.c -- how much do all threads get done together, when there are 1, 2, 8 or 64 of them?
 *
 * Each thread has BLOCKS live blocks of 16 to 1,024 bytes and replaces one at random (replace.c),
 * STEPS times for all threads together, so a perfect allocator takes the same time for any number
 * of threads from the number of processors on. One free in sixteen is of a block of the thread
 * before: even programs that share little share something. Time is wall clock for each step, all
 * threads together; render.py turns it around into million steps a second.
 *
 *     scale [THREADS=2] [STEPS=20000000] [BLOCKS=1000] */
#include "threads.h"

#include <stdatomic.h>

enum { LEAST = 16, MOST = 1024, SHARED = 16 };

struct worker {
    _Alignas(LINE) _Atomic(void *) handed; /* by this thread, for the next one to free */
    _Alignas(LINE) struct worker *before;
    void **blocks;
    size_t count;
    uint64_t steps, rng;
};

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (uint64_t i = 0; i < w->steps; i++) {
        void **slot = &w->blocks[rng_below(&w->rng, w->count)];
        if (i % SHARED == 0) {
            *slot = atomic_exchange(&w->handed, *slot);
            free(atomic_exchange(&w->before->handed, NULL));
        }
        free(*slot);
        *slot = allocate(rng_between(&w->rng, LEAST, MOST));
    }
    for (size_t i = 0; i < w->count; i++)
        free(w->blocks[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned threads = (unsigned)arg_count(argc, argv, 1, 2);
    uint64_t steps = arg_count(argc, argv, 2, 20000000) / threads;
    size_t count = arg_count(argc, argv, 3, 1000);
    struct worker *workers = table_map(threads * sizeof *workers);
    for (unsigned t = 0; t < threads; t++) {
        struct worker *w = &workers[t];
        w->before = &workers[(t + threads - 1) % threads];
        w->blocks = table_map(count * sizeof *w->blocks);
        w->count = count;
        w->steps = steps;
        w->rng = t + 1;
    }
    char name[32];
    snprintf(name, sizeof name, "scale.%u", threads);

    double ns = (double)threads_run(worker_main, workers, sizeof *workers, threads);
    report(name, "time", ns / (double)(steps * threads), "ns");
    report_peak(name);
    for (unsigned t = 0; t < threads; t++)
        free(atomic_load(&workers[t].handed));
}
