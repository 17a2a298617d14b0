/* gc_armed.c -- the lists of armed ranges, held against a bitmap. */
#include "gc/armed.h"

#include "child.h"
#include "heap/heap.h"

enum { PAGES = 4096, MOST = 8192 };

static const uintptr_t base = 0x10000000;
static unsigned char now[PAGES], next[PAGES];

static uintptr_t at(size_t page)
{
    return base + page * PAGE_SIZE;
}

static void add(size_t from, size_t to)
{
    armed_add(at(from), at(to));
    memset(next + from, 1, to - from);
}

static void turn(void)
{
    armed_turn();
    memcpy(now, next, sizeof(now));
    memset(next, 0, sizeof(next));
}

/* A walk over [from, to) by armed_part tells what the bitmap tells, and ends. */
static bool walk(size_t from, size_t to)
{
    uintptr_t end = at(to), next_at;
    for (uintptr_t a = at(from); a < end; a = next_at) {
        bool in = armed_part(a, end, &next_at);
        if (next_at <= a || next_at > end)
            return false;
        for (uintptr_t p = a; p < next_at; p += PAGE_SIZE)
            if (now[(p - base) >> PAGE_SHIFT] != in)
                return false;
        /* And no further than it holds: the next page is of the other kind. */
        if (next_at < end && now[(next_at - base) >> PAGE_SHIFT] == in)
            return false;
    }
    return true;
}

static void random_ranges(void)
{
    unsigned wrong = 0;
    EXPECT(heap_init(64 * MIB, false) && armed_init() && armed_init());
    armed_clear();
    EXPECT(walk(0, PAGES));
    for (unsigned round = 0; round < 300; round++) {
        size_t page = (size_t)rand() % 10;
        while (page < PAGES) {
            size_t to = page + 1 + (size_t)rand() % (1u << round % 10);
            if (to > PAGES)
                break;
            add(page, to);
            page = to + (size_t)rand() % 3 * ((size_t)rand() % 20); /* often touching */
        }
        wrong += !walk(0, PAGES); /* what is added is not known before the turn */
        turn();
        for (unsigned i = 0; i < 50; i++) {
            size_t from = (size_t)rand() % PAGES;
            wrong += !walk(from, from + (size_t)rand() % (PAGES - from));
        }
    }
    EXPECT(wrong == 0);
    turn(); /* a pass that armed nothing */
    EXPECT(walk(0, PAGES));
    add(1, 5);
    turn();
    add(7, 9);
    armed_clear();
    memset(now, 0, sizeof(now));
    EXPECT(walk(0, PAGES));
    armed_turn();
    EXPECT(walk(0, PAGES)); /* what was added before is gone, too */
}

/* What does not fit is not armed; what was there before it stays. */
static void overflow(void)
{
    uintptr_t to;
    EXPECT(heap_init(64 * MIB, false) && armed_init());
    armed_clear();
    for (size_t i = 0; i < MOST + 100; i++)
        armed_add(base + 2 * i * PAGE_SIZE, base + (2 * i + 1) * PAGE_SIZE);
    armed_turn();
    unsigned known = 0, wrong = 0;
    for (size_t i = 0; i < MOST + 100; i++) {
        uintptr_t start = base + 2 * i * PAGE_SIZE;
        bool in = armed_part(start, start + PAGE_SIZE, &to);
        known += in;
        wrong += to != start + PAGE_SIZE;
        wrong += armed_part(start + PAGE_SIZE, start + 2 * PAGE_SIZE, &to);
        wrong += i < 1000 && !in;
    }
    EXPECT(wrong == 0 && known >= 1000 && known <= MOST);
    /* Touching ranges are one: of these any number fits. */
    for (size_t i = 0; i < 3 * MOST; i++)
        armed_add(base + i * PAGE_SIZE, base + (i + 1) * PAGE_SIZE);
    armed_turn();
    EXPECT(armed_part(base, base + 3 * (uintptr_t)MOST * PAGE_SIZE, &to));
    EXPECT(to == base + 3 * (uintptr_t)MOST * PAGE_SIZE);
}

static void test_random_ranges(void)
{
    EXPECT(child_passes(random_ranges));
}

static void test_overflow(void)
{
    EXPECT(child_passes(overflow));
}

UNIT_MAIN(TEST(test_random_ranges), TEST(test_overflow))
