/* larson.c -- how fast is a server whose worker threads come and go, and hand their blocks on?
 *
 * After Larson and Krishnan, "Memory allocation for long-running server applications" (ISMM 1998).
 * Each of THREADS chains owns BLOCKS blocks of LEAST to MOST bytes and replaces one at random,
 * STEPS times; then it starts its successor, which inherits the blocks, and exits. So most frees
 * are of blocks that a thread now dead had allocated. Time is wall clock for each replacement, all
 * chains together.
 *
 *     larson [THREADS=2] [BLOCKS=5000] [LEAST=8] [MOST=1000] [STEPS=250000] [GENERATIONS=10] */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>

struct chain {
    void **blocks;
    size_t count, least, most;
    uint64_t steps, generations, rng;
    sem_t *done;
};

static void *generation_main(void *arg);

static void generation_start(struct chain *c)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, generation_main, c))
        die("pthread_create failed");
    pthread_detach(thread);
}

static void *generation_main(void *arg)
{
    struct chain *c = arg;
    for (uint64_t i = 0; i < c->steps; i++) {
        void **slot = &c->blocks[rng_below(&c->rng, c->count)];
        free(*slot);
        *slot = allocate(rng_between(&c->rng, c->least, c->most));
    }
    if (--c->generations)
        generation_start(c);
    else
        sem_post(c->done);
    return NULL;
}

/* The first blocks come from the main thread, as in the original. */
static void chain_init(struct chain *c, const struct chain *model, uint64_t seed)
{
    *c = *model;
    c->rng = seed;
    c->blocks = table_map(c->count * sizeof *c->blocks);
    for (size_t i = 0; i < c->count; i++)
        c->blocks[i] = allocate(rng_between(&c->rng, c->least, c->most));
}

int main(int argc, char **argv)
{
    sem_t done;
    sem_init(&done, 0, 0);
    uint64_t threads = arg_count(argc, argv, 1, 2);
    struct chain model = {
        .count = arg_count(argc, argv, 2, 5000),
        .least = arg_count(argc, argv, 3, 8),
        .most = arg_count(argc, argv, 4, 1000),
        .steps = arg_count(argc, argv, 5, 250000),
        .generations = arg_count(argc, argv, 6, 10),
        .done = &done,
    };
    double total = (double)(threads * model.steps * model.generations);
    struct chain *chains = table_map(threads * sizeof *chains);
    for (uint64_t t = 0; t < threads; t++)
        chain_init(&chains[t], &model, t + 1);
    char name[32];
    snprintf(name, sizeof name, "larson.%u", (unsigned)threads);

    uint64_t start = now_ns();
    for (uint64_t t = 0; t < threads; t++)
        generation_start(&chains[t]);
    for (uint64_t t = 0; t < threads; t++)
        while (sem_wait(&done))
            ;
    report(name, "time", (double)(now_ns() - start) / total, "ns");
    report_peak(name);
}
