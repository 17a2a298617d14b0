/* heap_sweep.c -- a sweep reaches every span once, whoever takes part, and whenever the world is
 * stopped for the next one. */
#include "heap/sweep.h"

#include "check/heap_check.h"
#include "child.h"
#include "ended_mark.h"
#include "heap/central.h"
#include "heap/heap.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/large.h"
#include "heap/page_heap.h"
#include "sys/clock.h"
#include "sys/lock.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

enum { BLOCKS = 4096, CLASS = 16 }; /* 256 bytes, 16 slabs */

static void *blocks[BLOCKS];

static void advance(bool reclaim)
{
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    set_terms(reclaim, 1);
}

static void fill_heap(uint8_t byte)
{
    for (uint32_t got = 0; got < BLOCKS;) {
        uint32_t more = central_fetch(CLASS, 0, &blocks[got], BLOCKS - got);
        if (!EXPECT(more != 0))
            _exit(1);
        got += more;
    }
    for (uint32_t i = 0; i < BLOCKS; i++)
        relaxed_store(slot_of((uintptr_t)blocks[i]), byte);
}

static unsigned count_unswept(void)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < relaxed_load(&arena.top); i++) {
        const struct slab *s = slab_at(i);
        count += slab_kind(s) == SLAB_CLASSED && s->head == i &&
                 relaxed_load(&s->swept) != relaxed_load(&hot.epoch);
    }
    return count;
}

/* ---- one thread ---- */

static void finish_sweeps_all(void)
{
    struct heap_census census;
    bool zeroed;
    EXPECT(heap_init(64 * MIB, false));
    char *large = large_alloc(MIB, GRANULE, &zeroed);
    relaxed_store(slot_of((uintptr_t)large), relaxed_load(&hot.epoch));
    fill_heap(relaxed_load(&hot.epoch));
    advance(true);
    sweep_for(1000); /* no sweep is open: nothing happens */
    EXPECT(count_unswept() == 16);
    sweep_begin();
    sweep_finish();
    EXPECT(count_unswept() == 0 && heap_check("finished", &census) && census.live == 0);
    EXPECT(census.large_blocks == 0 && relaxed_load(&heap_stats.reclaimed_count) == BLOCKS + 1);
    EXPECT(heap_used() == 0);
    sweep_finish(); /* again is harmless */
}

static void for_stops_early(void)
{
    EXPECT(heap_init(64 * MIB, false));
    for (unsigned i = 0; i < 64; i++) {
        bool zeroed;
        char *p = large_alloc(4 * SLAB_SIZE, GRANULE, &zeroed);
        relaxed_store(slot_of((uintptr_t)p), relaxed_load(&hot.epoch));
    }
    advance(true);
    sweep_begin();
    sweep_for(4);
    uint32_t free = page_heap_stats().free_slabs;
    EXPECT(free >= 4 && free <= 32);
    sweep_for(100);
    EXPECT(page_heap_stats().free_slabs >= free + 100 && page_heap_stats().free_slabs < 200);
    EXPECT(heap_trim() == 256 * (size_t)SLAB_SIZE || page_heap_stats().dirty_slabs == 0);
    EXPECT(page_heap_stats().free_slabs == 256); /* trimming sweeps what is left */
    sweep_finish();
    EXPECT(heap_check("trimmed", NULL));
}

/* 300 cycles: epochs wrap, blocks grow old and are kept, and `swept` never lies. */
static void epochs_wrap(void)
{
    struct heap_census census;
    EXPECT(heap_init(64 * MIB, false));
    fill_heap(relaxed_load(&hot.epoch));
    for (unsigned cycle = 1; cycle <= 300; cycle++) {
        advance(false);
        for (uint32_t i = 0; i < BLOCKS; i += 2)
            relaxed_store(slot_of((uintptr_t)blocks[i]), relaxed_load(&hot.epoch));
        sweep_begin();
        sweep_finish();
        uint8_t lost = relaxed_load(slot_of((uintptr_t)blocks[1]));
        EXPECT(count_unswept() == 0 && (lost == SLOT_KEPT) == (cycle >= JUDGE_KEEP_AGE));
        EXPECT(slot_age(relaxed_load(&hot.epoch), lost) ==
               (cycle >= JUDGE_KEEP_AGE ? EPOCH_COUNT : cycle));
    }
    EXPECT(heap_check("wrapped", &census) && census.live == BLOCKS);
    advance(true);
    judge.least = SLOT_KEPT; /* the last cycle of all */
    for (uint32_t i = 0; i < BLOCKS; i += 2)
        relaxed_store(slot_of((uintptr_t)blocks[i]), relaxed_load(&hot.epoch));
    sweep_begin();
    sweep_finish();
    EXPECT(heap_check("the kept too", &census) && census.live == BLOCKS / 2);
}

static void test_alone(void)
{
    EXPECT(child_passes(finish_sweeps_all));
    EXPECT(child_passes(for_stops_early));
    EXPECT(child_passes(epochs_wrap));
}

/* ---- together ---- */

static _Atomic bool done;
static _Atomic uint32_t stop_state; /* 1 asked, 2 stopped, 0 run on */

static void stop_here(int signal)
{
    (void)signal;
    atomic_store(&stop_state, 2);
    futex_wake(&stop_state, 1);
    while (atomic_load(&stop_state) == 2)
        futex_wait(&stop_state, 2);
}

static void *sweep_always(void *data)
{
    (void)data;
    while (!atomic_load(&done))
        sweep_for(UINT32_MAX / 2);
    return NULL;
}

static void stop(pthread_t thread)
{
    atomic_store(&stop_state, 1);
    pthread_kill(thread, SIGUSR1);
    while (atomic_load(&stop_state) != 2)
        futex_wait(&stop_state, 1);
}

static void let_go(void)
{
    atomic_store(&stop_state, 0);
    futex_wake(&stop_state, 1);
}

static void wait_a_little(unsigned rounds)
{
    for (volatile unsigned i = 0; i < rounds; i++)
        continue;
}

/* .inv.swept_all, with the other thread stopped wherever it is in its sweep when the next opens. */
static void stopped_anywhere(void)
{
    pthread_t thread;
    unsigned unswept = 0;
    EXPECT(heap_init(64 * MIB, false));
    fill_heap(relaxed_load(&hot.epoch));
    signal(SIGUSR1, stop_here);
    pthread_create(&thread, NULL, sweep_always, NULL);
    uint64_t end = clock_now_ns() + 400000000u;
    for (unsigned round = 0; clock_now_ns() < end; round++) {
        sweep_finish();
        unswept += round != 0 ? count_unswept() : 0;
        wait_a_little(round % 64);
        stop(thread);
        advance(false);
        for (uint32_t i = 0; round % 16 == 0 && i < BLOCKS; i++)
            relaxed_store(slot_of((uintptr_t)blocks[i]), relaxed_load(&hot.epoch));
        sweep_begin();
        let_go();
        wait_a_little(round % 256);
    }
    sweep_finish();
    atomic_store(&done, true);
    pthread_join(thread, NULL);
    EXPECT(unswept == 0 && count_unswept() == 0 && heap_check("stopped anywhere", NULL));
}

/* ---- every interleaving ---- */

/* The thread goes one instruction at a time (the trap flag) through sweep_for, into a sweep of
 * which nothing is left. Before instruction `finish_at` the collector finishes that sweep; before
 * `begin_at`, with the thread standing there, it opens the next. */
static struct {
    unsigned step, finish_at, begin_at;
} interleaving;

enum { TRAP_FLAG = 0x100 };

static void at_step(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    if (interleaving.step == interleaving.finish_at)
        sweep_finish(); /* waits for ever if the thread is inside: the alarm ends it */
    if (interleaving.step == interleaving.begin_at) {
        advance(true);
        sweep_begin();
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    }
    interleaving.step++;
}

static void step_through(void)
{
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "memory", "cc");
    sweep_for(1);
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" : : : "memory", "cc");
}

/* In a child. 0: all was swept; 1: it was not; a signal: the collector had to wait, or a check. */
static void interleave(void)
{
    struct itimerval alarm = {{0, 0}, {0, 400000}};
    struct sigaction trap = {.sa_sigaction = at_step, .sa_flags = SA_SIGINFO};
    close(STDERR_FILENO);
    sweep_begin();
    sigaction(SIGTRAP, &trap, NULL);
    setitimer(ITIMER_REAL, &alarm, NULL);
    step_through();
    sweep_finish();
    _exit(interleaving.step <= interleaving.begin_at ? 2 : count_unswept() != 0);
}

static int status_of(unsigned finish_at, unsigned begin_at)
{
    int status = -1;
    interleaving.finish_at = finish_at;
    interleaving.begin_at = begin_at;
    pid_t pid = fork();
    if (pid == 0)
        interleave();
    waitpid(pid, &status, 0);
    return status;
}

/* The last steps at which the collector need not wait: the thread has seen the old sweep open. */
static unsigned first_wait(void)
{
    unsigned step = 0;
    while (step < 2000 && !WIFSIGNALED(status_of(step, UINT32_MAX)))
        step++;
    return step;
}

static void every_interleaving(void)
{
    unsigned ran = 0, wait;
    EXPECT(heap_init(64 * MIB, false));
    fill_heap(relaxed_load(&hot.epoch));
    wait = first_wait();
    EXPECT(wait > 2 && wait < 2000);
    for (unsigned finish_at = wait - 2; finish_at < wait; finish_at++) {
        unsigned begin_at = finish_at;
        int status = 0;
        for (; status == 0; begin_at++, ran++)
            status = status_of(finish_at, begin_at);
        if (!EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 2)) /* past the end of sweep_for */
            printf("    finish at %u, begin at %u: status %x\n", finish_at, begin_at - 1,
                   (unsigned)status);
    }
    EXPECT(ran > 20);
}

static void *help(void *data)
{
    pthread_barrier_wait(data);
    sweep_for(UINT32_MAX / 2);
    return NULL;
}

/* Three sweepers: each block is reclaimed once, and finish waits for the others. */
static void sweep_together(void)
{
    pthread_barrier_t ready;
    pthread_barrier_init(&ready, NULL, 3);
    EXPECT(heap_init(64 * MIB, false));
    for (unsigned round = 1; round <= 100; round++) {
        pthread_t t[2];
        fill_heap(relaxed_load(&hot.epoch));
        advance(true);
        sweep_begin();
        for (unsigned i = 0; i < 2; i++)
            pthread_create(&t[i], NULL, help, &ready);
        pthread_barrier_wait(&ready);
        sweep_finish();
        EXPECT(heap_used() == 0 && count_unswept() == 0);
        EXPECT(relaxed_load(&heap_stats.reclaimed_count) == (uint64_t)round * BLOCKS);
        for (unsigned i = 0; i < 2; i++)
            pthread_join(t[i], NULL);
    }
    EXPECT(heap_check("together", NULL));
}

static void test_together(void)
{
    EXPECT(child_passes(stopped_anywhere));
    EXPECT(child_passes(every_interleaving));
    EXPECT(child_passes(sweep_together));
}

UNIT_MAIN(TEST(test_alone), TEST(test_together))
