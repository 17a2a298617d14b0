/* movers.c -- the program that a concurrent collector must survive.
 *
 * While a marker reads memory, the program moves the only pointer to a block from where it has not
 * yet looked to where it has been. Here nothing else is done: each thread owns some hundred blocks
 * (16 bytes to 2 MiB), and moves their only pointers, millions of times a second, between
 *
 *   static data, thread-local storage, pthread keys, its stack (frames deep down and the red
 *   zone too), registers of every kind, the brk area;
 *   words of other blocks, small and large, which themselves hang on one pointer that moves, and
 *   which realloc moves with what they hold;
 *   mappings that are made, moved by mremap, discarded, protected, and unmapped, private and
 *   shared;
 *   stacks of coroutines and of signals, in mappings and in blocks;
 *   other threads: through cells, a stack without locks, thread arguments and results;
 *   copies that the kernel makes.
 *
 * Pointers may be to inside of a block or one past its end. Trees are rotated and rings exchange
 * nodes (movers_linked.c). Some blocks are freed, some are dropped, so that cycles find something;
 * threads live for a while and are replaced; children of fork check what they have inherited and
 * go on for a while.
 *
 * Every block that passes is checked; movers.h has the invariants. The test needs no help of the
 * library, runs under any malloc (which then leaks), and under the collector should be run with
 * cycles as often as possible: GCMALLOC=stress=500,confirm=1,probation=0.
 *
 *     movers [--threads=N] [--seconds=N] [--seed=N] [--live=N] [--rate=N] [--leak=N] [--bursts=N]
 *            [--forks=N] [--kernel=0|1] [--leakcheck=0|1]
 *
 *   live      blocks a thread holds, about
 *   rate      moves for each block that is made, resized or dropped
 *   leak      bytes dropped per block made, about
 *   bursts    turns in a thread's life; between two, it moves 256 times
 *   forks     one in so many turns; 0 for none
 *   kernel    0: no system call writes into blocks
 *   leakcheck 1: ends with 1 when far more was resident than is needed at once
 *
 * A thread's random numbers come from the seed, its number and its life's: the same seed does the
 * same, except for what is handed over between threads, and how many lives there are time for. */
#include "movers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BURST = 256,
    CHILD_BURSTS = 40,
    CHURN_MOST = 8 << 10,
    HOLDERS_MOST = 512,
    FIXED_SLOTS = 4 * PER_PLACE + STACK_WORDS + BRK_WORDS,
};

pthread_key_t mover_keys[PER_PLACE];

static word data_words[THREADS_MOST][PER_PLACE] = {{(void *)1}}; /* not zero: in .data */
static word bss_words[THREADS_MOST][PER_PLACE];
static _Thread_local word tls_words[PER_PLACE];

static uint64_t end_ns;
static atomic_uint lives;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the games ------------------------------------------------------------------------------- */

void churn(struct thread *th, unsigned count)
{
    while (count--) {
        size_t size = rng_between(&th->rng, 16, CHURN_MOST);
        unsigned char *p = malloc(size);
        if (!p || (!shadow_claim(p, size) && !child_of_fork))
            fail(".inv.apart: new block %p of %zu bytes overlaps one in use", (void *)p, size);
        memset(p, 0xa5, size);
        shadow_release(p, size);
        free(p);
    }
}

void play(struct thread *th, unsigned moves)
{
    for (unsigned i = 0; i < moves; i += 2) {
        slot_swap(th, slot_random(th), slot_random(th));
        if (rng_below(&th->rng, th->settings->rate) < 2)
            slot_live(th, slot_random(th));
    }
}

static void fork_turn(struct thread *th);

static void nothing_turn(struct thread *th)
{
    (void)th;
}

static void check_turn(struct thread *th)
{
    slots_check(th);
    linked_check(th);
}

static void churn_turn(struct thread *th)
{
    churn(th, 16);
}

static const struct {
    void (*turn)(struct thread *th);
    unsigned weight;
} turns[] = {
    {nothing_turn, 200}, {register_turn, 300}, {stack_turn, 20},    {kernel_turn, 60},
    {post_turn, 200},    {rotate_turn, 40},    {linked_turn, 100},  {stack_of_all_turn, 60},
    {region_turn, 30},   {coroutine_turn, 40}, {alternate_turn, 8}, {guest_turn, 3},
    {holders_make, 30},  {churn_turn, 10},     {check_turn, 1},
};

static void turn_random(struct thread *th)
{
    static unsigned total;
    unsigned sum = 0;
    if (!total) {
        for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++)
            sum += turns[i].weight;
        total = sum;
    }
    size_t dice = rng_below(&th->rng, total), i = 0;
    for (; dice >= turns[i].weight; i++)
        dice -= turns[i].weight;
    if (turns[i].turn != kernel_turn || th->settings->kernel)
        turns[i].turn(th);
}

static void burst(struct thread *th)
{
    where.op++;
    play(th, BURST);
    for (int i = 0; i < 4; i++)
        turn_random(th);
    if (!th->is_child && th->settings->forks && rng_chance(&th->rng, th->settings->forks))
        fork_turn(th);
}

/* A child has none of its parent's shared memory (keep_from_child); it gets a copy of what its own
 * thread had there. */
static void regions_copy_shared(struct thread *th, void **copies)
{
    for (int i = 0; i < REGIONS; i++)
        copies[i] = th->regions[i].shared ? region_copy(th, &th->regions[i]) : NULL;
}

static void regions_take_copies(struct thread *th, void **copies, bool child)
{
    for (int i = 0; i < REGIONS; i++)
        if (copies[i] && child)
            region_take_copy(&th->regions[i], copies[i]);
        else if (copies[i])
            munmap(copies[i], th->regions[i].size);
}

static void fork_turn(struct thread *th)
{
    void *copies[REGIONS];
    regions_copy_shared(th, copies);
    pid_t pid = fork();
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    regions_take_copies(th, copies, !pid);
    if (!pid) {
        th->is_child = true;
        child_of_fork = true;
        check_turn(th);
        for (int i = 0; i < CHILD_BURSTS; i++)
            burst(th);
        check_turn(th);
        _exit(0);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid: %s", strerror(errno));
    if (status)
        fail("the forked child ended with status %#x", (unsigned)status);
    th->counts.forks++;
}

/* ---- a thread's life ------------------------------------------------------------------------- */

static void slots_lay_out(struct thread *th, word *stack_words)
{
    struct slot *s = th->slots;
    for (int i = 0; i < PER_PLACE; i++)
        slot_place(s++, &data_words[th->number][i], 0);
    for (int i = 0; i < PER_PLACE; i++)
        slot_place(s++, &bss_words[th->number][i], 0);
    for (int i = 0; i < PER_PLACE; i++)
        slot_place(s++, &tls_words[i], 0);
    for (int i = 0; i < PER_PLACE; i++, s++) {
        slot_place(s, NULL, 0);
        s->at = 0;
        s->key = (uint8_t)i;
    }
    for (int i = 0; i < STACK_WORDS; i++)
        slot_place(s++, &stack_words[i], 0);
    for (int i = 0; i < BRK_WORDS; i++)
        slot_place(s++, (word *)(void *)th->brk + i, 0);
    for (int i = 0; i < PER_PLACE; i++)
        data_words[th->number][i] = NULL;
}

/* Those of regions, coroutines and holders do not exist yet. */
static void books_make(struct thread *th)
{
    size_t holders = th->settings->live * 2 / HOLDER_SLOTS + 4;
    th->holder_count = holders > HOLDERS_MOST ? HOLDERS_MOST : (unsigned)holders;
    unsigned next = FIXED_SLOTS;
    th->slot_count = next + REGIONS * REGION_SLOTS + COROUTINES * COROUTINE_SLOTS +
                     th->holder_count * HOLDER_SLOTS;
    th->slots = outside_map(th->slot_count * sizeof *th->slots);
    th->holders = outside_map(th->holder_count * sizeof *th->holders);
    for (unsigned i = next; i < th->slot_count; i++) {
        slot_place(&th->slots[i], NULL, 0);
        th->slots[i].busy = true;
    }
    for (int i = 0; i < REGIONS; i++, next += REGION_SLOTS)
        th->regions[i].first = next;
    th->coroutine_first = next;
    next += COROUTINES * COROUTINE_SLOTS;
    for (unsigned i = 0; i < th->holder_count; i++, next += HOLDER_SLOTS) {
        th->holders[i].first = next;
        th->holders[i].level = (uint8_t)(1 + i % HOLDER_LEVELS);
    }
}

static void books_drop(struct thread *th)
{
    munmap(th->slots, th->slot_count * sizeof *th->slots);
    munmap(th->holders, th->holder_count * sizeof *th->holders);
}

static bool life_goes_on(const struct thread *th, uint64_t bursts)
{
    return bursts < th->settings->bursts && now_ns() < end_ns;
}

static void *thread_main(void *arg)
{
    struct thread *th = arg;
    word stack_words[STACK_WORDS] = {0};
    where = (struct where){th->number, th->life, 0};
    books_make(th);
    slots_lay_out(th, stack_words);
    regions_make(th);
    linked_make(th);
    for (int i = 0; i < 4; i++)
        holders_make(th);
    coroutines_make(th);
    for (uint64_t i = 0; life_goes_on(th, i); i++)
        burst(th);
    check_turn(th);
    coroutines_drop(th);
    alternate_drop(th);
    regions_drop(th);
    check_turn(th);
    slots_drop(th);
    linked_drop(th);
    books_drop(th);
    return NULL;
}

static void thread_start(struct thread *th)
{
    struct counts counts = th->counts;
    *th = (struct thread){.number = th->number, .settings = th->settings, .brk = th->brk};
    th->counts = counts;
    th->counts.threads++;
    th->life = atomic_fetch_add(&lives, 1);
    th->rng = rng_mix(rng_mix(th->settings->seed, th->number), th->counts.threads);
    if (pthread_create(&th->id, NULL, thread_main, th))
        fail("pthread_create failed");
}

/* ---- the run --------------------------------------------------------------------------------- */

static void arguments_parse(struct settings *o, int argc, char **argv)
{
    uint64_t threads = o->threads, forks = o->forks, kernel = 1, leakcheck = 0;
    const struct {
        const char *name;
        uint64_t *value;
    } known[] = {
        {"--threads=", &threads}, {"--seconds=", &o->seconds}, {"--seed=", &o->seed},
        {"--live=", &o->live},    {"--rate=", &o->rate},       {"--leak=", &o->leak},
        {"--bursts=", &o->bursts}, {"--forks=", &forks},       {"--kernel=", &kernel},
        {"--leakcheck=", &leakcheck},
    };
    for (int i = 1; i < argc; i++) {
        size_t k = 0, n = sizeof known / sizeof known[0];
        while (k < n && strncmp(argv[i], known[k].name, strlen(known[k].name)) != 0)
            k++;
        if (k == n) {
            fprintf(stderr, "movers: what is %s? See the top of movers.c\n", argv[i]);
            exit(2);
        }
        *known[k].value = strtoull(argv[i] + strlen(known[k].name), NULL, 0);
    }
    o->threads = threads < 1 ? 1 : threads > THREADS_MOST ? THREADS_MOST : (unsigned)threads;
    o->rate = o->rate < 2 ? 2 : o->rate;
    o->forks = (unsigned)forks;
    o->kernel = kernel != 0;
    o->leakcheck = leakcheck != 0;
}

static size_t status_kb(const char *name)
{
    char line[256];
    size_t value = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)))
            value = strtoul(line + strlen(name), NULL, 10);
    if (f)
        fclose(f);
    return value;
}

static struct counts sum_of(const struct thread *threads, unsigned n)
{
    struct counts sum = {0};
    for (unsigned t = 0; t < n; t++) {
        const struct counts *c = &threads[t].counts;
        sum.moves += c->moves;
        sum.births += c->births;
        sum.freed += c->freed;
        sum.leaked += c->leaked;
        sum.leaked_bytes += c->leaked_bytes;
        sum.forks += c->forks;
        sum.threads += c->threads;
    }
    return sum;
}

/* 24 MB of a thread are blocks; the rest are stacks, mappings, and the heap between two cycles. */
static int leak_check(const struct settings *o, const struct counts *sum, size_t peak_kb)
{
    size_t allowed_kb = 64 * 1024 + o->threads * (size_t)(64 << 10) + sum->leaked_bytes / 1024 / 16;
    printf("movers: leakcheck: %ju KB leaked, %zu KB resident at most, %zu KB allowed\n",
           (uintmax_t)sum->leaked_bytes / 1024, peak_kb, allowed_kb);
    return o->leakcheck && peak_kb > allowed_kb;
}

static void brk_make(struct thread *threads, unsigned n)
{
    char *p = sbrk((intptr_t)(n * PAGE));
    if (p == (void *)-1) /* as under some address space limits */
        p = outside_map(n * PAGE);
    p = (char *)(((uintptr_t)p + 15) & ~(uintptr_t)15);
    for (unsigned t = 0; t < n; t++)
        threads[t].brk = p + t * (PAGE - 16);
}

int main(int argc, char **argv)
{
    struct settings o = {.seconds = 3, .live = 300, .rate = 256, .leak = 2048, .bursts = 3000,
                         .threads = 4, .forks = 2000, .seed = now_ns() % 1000000007};
    arguments_parse(&o, argc, argv);
    printf("movers: --seed=%ju --threads=%u --seconds=%ju\n", (uintmax_t)o.seed, o.threads,
           (uintmax_t)o.seconds);
    fflush(stdout);
    run_name_set("movers", o.seed);
    uint64_t begun = now_ns();
    end_ns = begun + o.seconds * 1000000000u;
    for (int i = 0; i < PER_PLACE; i++)
        if (pthread_key_create(&mover_keys[i], NULL))
            fail("pthread_key_create failed");
    struct thread *threads = outside_map(o.threads * sizeof *threads);
    brk_make(threads, o.threads);
    post_start();
    alternate_start();
    for (unsigned t = 0; t < o.threads; t++) {
        threads[t].number = t;
        threads[t].settings = &o;
        thread_start(&threads[t]);
    }
    for (unsigned t = 0; t < o.threads; t++) {
        for (pthread_join(threads[t].id, NULL); now_ns() < end_ns;) {
            thread_start(&threads[t]);
            pthread_join(threads[t].id, NULL);
        }
    }
    struct counts sum = sum_of(threads, o.threads);
    int bad = leak_check(&o, &sum, status_kb("VmHWM:"));
    double s = (double)(now_ns() - begun) / 1e9;
    printf("movers: %s, %.1f million moves a second, %ju blocks made, %ju freed, %ju dropped, "
           "%ju threads, %ju forks\n", bad ? "FAILED: leaks were not reclaimed" : "passed",
           (double)sum.moves / s / 1e6, (uintmax_t)sum.births, (uintmax_t)sum.freed,
           (uintmax_t)sum.leaked, (uintmax_t)sum.threads, (uintmax_t)sum.forks);
    return bad;
}
