/* mutator_park.c -- who is parked stays out of the program while the world is stopped. */
#include "mutator/park.h"

#include "child.h"
#include "heap/heap.h"
#include "mutator/thread.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/syscall.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { FRAME = 4096, THREADS = 2, STOPS = 300000, BEATS = 100, LONG_ENOUGH_NS = 20000000 };

static _Atomic int step;
static _Atomic bool quit;

static void start(void)
{
    EXPECT(heap_init(64 * MIB, false) && thread_attach(1));
}

static void pause_ns(long ns)
{
    struct timespec t = {0, ns};
    nanosleep(&t, NULL);
}

static void await_step(int wanted)
{
    while (atomic_load(&step) < wanted)
        sched_yield();
}

/* ---- places ---- */

static void *attach_and_go(void *place)
{
    EXPECT(park_self == NULL && thread_attach(2));
    EXPECT(park_self->stack_hint == 2 && park_self->stack_low == 0);
    EXPECT(relaxed_load(&park_self->tid) == gettid() && relaxed_load(&park_self->frame) == 0);
    *(struct park **)place = park_self;
    thread_detach();
    EXPECT(park_self == NULL);
    return NULL;
}

static void places(void)
{
    struct park *first = NULL, *second = NULL;
    pthread_t thread;
    start();
    EXPECT(pthread_create(&thread, NULL, attach_and_go, &first) == 0);
    pthread_join(thread, NULL);
    EXPECT(pthread_create(&thread, NULL, attach_and_go, &second) == 0);
    pthread_join(thread, NULL);
    EXPECT(first == second && first != NULL && first != park_self && relaxed_load(&first->tid) == 0);
}

static void alternate(void)
{
    static char memory[64 << 10];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
    EXPECT(sigaltstack(&stack, NULL) == 0);
    start();
    EXPECT(relaxed_load(&park_self->alternate) == (uintptr_t)memory);
    EXPECT(relaxed_load(&park_self->alternate_size) == sizeof memory);
    park_note_alternate(0, 0);
    EXPECT(relaxed_load(&park_self->alternate) == 0);
}

/* ---- one thread, step by step ---- */

static void *park_and_return(void *unused)
{
    EXPECT(thread_attach(3));
    park_begin(FRAME);
    atomic_store(&step, 1);
    await_step(2);
    park_end();
    atomic_store(&step, 3);
    thread_detach();
    return unused;
}

/* What is parked when the stop comes returns when it is over. */
static void kept_out(void)
{
    pthread_t thread;
    uint32_t count;
    start();
    EXPECT(pthread_create(&thread, NULL, park_and_return, NULL) == 0);
    await_step(1);
    EXPECT(park_stop(1));
    lock_acquire(thread_registry_lock());
    struct park *all = park_places(&count);
    EXPECT(count == 2 && relaxed_load(&all[1].frame) == FRAME);
    lock_release(thread_registry_lock());
    atomic_store(&step, 2);
    pause_ns(LONG_ENOUGH_NS);
    EXPECT(atomic_load(&step) == 2);
    park_start();
    pthread_join(thread, NULL);
    EXPECT(atomic_load(&step) == 3);
}

static void *park_late(void *unused)
{
    EXPECT(thread_attach(4));
    await_step(1);
    park_begin(FRAME);
    atomic_store(&step, 2);
    park_end();
    thread_detach();
    return unused;
}

/* Nor does anybody go to sleep while the world is stopped. */
static void kept_in(void)
{
    pthread_t thread;
    start();
    EXPECT(pthread_create(&thread, NULL, park_late, NULL) == 0);
    EXPECT(park_stop(1));
    atomic_store(&step, 1);
    pause_ns(LONG_ENOUGH_NS);
    EXPECT(atomic_load(&step) == 1);
    park_start();
    pthread_join(thread, NULL);
    EXPECT(atomic_load(&step) == 2);
}

static void without_place(void)
{
    park_begin(FRAME); /* harmless */
    park_end();
    park_note_alternate(1, 1);
    EXPECT(park_self == NULL);
}

/* A copy of the process that libc does not know of is not stopped with it, nor for ever. */
static void copied(void)
{
    start();
    park_begin(FRAME);
    EXPECT(park_stop(1));
    pid_t child = (pid_t)syscall6(__NR_clone, SIGCHLD, 0, 0, 0, 0, 0);
    if (child == 0) {
        park_end();
        syscall1(__NR_exit_group, atomic_load(&park_stopping) != 0);
    }
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    EXPECT(atomic_load(&park_stopping) == 1);
    park_start();
}

/* In a handler on top of the stopper there is nobody to wait for. */
static void stopper_itself(void)
{
    start();
    EXPECT(park_stop(1));
    park_wait();
    park_start();
}

static void forbidden(void)
{
    start();
    EXPECT(park_stop(1));
    park_start();
    park_forbid();
    EXPECT(!park_stop(2));
    park_start();
}

/* ---- .inv.parked, by force ---- */

struct racer {
    pthread_t thread;
    _Atomic(struct park *) place;
    _Atomic uint64_t beats __attribute__((aligned(CACHE_LINE)));  /* moves while it is not parked */
};

static struct racer racers[THREADS];

static void *race(void *data)
{
    struct racer *r = data;
    EXPECT(thread_attach(5));
    atomic_store(&r->place, park_self);
    while (!relaxed_load(&quit)) {
        park_begin(FRAME);
        for (int i = 0; i < BEATS; i++)
            compiler_barrier();
        park_end();
        for (int i = 0; i < BEATS; i++)
            relaxed_store(&r->beats, relaxed_load(&r->beats) + 1);
    }
    thread_detach();
    return NULL;
}

/* Returns how many were parked; their beats must not change. The frames are read before, too: then
 * a thread's store to its own waits for the cache line, while its load of park_stopping does not,
 * which without a fence lets the one overtake the other. */
static unsigned stop_once(uint32_t number, unsigned *moved)
{
    bool parked[THREADS];
    uint64_t beats[THREADS];
    unsigned count = 0;
    for (unsigned i = 0; i < THREADS; i++)
        parked[i] = acquire_load(&atomic_load(&racers[i].place)->frame) != 0;
    EXPECT(park_stop(number));
    for (unsigned i = 0; i < THREADS; i++) {
        parked[i] = acquire_load(&atomic_load(&racers[i].place)->frame) != 0;
        beats[i] = relaxed_load(&racers[i].beats);
        count += parked[i];
    }
    for (uint64_t end = clock_now_ns() + 500; clock_now_ns() < end;)
        __builtin_ia32_pause();
    for (unsigned i = 0; i < THREADS; i++)
        *moved += parked[i] && relaxed_load(&racers[i].beats) != beats[i];
    park_start();
    return count;
}

static void raced(void)
{
    unsigned parked = 0, moved = 0;
    start();
    for (unsigned i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&racers[i].thread, NULL, race, &racers[i]) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        while (atomic_load(&racers[i].place) == NULL)
            sched_yield();
    for (uint32_t n = 1; n <= STOPS; n++)
        parked += stop_once(n, &moved);
    atomic_store(&quit, true);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(racers[i].thread, NULL);
    EXPECT(moved == 0);
    EXPECT(parked != 0 && parked != STOPS * THREADS);
}

static void test_places(void)
{
    EXPECT(child_passes(places));
}

static void test_alternate(void)
{
    EXPECT(child_passes(alternate));
}

static void test_kept_out(void)
{
    EXPECT(child_passes(kept_out));
}

static void test_kept_in(void)
{
    EXPECT(child_passes(kept_in));
}

static void test_without_place(void)
{
    EXPECT(child_passes(without_place));
}

static void test_copied(void)
{
    EXPECT(child_passes(copied));
}

static void test_stopper_itself(void)
{
    EXPECT(child_passes(stopper_itself));
}

static void test_forbidden(void)
{
    EXPECT(child_passes(forbidden));
}

static void test_raced(void)
{
    EXPECT(child_passes(raced));
}

UNIT_MAIN(TEST(test_places), TEST(test_alternate), TEST(test_kept_out), TEST(test_kept_in),
          TEST(test_without_place), TEST(test_copied), TEST(test_stopper_itself),
          TEST(test_forbidden), TEST(test_raced))
