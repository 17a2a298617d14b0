/* threads.h -- so many threads of one function, each with a part of its own, and the wall clock
 * over all of them.
 *
 * The clock includes that the threads are made and joined, some 50 us each: benchmarks that use it
 * run for much longer. */
#ifndef BENCH_THREADS_H
#define BENCH_THREADS_H

#include "bench.h"

#include <pthread.h>

/* No false sharing between the parts, which have their own lines (and the adjacent ones). */
enum { LINE = 128 };

/* Runs `main_of(part)` in `count` threads, part i being `size` bytes at parts + i * size; ns. */
static inline uint64_t threads_run(void *(*main_of)(void *), void *parts, size_t size,
                                   unsigned count)
{
    pthread_t *threads = table_map(count * sizeof *threads);
    uint64_t start = now_ns();
    for (unsigned t = 0; t < count; t++)
        if (pthread_create(&threads[t], NULL, main_of, (char *)parts + t * size))
            die("pthread_create failed");
    for (unsigned t = 0; t < count; t++)
        pthread_join(threads[t], NULL);
    uint64_t ns = now_ns() - start;
    munmap(threads, count * sizeof *threads);
    return ns;
}

#endif
