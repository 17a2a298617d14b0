/* sites.c -- what does it take to tell who allocated, where many places did?
 *
 * A stack for each allocation (GCMALLOC=stacks=all,profile=FILE), STACKS different ones of DEPTH
 * frames and those of main, ALLOCATIONS in all. The stacks are the leaves of a tree: main at the
 * root, branches at every level, so that two have the more frames in common the closer they are.
 * The frames are of 4,096 functions with two places each, so that a report has some thousand
 * addresses to name, as that of a large program.
 *
 * Nine in ten blocks are freed at once, one in twenty is kept, and one in twenty is leaked. How
 * long the recording takes is its processor time, printed; what naming the functions takes is asked
 * with `gcmalloc report`, in each of its forms (recording.py).
 *
 *     sites [ALLOCATIONS=10000000] [STACKS=100000] [DEPTH=28] */
#include "bench.h"

#include <math.h>

enum { FUNCTIONS = 4096, DEPTH_MOST = 60, KEPT = 1 << 16 };

struct call {
    uint64_t stack;
    unsigned level;
};
typedef void *site_fn(struct call call);

static uint64_t parts[DEPTH_MOST + 1]; /* so many stacks share a function at this level */
static unsigned depth;
static site_fn *const sites[FUNCTIONS];

static site_fn *next_of(struct call call)
{
    uint64_t place = call.stack / parts[call.level] * DEPTH_MOST + call.level;
    return sites[place * 0x9e3779b97f4a7c15 >> 52];
}

/* Not the last thing a function does, or it would have no frame. */
#define SITE(n)                                                                \
    static __attribute__((noinline)) void *site_##n(struct call call)          \
    {                                                                          \
        void *volatile block;                                                  \
        if (++call.level > depth)                                              \
            block = malloc(16 + call.stack % 16 * 16);                         \
        else                                                                   \
            block = next_of(call)(call);                                       \
        return block;                                                          \
    }
#define SITE_NAME(n) site_##n,
#define EIGHT(X, n) X(n##0) X(n##1) X(n##2) X(n##3) X(n##4) X(n##5) X(n##6) X(n##7)
#define EIGHT_TIMES(X, n) EIGHT(X, n##0) EIGHT(X, n##1) EIGHT(X, n##2) EIGHT(X, n##3) \
                          EIGHT(X, n##4) EIGHT(X, n##5) EIGHT(X, n##6) EIGHT(X, n##7)
#define ALL(X, n) EIGHT_TIMES(X, n##0) EIGHT_TIMES(X, n##1) EIGHT_TIMES(X, n##2)      \
                  EIGHT_TIMES(X, n##3) EIGHT_TIMES(X, n##4) EIGHT_TIMES(X, n##5)      \
                  EIGHT_TIMES(X, n##6) EIGHT_TIMES(X, n##7)
ALL(SITE, 0)
ALL(SITE, 1)
ALL(SITE, 2)
ALL(SITE, 3)
ALL(SITE, 4)
ALL(SITE, 5)
ALL(SITE, 6)
ALL(SITE, 7)

static site_fn *const sites[FUNCTIONS] = {
    ALL(SITE_NAME, 0) ALL(SITE_NAME, 1) ALL(SITE_NAME, 2) ALL(SITE_NAME, 3)
    ALL(SITE_NAME, 4) ALL(SITE_NAME, 5) ALL(SITE_NAME, 6) ALL(SITE_NAME, 7)};

/* The same factor at each level: 1 at the innermost. */
static void part(uint64_t stacks)
{
    for (unsigned level = 0; level <= depth; level++)
        parts[level] = (uint64_t)pow((double)stacks, 1 - (double)level / depth);
}

int main(int argc, char **argv)
{
    static void *kept[KEPT];
    uint64_t allocations = argc > 1 ? strtoull(argv[1], NULL, 0) : 10000000;
    uint64_t stacks = argc > 2 ? strtoull(argv[2], NULL, 0) : 100000;
    depth = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 28;
    if (depth == 0 || depth > DEPTH_MOST || stacks == 0)
        return 2;
    part(stacks);
    struct timespec start, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    for (uint64_t i = 0; i < allocations; i++) {
        struct call call = {i * 7919 % stacks, 0};
        void *block = next_of(call)(call);
        if (i % 20 == 0) {
            free(kept[i / 20 % KEPT]);
            kept[i / 20 % KEPT] = block;
        } else if (i % 20 != 1) {
            free(block);
        }
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    printf("%.3f\n", (double)(end.tv_sec - start.tv_sec) +
                     (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    return 0;
}
