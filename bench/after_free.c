/* after_free.c -- how much memory does a program hold ten seconds after it has freed what it needed
 * for a while?
 *
 * A server keeps BASE_KIB KiB and then serves a peak: THREADS threads together allocate GROW_MIB
 * MiB of blocks of a request server's sizes, in lists, and free them all; one in four is freed by
 * another thread. Then all are idle: the threads sleep and stay, as in a pool. The main thread
 * sleeps too (HOW = `idle`), or allocates and frees a small block each ten milliseconds (`tick`):
 * some allocators give memory back only while they are called.
 *
 *   start     resident with BASE_KIB live, before the peak, in KiB
 *   peak      at the peak
 *   freed     when all is freed
 *   after     SECONDS later
 *   kept      after over start; 1 is: all of it was given back
 *
 *     after_free [HOW=tick] [BASE_KIB=65536] [GROW_MIB=256] [SECONDS=10] [THREADS=4] */
#include "bench.h"

#include <pthread.h>

enum { TICK_NS = 10000000, TICK_SIZE = 100 };

/* A block of a list; the lists need no table, which would be resident. */
struct block {
    struct block *next;
};

struct worker {
    struct block *own, *others;
    uint64_t bytes, rng;
    struct worker *next;
    pthread_t thread;
};

static pthread_barrier_t step;
static pthread_mutex_t end = PTHREAD_MUTEX_INITIALIZER;

/* 94 % up to 512 bytes, 5 % up to 8 KiB, 1 % up to 64 KiB (tail.c). Filled, as real blocks are. */
static struct block *block_add(struct block *next, uint64_t *rng, uint64_t *bytes)
{
    uint64_t dice = rng_below(rng, 100);
    size_t size = rng_between(rng, 16, dice < 94 ? 512 : dice < 99 ? 8192 : 65536);
    struct block *b = memset(allocate(size), 1, size);
    b->next = next;
    *bytes += size;
    return b;
}

static void list_free(struct block *b)
{
    while (b) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
}

/* Three blocks in four are freed here, the fourth by the thread before. */
static void *worker_main(void *arg)
{
    struct worker *w = arg;
    uint64_t made = 0, bytes = 0;
    while (bytes < w->bytes) {
        struct block **list = made++ % 4 ? &w->own : &w->others;
        *list = block_add(*list, &w->rng, &bytes);
    }
    pthread_barrier_wait(&step); /* the peak */
    pthread_barrier_wait(&step);
    list_free(w->own);
    list_free(w->next->others);
    pthread_barrier_wait(&step); /* all is freed */
    pthread_mutex_lock(&end);
    pthread_mutex_unlock(&end);
    return NULL;
}

static void wait_ns(uint64_t ns, bool tick)
{
    struct timespec pause = {0, TICK_NS};
    uint64_t until = now_ns() + ns;
    if (!tick)
        pause = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (now_ns() < until) {
        nanosleep(&pause, NULL);
        if (tick)
            free(allocate(TICK_SIZE));
    }
}

static double resident_report(const char *name, const char *metric)
{
    double kib = (double)status_kib("VmRSS:");
    report(name, metric, kib, "KiB");
    return kib;
}

static void workers_start(struct worker *workers, unsigned count, uint64_t bytes)
{
    pthread_barrier_init(&step, NULL, count + 1);
    for (unsigned t = 0; t < count; t++) {
        struct worker *w = &workers[t];
        *w = (struct worker){.bytes = bytes / count, .rng = t + 1};
        w->next = &workers[(t + 1) % count];
        if (pthread_create(&w->thread, NULL, worker_main, w))
            die("pthread_create failed");
    }
}

int main(int argc, char **argv)
{
    const char *how = arg_word(argc, argv, 1, "tick");
    uint64_t base = arg_count(argc, argv, 2, 65536) << 10, kept = 0, rng = 19;
    uint64_t grow = arg_count(argc, argv, 3, 256) << 20;
    uint64_t seconds = arg_count(argc, argv, 4, 10);
    unsigned threads = (unsigned)arg_count(argc, argv, 5, 4);
    struct worker *workers = table_map(threads * sizeof *workers);
    struct block *list = NULL;
    char name[48];
    snprintf(name, sizeof name, "after_free.%s", how);
    while (kept < base)
        list = block_add(list, &rng, &kept);

    double start = resident_report(name, "start");
    pthread_mutex_lock(&end);
    workers_start(workers, threads, grow);
    pthread_barrier_wait(&step);
    resident_report(name, "peak");
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    resident_report(name, "freed");
    wait_ns(seconds * 1000000000u, !strcmp(how, "tick"));
    report(name, "kept", resident_report(name, "after") / start, "ratio");
    pthread_mutex_unlock(&end);
    for (unsigned t = 0; t < threads; t++)
        pthread_join(workers[t].thread, NULL);
    list_free(list);
}
