/* shadow.c -- the map of live memory, patterns, and the frame of a model run; see shadow.h. */
#include "shadow.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- the map: a table of 1 GiB regions, each 2^27 bits, made when first needed ------------ */

enum { UNIT_BITS = 3, REGION_BITS = 30, ADDRESS_BITS = 47, WORD_BITS = 64 };

static const size_t region_units = (size_t)1 << (REGION_BITS - UNIT_BITS);

static _Atomic(_Atomic uint64_t *) regions[1 << (ADDRESS_BITS - REGION_BITS)];

void *outside_map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        fail("mmap of %zu bytes failed", size);
    return p;
}

static _Atomic uint64_t *region_get(size_t index)
{
    _Atomic uint64_t *have = atomic_load(&regions[index]);
    if (have)
        return have;
    size_t bytes = region_units / 8;
    _Atomic uint64_t *mine = outside_map(bytes);
    if (atomic_compare_exchange_strong(&regions[index], &have, mine))
        return mine;
    munmap((void *)mine, bytes);
    return have;
}

/* Sets or clears `mask` in the word of `unit`; false when some bit already was as wanted. */
static bool word_apply(size_t unit, uint64_t mask, bool live)
{
    _Atomic uint64_t *word = region_get(unit / region_units) + unit % region_units / WORD_BITS;
    uint64_t old = live ? atomic_fetch_or(word, mask) : atomic_fetch_and(word, ~mask);
    return live ? !(old & mask) : (old & mask) == mask;
}

static bool range_apply(const void *p, size_t size, bool live)
{
    size_t unit = (uintptr_t)p >> UNIT_BITS;
    size_t end = ((uintptr_t)p + size + (1u << UNIT_BITS) - 1) >> UNIT_BITS;
    if ((uintptr_t)p + size > (uintptr_t)1 << ADDRESS_BITS || (uintptr_t)p + size < (uintptr_t)p)
        fail("%p of %zu bytes is not in user space", p, size);
    bool good = true;
    while (unit < end) {
        size_t bit = unit % WORD_BITS, n = WORD_BITS - bit;
        if (n > end - unit)
            n = end - unit;
        uint64_t mask = (n == WORD_BITS ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << bit;
        good &= word_apply(unit, mask, live);
        unit += n;
    }
    return good;
}

bool shadow_claim(const void *p, size_t size)
{
    return range_apply(p, size, true);
}

bool shadow_release(const void *p, size_t size)
{
    return range_apply(p, size, false);
}

/* ---- random numbers -------------------------------------------------------------------------- */

uint64_t rng_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_mix(uint64_t a, uint64_t b)
{
    uint64_t state = a * 0xd1342543de82ef95u + b;
    return rng_next(&state);
}

size_t rng_below(uint64_t *state, size_t bound)
{
    return (rng_next(state) >> 32) * bound >> 32;
}

size_t rng_between(uint64_t *state, size_t least, size_t most)
{
    return least + rng_below(state, most - least + 1);
}

bool rng_chance(uint64_t *state, unsigned one_in)
{
    return rng_below(state, one_in) == 0;
}

/* ---- patterns -------------------------------------------------------------------------------- */

uint64_t pattern_key(const void *p, size_t size, uint64_t serial)
{
    return rng_mix(rng_mix((uintptr_t)p, size), serial);
}

/* One multiplication a word: cheap, and never the same word twice within a block. */
static inline uint64_t pattern_word(uint64_t key, size_t index)
{
    uint64_t word = key + index * 0x9e3779b97f4a7c15u;
    return (word | (uint64_t)1 << 63) & ~((uint64_t)1 << 62);
}

static inline unsigned char pattern_byte(uint64_t key, size_t at)
{
    return (unsigned char)(pattern_word(key, at / 8) >> at % 8 * 8);
}

void pattern_fill(void *p, size_t from, size_t size, uint64_t key)
{
    unsigned char *bytes = p;
    size_t i = 0;
    for (; i < size && (from + i) % 8; i++)
        bytes[i] = pattern_byte(key, from + i);
    for (; i + 8 <= size; i += 8) {
        uint64_t word = pattern_word(key, (from + i) / 8);
        memcpy(bytes + i, &word, 8);
    }
    for (; i < size; i++)
        bytes[i] = pattern_byte(key, from + i);
}

static size_t first_wrong(const unsigned char *bytes, size_t from, size_t i, size_t end,
                          uint64_t key)
{
    while (i < end && bytes[i] == pattern_byte(key, from + i))
        i++;
    return i;
}

size_t pattern_check(const void *p, size_t from, size_t size, uint64_t key)
{
    const unsigned char *bytes = p;
    size_t head = -from % 8 < size ? -from % 8 : size;
    size_t i = first_wrong(bytes, from, 0, head, key);
    if (i < head)
        return i;
    for (; i + 8 <= size; i += 8) {
        uint64_t have, wanted = pattern_word(key, (from + i) / 8);
        memcpy(&have, bytes + i, 8);
        if (have != wanted)
            return first_wrong(bytes, from, i, i + 8, key);
    }
    return first_wrong(bytes, from, i, size, key);
}

/* ---- the run --------------------------------------------------------------------------------- */

_Thread_local struct where where;

static uint64_t run_seed, run_end_ns;
static const char *run_name = "model";

_Noreturn void fail(const char *format, ...)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s: FAILED (seed %ju thread %u round %u op %ju): ",
                     run_name, (uintmax_t)run_seed, where.thread, where.round,
                     (uintmax_t)where.op);
    va_list args;
    va_start(args, format);
    n += vsnprintf(text + n, sizeof text - (size_t)n - 1, format, args);
    va_end(args);
    if ((size_t)n > sizeof text - 2)
        n = sizeof text - 2;
    text[n++] = '\n';
    if (write(STDERR_FILENO, text, (size_t)n) < 0)
        _exit(3);
    abort();
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void run_name_set(const char *name, uint64_t seed)
{
    run_name = name;
    run_seed = seed;
}

/* `--name=N` into *value; false when `arg` is something else. */
static bool option_read(const char *arg, const char *name, uint64_t least, uint64_t *value)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) || arg[n] != '=')
        return false;
    char *end;
    *value = strtoull(arg + n + 1, &end, 0);
    return end != arg + n + 1 && !*end && *value >= least;
}

static void usage(void)
{
    fprintf(stderr, "usage: %s [--seed=N] [--ops=N] [--rounds=N] [--seconds=N] [--threads=N]"
                    " [--forks=N] [--lenient=0|1]\n", run_name);
    exit(2);
}

void options_parse(struct options *o, int argc, char **argv)
{
    uint64_t rounds = o->rounds, threads = o->threads, forks = o->forks, lenient = o->lenient;
    const char *slash = strrchr(argv[0], '/');
    run_name = slash ? slash + 1 : argv[0];
    o->seed = now_ns() % 1000000007;
    for (int i = 1; i < argc; i++)
        if (!option_read(argv[i], "--seed", 0, &o->seed) &&
            !option_read(argv[i], "--ops", 1, &o->ops) &&
            !option_read(argv[i], "--seconds", 0, &o->seconds) &&
            !option_read(argv[i], "--rounds", 1, &rounds) &&
            !option_read(argv[i], "--threads", 1, &threads) &&
            !option_read(argv[i], "--forks", 0, &forks) &&
            !option_read(argv[i], "--lenient", 0, &lenient))
            usage();
    if (threads > 256 || forks > o->ops || rounds > 1000000)
        usage();
    o->rounds = (unsigned)rounds;
    o->threads = (unsigned)threads;
    o->forks = (unsigned)forks;
    o->lenient = lenient != 0;
    run_seed = o->seed;
    run_end_ns = now_ns() + o->seconds * 1000000000u;
    printf("%s: --seed=%ju --ops=%ju --rounds=%u --threads=%u --forks=%u\n", run_name,
           (uintmax_t)o->seed, (uintmax_t)o->ops, o->rounds, o->threads, o->forks);
    fflush(stdout);
}

bool options_more(const struct options *o, unsigned round)
{
    return o->seconds ? now_ns() < run_end_ns : round < o->rounds;
}
