/* mutator_guard.c -- a block is at an edge of its page, and a fault beyond it, or after its free, is
 * told of once. */
#include "mutator/guard.h"

#include "base/atomic.h"
#include "child.h"
#include "heap/heap.h"
#include "mutator/alloc.h"
#include "mutator/thread_cache.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>

enum { SLOTS = 128, THREADS = 4, ROUNDS = 3000 };

static struct guard_error said;
static volatile unsigned reports;
static sigjmp_buf way_out;

static void on_error(const struct guard_error *error)
{
    said = *error;
    reports++;
}

static void on_segv(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    guard_on_fault(context);
    siglongjmp(way_out, 1);
}

static void start(void)
{
    struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};
    EXPECT(heap_init(64 * MIB, true) && guard_start(on_error) && guard_on());
    EXPECT(sigaction(SIGSEGV, &action, NULL) == 0);
}

static bool faults(const volatile char *at)
{
    if (sigsetjmp(way_out, 1) != 0)
        return true;
    (void)*at;
    return false;
}

/* A fault there is told of as that, at this address. */
static bool is_told(const char *at, enum guard_what what)
{
    unsigned before = reports;
    return faults(at) && reports == before + 1 && said.what == what &&
           said.address == (uintptr_t)at && said.pc != 0;
}

static void put_back(void *p)
{
    struct guard_error error;
    EXPECT(guard_free(p, 7, &error) == GUARD_NOTHING);
}

static void places(void)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 48, 4000, 4095, 4096};
    start();
    for (size_t i = 0; i < GC_COUNT(sizes); i++)
        for (size_t alignment = 16; alignment <= PAGE_SIZE; alignment *= 2) {
            char *low = guard_take(sizes[i], alignment, 3, 1);
            char *high = guard_take(sizes[i], alignment, 3, 0);
            EXPECT(low != NULL && (uintptr_t)low % PAGE_SIZE == 0);
            EXPECT(high != NULL && (uintptr_t)high % alignment == 0 && guard_owns(high));
            size_t used = size_max(sizes[i], 1), end = (uintptr_t)high % PAGE_SIZE + used;
            EXPECT(end <= PAGE_SIZE && PAGE_SIZE - end < alignment);
            memset(low, 'l', sizes[i]);
            memset(high, 'h', sizes[i]);
            EXPECT(is_told(low - 1, GUARD_UNDERFLOW) && said.start == (uintptr_t)low);
            char *beyond = (char *)align_up((uintptr_t)high + used, PAGE_SIZE);
            EXPECT(is_told(beyond, GUARD_OVERFLOW) && said.start == (uintptr_t)high);
            EXPECT(said.size == sizes[i] && said.allocated.stack == 3 && said.freed.tid == 0);
            put_back(low);
            put_back(high);
        }
    EXPECT(!guard_owns(&said) && !guard_owns(NULL));
}

static void after_free(void)
{
    struct guard_error e;
    start();
    char *p = guard_take(100, 16, 3, 1);
    EXPECT(guard_look(p, &e) == GUARD_NOTHING && e.size == 100);
    EXPECT(guard_free(p + 16, 5, &e) == GUARD_WILD_FREE && e.start == (uintptr_t)p);
    EXPECT(guard_free(p - 16, 5, &e) == GUARD_WILD_FREE && e.start == (uintptr_t)p);
    put_back(p);
    EXPECT(is_told(p + 5, GUARD_USE_AFTER_FREE) && said.freed.stack == 7);
    EXPECT(said.allocated.stack == 3 && said.allocated.tid == said.freed.tid && said.freed.tid != 0);
    EXPECT(faults(p) && reports == 1); /* once */
    EXPECT(guard_free(p, 9, &e) == GUARD_DOUBLE_FREE && e.freed.stack == 7 && e.size == 100);
    EXPECT(guard_look(p, &e) == GUARD_USE_AFTER_FREE);
}

/* Nobody's business: other memory, slots that were never used, rights that the program changed. */
static void others(void)
{
    uintptr_t low, high;
    start();
    guard_pool(&low, &high);
    char *page = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(faults(page) && faults((char *)high - 1) && faults((char *)low));
    char *p = guard_take(PAGE_SIZE, 16, 3, 1);
    EXPECT(mprotect(p, PAGE_SIZE, PROT_NONE) == 0 && faults(p) && reports == 0);
}

static void in_line(void)
{
    char *first[SLOTS];
    start();
    for (unsigned i = 0; i < SLOTS; i++)
        EXPECT(guard_has_room() && (first[i] = guard_take(64, 16, 3, 1)) != NULL &&
               memset(first[i], 'x', 64) != NULL);
    EXPECT(!guard_has_room() && guard_take(64, 16, 3, 1) == NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        put_back(first[i * 5 % SLOTS]);
    for (unsigned i = 0; i < SLOTS; i++) {
        char *p = guard_take(64, 16, 3, 1);
        EXPECT(p == first[i * 5 % SLOTS] && p[0] == 0 && p[63] == 0);
    }
}

static void *take_and_free(void *seed)
{
    for (uintptr_t i = 0; i < ROUNDS; i++) {
        char *p = guard_take(1 + i % 4096, 16, 3, i);
        if (p == NULL)
            continue;
        *p = (char)(uintptr_t)seed;
        EXPECT(*p == (char)(uintptr_t)seed);
        put_back(p);
    }
    return NULL;
}

static void threads(void)
{
    pthread_t thread[THREADS];
    start();
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&thread[i], NULL, take_and_free, (void *)i) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        EXPECT(pthread_join(thread[i], NULL) == 0);
    for (unsigned i = 0; i < SLOTS; i++)
        EXPECT(guard_take(1, 16, 3, 1) != NULL);
    EXPECT(!guard_has_room() && reports == 0);
}

/* How many of those that malloc makes are guarded, one in `n`. */
static unsigned guarded_of(unsigned count, uint64_t n)
{
    unsigned found = 0;
    struct alloc_settings settings = {.arena = true, .guard = n};
    start();
    alloc_start(&settings);
    for (unsigned i = 0; i < count; i++) {
        size_t size = 16 + i % 32 * 16;
        char *p = cache_pop(size_class_of(size + hot.pad));
        if (p == NULL)
            p = alloc_malloc(size);
        found += guard_owns(p);
        EXPECT(!guard_owns(p) || alloc_usable_size(p) == size);
        alloc_free(p);
    }
    return found;
}

static void each(void)
{
    EXPECT(guarded_of(1000, 1) == 1000);
}

static void some(void)
{
    unsigned found = guarded_of(400000, 100); /* 4,000, give or take 63 */
    EXPECT(found > 3600 && found < 4400);
}

static void none(void)
{
    EXPECT(guarded_of(1000, 0) == 0);
}

static void resized(void)
{
    struct alloc_settings settings = {.arena = true, .guard = 1};
    start();
    alloc_start(&settings);
    char *p = alloc_malloc(100);
    EXPECT(guard_owns(p));
    memset(p, 'r', 100);
    char *q = alloc_realloc(p, 50);
    EXPECT(q != p && guard_owns(q) && q[49] == 'r' && is_told(p, GUARD_USE_AFTER_FREE));
    p = alloc_realloc(q, 100000);
    EXPECT(!guard_owns(p) && p[49] == 'r' && alloc_realloc(alloc_malloc(1), 0) == NULL);
    EXPECT((uintptr_t)alloc_aligned(PAGE_SIZE, 10) % PAGE_SIZE == 0);
    EXPECT(!guard_owns(alloc_malloc(PAGE_SIZE + 1)) && guard_owns(alloc_malloc(PAGE_SIZE)));
}

static void free_twice(void)
{
    struct alloc_settings settings = {.arena = true, .guard = 1};
    start();
    alloc_start(&settings);
    char *p = alloc_malloc(100);
    alloc_free(p);
    alloc_free(p);
}

static void test_free_twice(void)
{
    char text[512];
    EXPECT(child_aborts(free_twice, text, sizeof text));
    EXPECT(strstr(text, "double free: the block of 100 bytes at 0x") != NULL);
}

static void in_child_of_fork(void)
{
    start();
    char *p = guard_take(10, 16, 3, 0);
    *p = 'p';
    int status, pid = fork();
    if (pid == 0) {
        guard_after_fork();
        EXPECT(*p == 'p');
        put_back(p);
        EXPECT(is_told(p, GUARD_USE_AFTER_FREE));
        _exit(unit_failures != 0);
    }
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0 && *p == 'p' && reports == 0);
}

/* ---- fork while another thread frees a block ---- */

static _Atomic int held_up; /* 1: who frees next is to wait; 2: it does */

bool __wrap_mem_discard(void *start, size_t size);
bool __real_mem_discard(void *start, size_t size);

bool __wrap_mem_discard(void *start, size_t size)
{
    int expected = 1;
    if (atomic_compare_exchange_strong(&held_up, &expected, 2))
        while (atomic_load(&held_up) != 0)
            sched_yield();
    return __real_mem_discard(start, size);
}

static void *free_slowly(void *p)
{
    put_back(p);
    return NULL;
}

static unsigned take_all(void)
{
    unsigned taken = 0;
    for (char *p; (p = guard_take(64, 16, 3, 1)) != NULL; taken++)
        EXPECT(p[0] == 0 && memset(p, 't', 64) != NULL);
    return taken;
}

static void fork_half_way(void)
{
    pthread_t thread;
    int status;
    start();
    char *p = guard_take(64, 16, 3, 1);
    memset(p, 'x', 64);
    atomic_store(&held_up, 1);
    EXPECT(pthread_create(&thread, NULL, free_slowly, p) == 0);
    while (atomic_load(&held_up) != 2)
        sched_yield();
    pid_t pid = fork();
    if (pid == 0) {
        atomic_store(&held_up, 0);
        guard_after_fork();
        EXPECT(take_all() == SLOTS);
        _exit(unit_failures != 0);
    }
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    EXPECT(take_all() == SLOTS - 1);
    atomic_store(&held_up, 0);
    EXPECT(pthread_join(thread, NULL) == 0 && take_all() == 1);
}

IN_CHILD(fork_half_way)
IN_CHILD(places)
IN_CHILD(after_free)
IN_CHILD(others)
IN_CHILD(in_line)
IN_CHILD(threads)
IN_CHILD(each)
IN_CHILD(some)
IN_CHILD(none)
IN_CHILD(resized)
IN_CHILD(in_child_of_fork)

UNIT_MAIN(TEST(test_places), TEST(test_after_free), TEST(test_others), TEST(test_in_line),
          TEST(test_threads), TEST(test_each), TEST(test_some), TEST(test_none),
          TEST(test_resized), TEST(test_free_twice), TEST(test_in_child_of_fork),
          TEST(test_fork_half_way))
