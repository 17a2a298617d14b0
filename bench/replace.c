/* replace.c -- what does an allocation cost in a program with a small, mixed, ever-changing live
 * set?
 *
 * BLOCKS live blocks of LEAST to MOST bytes; each step frees one at random and allocates another
 * of random size in its place. Every size class is in play, and no free is the mirror of the last
 * malloc.
 *
 *     replace [BLOCKS=1000] [LEAST=16] [MOST=1024] [STEPS=10000000] */
#include "bench.h"

struct workload {
    void **blocks;
    size_t count, least, most;
    uint64_t rng;
};

static void replace_many(struct workload *w, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++) {
        void **slot = &w->blocks[rng_below(&w->rng, w->count)];
        free(*slot);
        *slot = allocate(rng_between(&w->rng, w->least, w->most));
    }
}

int main(int argc, char **argv)
{
    struct workload w = {
        .count = arg_count(argc, argv, 1, 1000),
        .least = arg_count(argc, argv, 2, 16),
        .most = arg_count(argc, argv, 3, 1024),
        .rng = 1,
    };
    uint64_t steps = arg_count(argc, argv, 4, 10000000);
    if (w.least > w.most)
        die("LEAST is above MOST");
    w.blocks = table_map(w.count * sizeof *w.blocks);
    char name[32];
    snprintf(name, sizeof name, "replace.%zu", w.count);

    replace_many(&w, steps / 10 + 10 * w.count);
    uint64_t start = now_ns();
    replace_many(&w, steps);
    report(name, "time", (double)(now_ns() - start) / (double)steps, "ns");
    report_peak(name);
    for (size_t i = 0; i < w.count; i++)
        free(w.blocks[i]);
}
