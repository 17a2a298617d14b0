/* false_sharing.c -- does the allocator put blocks of different threads into one cache line?
 *
 * After Berger, McKinley, Blumofe and Wilson, "Hoard: a scalable memory allocator for
 * multithreaded applications" (ASPLOS 2000). HOW is one of its two tests:
 *
 *   thrash    Active false sharing: each thread allocates a block, writes it many times, frees it,
 *             over and over. It suffers when the allocator cuts one line up for two threads.
 *   scratch   Passive false sharing: the main thread has first allocated a block for each thread,
 *             side by side; each frees the one that it was given, then does as in thrash. It
 *             suffers when a thread's free of such a block makes it that thread's to use again.
 *
 * WRITES, as in the original, is the number for all threads together in each of ROUNDS rounds:
 * twice the threads on twice the processors should take half the time. Time is wall clock for one
 * write of a whole block, all threads together.
 *
 *     false_sharing [HOW=thrash] [THREADS=2] [ROUNDS=1000] [SIZE=8] [WRITES=200000] */
#include "threads.h"

struct worker {
    _Alignas(LINE) char *given;
    size_t size;
    uint64_t rounds, writes;
};

/* volatile: each write shall reach the line. */
static void write_often(volatile char *block, size_t size, uint64_t writes)
{
    for (uint64_t i = 0; i < writes; i++)
        for (size_t k = 0; k < size; k++)
            block[k]++;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    free(w->given);
    for (uint64_t i = 0; i < w->rounds; i++) {
        char *block = calloc(1, w->size);
        if (!block)
            die("out of memory");
        write_often(block, w->size, w->writes);
        free(block);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *how = arg_word(argc, argv, 1, "thrash");
    unsigned threads = (unsigned)arg_count(argc, argv, 2, 2);
    bool scratch = !strcmp(how, "scratch");
    if (!scratch && strcmp(how, "thrash"))
        die("HOW is thrash or scratch");
    struct worker model = {
        .rounds = arg_count(argc, argv, 3, 1000),
        .size = arg_count(argc, argv, 4, 8),
        .writes = arg_count(argc, argv, 5, 200000) / threads,
    };
    struct worker *workers = table_map(threads * sizeof *workers);
    for (unsigned t = 0; t < threads; t++) {
        workers[t] = model;
        workers[t].given = scratch ? allocate(model.size) : NULL;
    }
    char name[48];
    snprintf(name, sizeof name, "cache.%s.%u", how, threads);

    double ns = (double)threads_run(worker_main, workers, sizeof *workers, threads);
    report(name, "time", ns / (double)(model.rounds * model.writes * threads), "ns");
    report_peak(name);
}
