/* mstress.c -- what does a server cost whose threads come and go, keep some blocks to their end,
 * drop others at once, and pass blocks among each other, some of which outlive their thread?
 *
 * After the published description of mimalloc's stress test ("mstress" in mimalloc-bench): sizes
 * are powers of two, each as frequent as the next, some a hundred times as large and a few a
 * thousand times; every block is written when it is made and read when it is freed; blocks go from
 * thread to thread through TRANSFERS common slots; threads end and are started again ITERATIONS
 * times, the blocks in the slots live on. Thread t makes 100 * SCALE * (t % 8 + 1) blocks an
 * iteration, half as many again it retains until its end. Its list of blocks grows by realloc.
 *
 * Which thread gets which block depends on the scheduler; how many are made does not. Time is wall
 * clock for each block made, all threads together.
 *
 *     mstress [THREADS=2] [SCALE=50] [ITERATIONS=300] */
#include "threads.h"

#include <stdatomic.h>

/* LIST_STEP: slots by which a thread's list grows. FLUSH: iterations after which the common slots
 * are emptied, so that no block lives for ever. */
enum { TRANSFERS = 1000, LIST_STEP = 4096, SIZES_LOG = 5, FLUSH = 10 };

struct worker {
    _Alignas(LINE) unsigned index;
    uint64_t rng, made;
    size_t scale;
    uint64_t **list, **retained;
    size_t listed, room;
};

static _Atomic(uint64_t *) transfers[TRANSFERS];

static bool chance(struct worker *w, unsigned percent)
{
    return rng_below(&w->rng, 100) < percent;
}

/* A block of words; the first says how many there are, each other one can be checked. */
static uint64_t *item_new(struct worker *w)
{
    size_t words = (size_t)1 << rng_below(&w->rng, SIZES_LOG);
    if (chance(w, 1))
        words *= chance(w, 10) ? 1000 : 100;
    uint64_t *item = allocate(words * sizeof *item);
    item[0] = words;
    for (size_t i = 1; i < words; i++)
        item[i] = words ^ i;
    w->made++;
    return item;
}

static void item_free(uint64_t *item)
{
    if (!item)
        return;
    for (size_t i = 1; i < item[0]; i++)
        if (item[i] != (item[0] ^ i))
            die("a block is not what was written");
    free(item);
}

static void list_add(struct worker *w, uint64_t *item)
{
    if (w->listed == w->room) {
        w->room += LIST_STEP;
        w->list = realloc(w->list, w->room * sizeof *w->list);
        if (!w->list)
            die("out of memory");
    }
    w->list[w->listed++] = item;
}

/* What may befall a thread's older blocks after each new one. */
static void list_stir(struct worker *w)
{
    if (w->listed && chance(w, 66)) {
        uint64_t **slot = &w->list[rng_below(&w->rng, w->listed)];
        item_free(*slot);
        *slot = NULL;
    }
    if (w->listed && chance(w, 25)) {
        uint64_t **slot = &w->list[rng_below(&w->rng, w->listed)];
        *slot = atomic_exchange(&transfers[rng_below(&w->rng, TRANSFERS)], *slot);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    size_t due = 100 * w->scale * (w->index % 8 + 1), retain = due / 2, retained = 0;
    w->retained = allocate(retain * sizeof *w->retained);
    while (due || retained < retain) {
        if (retained == retain || (due && chance(w, 50))) {
            list_add(w, item_new(w));
            due--;
        } else {
            w->retained[retained++] = item_new(w);
        }
        list_stir(w);
    }
    for (size_t i = 0; i < retained; i++)
        item_free(w->retained[i]);
    for (size_t i = 0; i < w->listed; i++)
        item_free(w->list[i]);
    free(w->retained);
    free(w->list);
    w->list = NULL;
    w->listed = w->room = 0;
    return NULL;
}

static void transfers_free(void)
{
    for (size_t i = 0; i < TRANSFERS; i++)
        item_free(atomic_exchange(&transfers[i], NULL));
}

int main(int argc, char **argv)
{
    unsigned threads = (unsigned)arg_count(argc, argv, 1, 2);
    size_t scale = arg_count(argc, argv, 2, 50);
    uint64_t iterations = arg_count(argc, argv, 3, 300), made = 0;
    struct worker *workers = table_map(threads * sizeof *workers);
    for (unsigned t = 0; t < threads; t++)
        workers[t] = (struct worker){.index = t, .rng = t + 1, .scale = scale};
    char name[32];
    snprintf(name, sizeof name, "mstress.%u", threads);

    uint64_t start = now_ns();
    for (uint64_t i = 1; i <= iterations; i++) {
        threads_run(worker_main, workers, sizeof *workers, threads);
        if (i % FLUSH == 0 || i == iterations)
            transfers_free();
    }
    double ns = (double)(now_ns() - start);
    for (unsigned t = 0; t < threads; t++)
        made += workers[t].made;
    report(name, "time", ns / (double)made, "ns");
    report_peak(name);
}
