/* bench.h -- what every benchmark shares: clock, random numbers, arguments, and the one way to
 * report.
 *
 * A benchmark reports with report(), one figure a line, which bench/run.py reads:
 *
 *     bench NAME METRIC VALUE UNIT
 *
 * and ends with report_peak(), its own peak resident memory. That is read from VmHWM and not from
 * the parent's rusage, because Linux counts the pages of the process that called exec into
 * ru_maxrss.
 *
 *   .inv.bounded   Every loop has a count known before it starts; no benchmark runs "for a time",
 *                  so that two allocators do the same work and memory figures can be compared.
 *                  What works at a rate (leak_daemon, leaks, pause) has the clock decide how much
 *                  is due; only pause, whose question is time itself, ends by it.
 *   .inv.consumed  Every block is written to, and what is read back ends in use(); the compiler can
 *                  drop no call (the whole directory is compiled with -fno-builtin besides).
 *
 * Nothing here allocates. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* ---- time ------------------------------------------------------------------------------------ */

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- random numbers: SplitMix64, one state for each thread ---------------------------------- */

static inline uint64_t rng_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, bound), bound at most 2^32 (Lemire's multiplication; tiny bias accepted). */
static inline uint64_t rng_below(uint64_t *state, uint64_t bound)
{
    return (rng_next(state) >> 32) * bound >> 32;
}

/* Uniform in [least, most]. */
static inline size_t rng_between(uint64_t *state, size_t least, size_t most)
{
    return least + rng_below(state, most - least + 1);
}

/* ---- consuming results ----------------------------------------------------------------------- */

/* Makes the compiler believe that `p` is looked at and that memory behind it changes. */
static inline void use(void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

static inline void die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(2);
}

/* A block as a program would use it: checked, and written at both ends. */
static inline void *allocate(size_t size)
{
    char *p = malloc(size);
    if (!p)
        die("out of memory");
    p[0] = 1;
    p[size - 1] = 2;
    use(p);
    return p;
}

/* Memory for the benchmark's own tables, which the allocator under test must not see. */
static inline void *table_map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("mmap failed");
    return p;
}

/* ---- arguments ------------------------------------------------------------------------------- */

/* The n-th argument as a count of at least 1, or `fallback` when there are fewer. */
static inline uint64_t arg_count(int argc, char **argv, int n, uint64_t fallback)
{
    if (argc <= n)
        return fallback;
    char *end;
    uint64_t value = strtoull(argv[n], &end, 0);
    if (*end || end == argv[n] || !value)
        die("an argument is not a positive number; see the top of the source for usage");
    return value;
}

static inline const char *arg_word(int argc, char **argv, int n, const char *fallback)
{
    return argc > n ? argv[n] : fallback;
}

/* ---- reports --------------------------------------------------------------------------------- */

static inline void report(const char *name, const char *metric, double value, const char *unit)
{
    printf("bench %s %s %.4f %s\n", name, metric, value, unit);
    fflush(stdout);
}

/* A figure of /proc/self/status in KiB ("VmHWM:", "VmRSS:"), or 0 when there is none. */
static inline uint64_t status_kib(const char *key)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static inline void report_peak(const char *name)
{
    report(name, "peak_rss", (double)status_kib("VmHWM:"), "KiB");
}

#endif
