/* glibc_thread.c -- what does an allocation cost in threads that do not know of each other, where
 * small blocks are far more frequent than large ones?
 *
 * After the description of glibc's bench-malloc-thread: each thread has 1,024 slots and replaces
 * the block in a random one by one of random size, 4 to 32,768 bytes, sizes following an inverse
 * square: twice the size, a quarter of the frequency. Slots and sizes are drawn before the clock
 * starts. STEPS is for all threads together; so is the time, wall clock for each replacement.
 *
 *     glibc_thread [THREADS=1] [STEPS=20000000] */
#include "threads.h"

enum { SLOTS = 1024, LEAST = 4, MOST = 32768, DRAWN = 1 << 16 };

struct worker {
    _Alignas(LINE) void *slots[SLOTS];
    uint64_t steps, first;
};

static struct {
    uint32_t sizes[DRAWN], slots[DRAWN];
} drawn;

/* The inverse of the distribution whose density falls with the square of the size. */
static void draw(void)
{
    uint64_t rng = 88;
    for (size_t i = 0; i < DRAWN; i++) {
        double u = (double)(rng_next(&rng) >> 11) * 0x1p-53;
        drawn.sizes[i] = (uint32_t)(1 / (1.0 / LEAST - u * (1.0 / LEAST - 1.0 / MOST)));
        drawn.slots[i] = (uint32_t)rng_below(&rng, SLOTS);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (uint64_t i = w->first; i < w->first + w->steps; i++) {
        void **slot = &w->slots[drawn.slots[i % DRAWN]];
        free(*slot);
        *slot = allocate(drawn.sizes[i % DRAWN]);
    }
    for (size_t i = 0; i < SLOTS; i++)
        free(w->slots[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned threads = (unsigned)arg_count(argc, argv, 1, 1);
    uint64_t steps = arg_count(argc, argv, 2, 20000000) / threads;
    struct worker *workers = table_map(threads * sizeof *workers);
    for (unsigned t = 0; t < threads; t++) {
        workers[t].steps = steps;
        workers[t].first = t * 1009;
    }
    draw();
    char name[32];
    snprintf(name, sizeof name, "glibc.thread.%u", threads);

    double ns = (double)threads_run(worker_main, workers, sizeof *workers, threads);
    report(name, "time", ns / (double)(steps * threads), "ns");
    report_peak(name);
}
