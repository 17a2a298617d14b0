/* watch_stack_table.c -- one number per stack, from many threads, until memory runs out. */
#include "watch/stack_table.h"

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

void *meta_alloc(size_t bytes);

static atomic_bool refuse;

void *meta_alloc(size_t bytes)
{
    return atomic_load(&refuse) ? NULL : calloc(1, bytes);
}

/* Stack `n` of a family: distinct, of depth 1 to STACK_DEPTH. */
static unsigned stack_of(uint32_t n, uintptr_t *pcs)
{
    unsigned depth = 1 + n % STACK_DEPTH;
    for (unsigned i = 0; i < depth; i++)
        pcs[i] = 0x400000 + (uintptr_t)n * 64 + i;
    return depth;
}

static bool is_stack(uint32_t number, uint32_t n)
{
    uintptr_t pcs[STACK_DEPTH_MAX];
    const uintptr_t *got = NULL;
    unsigned depth = stack_of(n, pcs);
    return stack_table_get(number, &got) == depth && !memcmp(got, pcs, depth * sizeof *pcs);
}

static uint32_t intern(uint32_t n)
{
    uintptr_t pcs[STACK_DEPTH_MAX];
    unsigned depth = stack_of(n, pcs);
    return stack_table_intern(pcs, depth, 0);
}

static void test_no_memory(void)
{
    atomic_store(&refuse, true);
    EXPECT(intern(1) == 0);
    EXPECT(stack_table_stats().dropped == 1 && stack_table_stats().stacks == 0);
    atomic_store(&refuse, false);
}

static void test_identity(void)
{
    uintptr_t pcs[100] = {0};
    const uintptr_t *got;
    uint32_t a = intern(5), b = intern(6);
    EXPECT(a != 0 && b != 0 && a != b);
    EXPECT(intern(5) == a && intern(6) == b);
    EXPECT(is_stack(a, 5) && is_stack(b, 6));
    EXPECT(stack_table_intern(pcs, 0, 0) == 0);
    EXPECT(stack_table_get(0, &got) == 0);
    EXPECT(stack_table_get(UINT32_MAX, &got) == 0); /* beyond the last one */
    /* The same addresses in other modules. */
    uintptr_t place = 0x1234;
    uint32_t first = stack_table_intern(&place, 1, 0), tenant = stack_table_intern(&place, 1, 7);
    EXPECT(first != 0 && tenant != 0 && first != tenant && stack_table_has(tenant));
    EXPECT(stack_table_intern(&place, 1, 7) == tenant && stack_table_intern(&place, 1, 0) == first);
    EXPECT(stack_table_intern(&place, 1, 8) != tenant);
    /* A prefix is another stack; what is beyond the limit does not count. */
    for (unsigned i = 0; i < 100; i++)
        pcs[i] = 0x1000 + i;
    uint32_t whole = stack_table_intern(pcs, 100, 0);
    EXPECT(stack_table_get(whole, &got) == STACK_DEPTH_MAX);
    EXPECT(stack_table_intern(pcs, STACK_DEPTH_MAX, 0) == whole);
    EXPECT(stack_table_intern(pcs, STACK_DEPTH_MAX - 1, 0) != whole);
}

static void test_many(void)
{
    enum { COUNT = 100000 };
    static uint32_t numbers[COUNT];
    unsigned bad = 0;
    for (uint32_t n = 0; n < COUNT; n++)
        numbers[n] = intern(n + 10);
    for (uint32_t n = 0; n < COUNT; n++)
        bad += numbers[n] == 0 || intern(n + 10) != numbers[n] || !is_stack(numbers[n], n + 10);
    EXPECT(bad == 0);
}

enum { THREADS = 4, SHARED = 20000 };
static uint32_t shared[THREADS][SHARED];

static void *intern_all(void *arg)
{
    uint32_t *numbers = arg;
    for (uint32_t n = 0; n < SHARED; n++)
        numbers[n] = intern(1000000 + n);
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    uint64_t before = stack_table_stats().stacks;
    unsigned bad = 0;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, intern_all, shared[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t n = 0; n < SHARED; n++)
        for (int i = 0; i < THREADS; i++)
            bad += shared[i][n] != shared[0][n] || !is_stack(shared[i][n], 1000000 + n);
    EXPECT(bad == 0);
    EXPECT(stack_table_stats().stacks == before + SHARED);
}

static uint32_t visited;

static void add_visit(uint32_t stack, void *data)
{
    visited++;
    *(uint64_t *)data += stack_table_account(stack)->allocated_blocks;
}

/* Each stack once, with an account of its own, that begins with nothing. */
static void test_accounts(void)
{
    uint64_t before = stack_table_stats().stacks, sum = 0;
    stack_table_each(add_visit, &sum);
    EXPECT(visited == before && sum == 0);
    for (uint32_t n = 0; n < 1000; n++)
        stack_table_account(intern(5000000 + n))->allocated_blocks = n + 1;
    visited = 0;
    stack_table_each(add_visit, &sum);
    EXPECT(visited == before + 1000 && sum == 1000 * 1001 / 2);
    unsigned bad = 0;
    for (uint32_t n = 0; n < 1000; n++) {
        uint32_t stack = intern(5000000 + n);
        bad += stack_table_account(stack)->allocated_blocks != n + 1 || !is_stack(stack, 5000000 + n);
        bad += stack_table_account(stack)->freed_blocks != 0;
    }
    EXPECT(bad == 0);
}

/* Of numbers that may be anything only those that were given out are known. Before threads make
 * records of the same stack, of which one is used. */
static void test_has(void)
{
    uint32_t last = intern(6000000), known = 0;
    EXPECT(stack_table_has(last) && !stack_table_has(0) && !stack_table_has(UINT32_MAX));
    EXPECT(!stack_table_has(last + 1000000));
    for (uint32_t number = 0; number <= last; number++)
        known += stack_table_has(number);
    EXPECT(known == stack_table_stats().stacks);
    EXPECT(stack_table_time(last) >= stack_table_time(intern(5)));
}

static void test_cost(void)
{
    enum { ROUNDS = 200000 };
    for (uint32_t n = 9; n < 32; n += 20) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (int i = 0; i < ROUNDS; i++)
            if (intern(n) == 0)
                EXPECT(false);
        clock_gettime(CLOCK_MONOTONIC, &b);
        printf("      depth %u: %.0f ns to find\n", 1 + n % STACK_DEPTH,
               ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / ROUNDS);
    }
}

/* Last: fills the table. */
static void test_saturated(void)
{
    uint32_t n = 10000000, number = intern(n), last = 0;
    while (number != 0) {
        last = n++;
        /* Long stacks only, to get there sooner. */
        number = intern(n | (STACK_DEPTH - 1));
        n |= STACK_DEPTH - 1;
    }
    EXPECT(stack_table_stats().dropped > 1);
    EXPECT(stack_table_stats().bytes > 255u << 20);
    EXPECT(last == 10000000 || intern(last | (STACK_DEPTH - 1)) != 0);
    EXPECT(intern(5) != 0);
}

UNIT_MAIN(TEST(test_no_memory), TEST(test_identity), TEST(test_many), TEST(test_has), TEST(test_threads), TEST(test_accounts),
          TEST(test_cost), TEST(test_saturated))
