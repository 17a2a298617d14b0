/* api_stats.c -- how long does gcmalloc_read_stats take, beside THREADS threads that have caches?
 *
 * Under an allocator that is not the library nothing is read, and the figure is that of looking. The
 * threads have allocated of every size, and sleep: what is measured is the adding up.
 *
 *     api_stats [THREADS=0] [READS=20000] */
#include "bench.h"
#include "gcmalloc.h"
#include "threads.h"

#include <pthread.h>

static pthread_barrier_t barrier;

static void *allocate_and_wait(void *unused)
{
    for (size_t size = 16; size <= 32768; size += size / 8)
        free(malloc(size));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return unused;
}

static struct gcmalloc_stats stats;

int main(int argc, char **argv)
{
    unsigned threads = (unsigned)arg_count(argc, argv, 1, 0);
    uint64_t reads = arg_count(argc, argv, 2, 20000), began;
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&thread, NULL, allocate_and_wait, NULL) != 0)
            die("pthread_create failed");
    pthread_barrier_wait(&barrier);
    stats.size = sizeof stats;
    began = now_ns();
    for (uint64_t i = 0; i < reads; i++)
        gcmalloc_read_stats(&stats);
    uint64_t took = now_ns() - began;
    pthread_barrier_wait(&barrier);
    report("api_stats", "read", (double)took / (double)reads, "ns");
    report_peak("api_stats");
}
