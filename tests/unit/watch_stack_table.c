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

/* Stack `n` of a family: distinct, of depth 1 to STACK_DEPTH; 256 of them have their outer halves
 * in common. */
static unsigned stack_of(uint32_t n, uintptr_t *pcs)
{
    unsigned depth = 1 + n % STACK_DEPTH;
    for (unsigned level = 0; level < depth; level++)
        pcs[depth - 1 - level] = level < depth / 2 ? 0x200000 + (uintptr_t)n / 256 * 64 + level
                                                   : 0x400000000 + (uintptr_t)n * 64 + level;
    return depth;
}

static bool is_stack(uint32_t number, uint32_t n)
{
    uintptr_t pcs[STACK_DEPTH_MAX], got[STACK_DEPTH_MAX];
    unsigned depth = stack_of(n, pcs);
    return stack_table_get(number, got) == depth && !memcmp(got, pcs, depth * sizeof *pcs);
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
    uintptr_t got[STACK_DEPTH_MAX];
    uint32_t a = intern(5), b = intern(6);
    EXPECT(a != 0 && b != 0 && a != b);
    EXPECT(intern(5) == a && intern(6) == b);
    EXPECT(is_stack(a, 5) && is_stack(b, 6));
    EXPECT(stack_table_intern(pcs, 0, 0) == 0);
    EXPECT(stack_table_get(0, got) == 0);
    EXPECT(stack_table_get(UINT32_MAX, got) == 0); /* beyond the last one */
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
    EXPECT(stack_table_get(whole, got) == STACK_DEPTH_MAX);
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

/* Frames of the stack that are its own. */
static unsigned own_frames(uint32_t stack)
{
    struct stack_own own = {0};
    unsigned depth = stack_table_own(stack, &own);
    EXPECT(own.count + own.kept == depth && (own.kept == 0) == (own.parent == 0));
    EXPECT(own.parent < stack);
    return own.count;
}

static bool has_frames(uint32_t stack, const uintptr_t *pcs, unsigned depth)
{
    uintptr_t got[STACK_DEPTH_MAX];
    return stack_table_get(stack, got) == depth && !memcmp(got, pcs, depth * sizeof *pcs);
}

/* 0x6000 calls itself; every stack is the one before it and a frame more. Then others that leave
 * them in the middle, and one that ends there. */
static void test_shared(void)
{
    enum { DEEP = STACK_DEPTH_MAX, SITES = 100 };
    uintptr_t pcs[DEEP + 1];
    uint32_t stacks[DEEP + 1];
    for (unsigned i = 0; i <= DEEP; i++)
        pcs[i] = 0x6000;
    pcs[DEEP] = 0x5000; /* main */
    uint64_t before = stack_table_stats().bytes;
    for (unsigned depth = 2; depth <= DEEP; depth++)
        stacks[depth] = stack_table_intern(pcs + DEEP + 1 - depth, depth, 0);
    for (unsigned depth = 3; depth <= DEEP; depth++)
        EXPECT(own_frames(stacks[depth]) == 1 &&
               has_frames(stacks[depth], pcs + DEEP + 1 - depth, depth));
    for (uintptr_t site = 0; site < SITES; site++) {
        pcs[10] = 0x700000 + site;
        uint32_t stack = stack_table_intern(pcs + 10, DEEP + 1 - 10, 0);
        EXPECT(own_frames(stack) == 1 && has_frames(stack, pcs + 10, DEEP + 1 - 10));
        pcs[10] = 0x6000;
        pcs[9] = 0x700000 + site; /* another place of the same function */
        EXPECT(own_frames(stack_table_intern(pcs + 9, DEEP + 1 - 9, 0)) == 1);
        pcs[9] = 0x6000;
    }
    EXPECT(stack_table_stats().bytes - before < (DEEP + 2 * SITES) * 128);
    uint32_t main_only = stack_table_intern(pcs + DEEP, 1, 0);
    EXPECT(own_frames(main_only) == 0 && has_frames(main_only, pcs + DEEP, 1));
    EXPECT(own_frames(stack_table_intern(pcs + 20, DEEP + 1 - 20, 9)) == 0); /* other modules */
    struct stack_own own;
    EXPECT(stack_table_own(0, &own) == 0);
}

/* A function that calls itself in two places: all ways down, at all depths, and the same with two
 * places that differ in high bits. */
static void test_ways_down(void)
{
    enum { DEPTH = 14 };
    const uintptr_t places[][2] = {{0x555555555190, 0x5555555551a2}, {0x7f0012345678, 0x7e0012345678}};
    unsigned bad = 0;
    for (unsigned pair = 0; pair < 2; pair++)
        for (unsigned depth = 1; depth <= DEPTH; depth++)
            for (unsigned way = 0; way < 1u << depth; way++) {
                uintptr_t pcs[DEPTH];
                uint64_t before = stack_table_stats().stacks;
                for (unsigned i = 0; i < depth; i++)
                    pcs[i] = places[pair][way >> i & 1];
                uint32_t stack = stack_table_intern(pcs, depth, 0);
                bad += stack_table_stats().stacks != before + 1 || !has_frames(stack, pcs, depth);
            }
    EXPECT(bad == 0);
}

static uint32_t newest;

static void add_while_visited(uint32_t stack, void *data)
{
    struct stack_own own;
    uint32_t first = *(uint32_t *)data;
    EXPECT(stack < first); /* none of those that are added meanwhile */
    EXPECT(stack_table_own(stack, &own) != 0 && own.parent < stack);
    if (newest < first + 1000)
        newest = intern(7000000 + newest);
}

/* The table grows while it is visited: what is visited is whole. */
static void test_visit_while_growing(void)
{
    uint32_t first = newest = intern(7000000);
    first++;
    stack_table_each(add_while_visited, &first);
    EXPECT(newest >= first + 1000);
}

/* The least of many rounds: others may run beside it. */
static double cost_of(uint32_t n)
{
    enum { ROUNDS = 100, CALLS = 2000 };
    double least = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (int i = 0; i < CALLS; i++)
            if (intern(n) == 0)
                EXPECT(false);
        clock_gettime(CLOCK_MONOTONIC, &b);
        double took = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
        least = took < least ? took : least;
    }
    return least / CALLS;
}

static void test_cost(void)
{
    for (uint32_t n = 9; n < 32; n += 20)
        printf("      depth %u: %.0f ns to find\n", 1 + n % STACK_DEPTH, cost_of(n));
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
    EXPECT(stack_table_stats().bytes > 254u << 20 && stack_table_stats().bytes <= 256u << 20);
    EXPECT(last == 10000000 || intern(last | (STACK_DEPTH - 1)) != 0);
    EXPECT(intern(5) != 0);
}

UNIT_MAIN(TEST(test_no_memory), TEST(test_identity), TEST(test_many), TEST(test_has),
          TEST(test_shared), TEST(test_ways_down), TEST(test_threads), TEST(test_accounts),
          TEST(test_visit_while_growing), TEST(test_cost), TEST(test_saturated))
