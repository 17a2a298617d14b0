/* model.c -- is the malloc that is loaded a malloc? A random model test.
 *
 * Threads call the whole family at random and hold every answer against what malloc promises:
 *
 *   .inv.apart    No two live blocks share a byte, over the whole of malloc_usable_size (shadow.h).
 *   .inv.kept     A block's bytes change by the program's hand alone: each is filled with a pattern
 *                 made of its address, size and number, compared before free and realloc and at
 *                 random in between; realloc keeps what fits.
 *   .inv.aligned  16 bytes where 16 fit, 8 below, or what was asked for.
 *   .inv.zeroed   calloc's memory is zero, however used it was before.
 *   .inv.enomem   What cannot be had is NULL with ENOMEM, and costs nothing.
 *
 * Blocks are freed by other threads: through a mailbox that all threads swap blocks with, and
 * since each round's threads end and leave their tables to others in the next. Some operations
 * fork; the child checks all blocks of its thread, goes on for a while, also in a thread of its
 * own, and says how it went by its exit status. A library with gcmalloc_heap_check (whole.c) is
 * held against the invariants of its essays after each round.
 *
 * `lenient` lets pass what Debian 12's other allocators get wrong: libmimalloc2.0 misaligns where
 * size and alignment are both 256 to 1,024, libjemalloc2 aligns blocks of no bytes to 8 whatever
 * was asked, libtcmalloc-minimal4 sets no errno when calloc overflows.
 *
 * Operation k of thread t in round r draws its own random numbers from (seed, t, r, k), so a
 * thread's sequence of operations is the same in each run, whatever the mailbox brings. Runs under
 * any malloc:
 *
 *     model [--seed=N] [--ops=N] [--rounds=N] [--seconds=N] [--threads=N] [--forks=N]
 *           [--lenient=1] */
#include "shadow.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SLOTS = 2048,             /* blocks a thread holds at most */
    MAILBOX = 64,             /* blocks under way between threads */
    LIVE_MOST = 48 << 20,     /* bytes a thread holds before it frees rather than allocates */
    CHILD_OPS = 300,          /* what a forked child does before it ends */
    GROW_BEHIND = 100 << 10,  /* what stands behind a large block that grows */
    CHECK_WHOLE = 64 << 10,   /* larger blocks are checked in samples ... */
    CHECK_SAMPLE = 512,       /* ... of so many bytes at both ends and at four places between */
};

struct block {
    unsigned char *p;
    size_t size;   /* of the pattern: what was asked for, or all that is usable */
    size_t usable; /* of the claim */
    uint64_t serial;
};

/* Owned by one thread at a time; changes hands between rounds. */
struct table {
    struct block blocks[SLOTS];
    size_t live_bytes;
    uint64_t serial;
};

/* What a thread's destructors free, and make again. */
struct last {
    struct block block;
    unsigned times;
};

struct thread {
    pthread_t id;
    unsigned number, round;
    const struct options *options;
    struct table *table;
    uint64_t forked_at;
    struct last last;
    bool is_child; /* of fork: the mailbox may be locked by a thread that is not here */
};

static struct {
    pthread_mutex_t lock;
    struct block blocks[MAILBOX];
} mailbox = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool lenient;

/* There where the library was built for it (whole.c). */
extern bool gcmalloc_heap_check(const char *when) __attribute__((weak));

/* ---- one block ------------------------------------------------------------------------------- */

static uint64_t block_key(const struct block *b)
{
    return pattern_key(b->p, b->size, b->serial);
}

static void bytes_check(const unsigned char *p, size_t from, size_t size, uint64_t key,
                        const struct block *b, const char *when)
{
    size_t at = pattern_check(p + from, from, size, key);
    if (at < size)
        fail(".inv.kept: byte %zu of block %p (%zu bytes, number %ju) has changed, found %s",
             from + at, (const void *)p, b->size, (uintmax_t)b->serial, when);
}

static void block_check(const struct block *b, const char *when)
{
    uint64_t key = block_key(b);
    if (b->size <= CHECK_WHOLE) {
        bytes_check(b->p, 0, b->size, key, b, when);
        return;
    }
    size_t last = b->size - CHECK_SAMPLE;
    for (size_t i = 0; i <= 5; i++)
        bytes_check(b->p, last / 5 * i, CHECK_SAMPLE, key, b, when);
    bytes_check(b->p, last, CHECK_SAMPLE, key, b, when);
}

static void alignment_check(const void *p, size_t size, size_t asked)
{
    if (lenient)
        asked = 1;
    size_t least = size >= 16 ? 16 : 8;
    size_t wanted = asked > least ? asked : least;
    if ((uintptr_t)p % wanted)
        fail(".inv.aligned: %p of %zu bytes is not aligned to %zu", p, size, wanted);
}

/* Makes the block known that the allocator has just returned, and fills it. */
static void block_enter(struct block *b, void *p, size_t size, size_t align, uint64_t serial,
                        bool use_all)
{
    if (!p)
        fail("no memory for %zu bytes: %s", size, strerror(errno));
    alignment_check(p, size, align);
    size_t usable = malloc_usable_size(p);
    if (usable < size)
        fail("malloc_usable_size of %p is %zu, asked for were %zu", p, usable, size);
    if (!shadow_claim(p, usable))
        fail(".inv.apart: %p of %zu bytes (usable %zu) overlaps a live block", p, size, usable);
    *b = (struct block){p, use_all ? usable : size, usable, serial};
    pattern_fill(b->p, 0, b->size, block_key(b));
}

static void block_leave(const struct block *b)
{
    if (!shadow_release(b->p, b->usable))
        fail("the shadow map has lost %p of %zu bytes", (void *)b->p, b->usable);
}

static void block_free(struct block *b)
{
    if (b->p) {
        block_check(b, "before free");
        block_leave(b);
    }
    free(b->p);
    *b = (struct block){0};
}

/* ---- the operations -------------------------------------------------------------------------- */

/* Mostly small, as programs are; now and then what goes straight to the kernel. */
static size_t random_size(uint64_t *rng)
{
    size_t dice = rng_below(rng, 1000);
    return rng_below(rng, dice < 650 ? 257 : dice < 900 ? 4097 : dice < 985 ? 65537
                          : dice < 999 ? 1 << 20 : 6 << 20);
}

static void zero_check(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i])
            fail(".inv.zeroed: byte %zu of calloc's %p (%zu bytes) is %#x", i, (const void *)p,
                 size, p[i]);
}

static void *calloc_checked(size_t size, uint64_t *rng)
{
    size_t count = rng_between(rng, 1, 16);
    unsigned char *p = calloc(count, size / count + 1);
    if (p)
        zero_check(p, count * (size / count + 1));
    return p;
}

/* Any of the ways to ask for an alignment; *align is what they promise. */
static void *aligned(size_t *size, size_t *align, uint64_t *rng)
{
    void *p = NULL;
    *align = (size_t)8 << rng_below(rng, rng_chance(rng, 20) ? 18 : 10);
    switch (rng_below(rng, 5)) {
    case 0:
        return posix_memalign(&p, *align, *size) ? NULL : p;
    case 1:
        return memalign(*align, *size);
    case 2:
        *size = (*size + *align - 1) & -*align;
        return aligned_alloc(*align, *size);
    case 3:
        *align = 4096;
        return valloc(*size);
    default:
        *align = 4096;
        p = pvalloc(*size);
        *size = (*size + 4095) & -(size_t)4096;
        return p;
    }
}

static void op_allocate(struct table *t, struct block *b, uint64_t *rng)
{
    size_t size = random_size(rng), align = 1, dice = rng_below(rng, 100);
    void *p = dice < 70   ? malloc(size)
              : dice < 88 ? calloc_checked(size, rng)
              : dice < 92 ? realloc(NULL, size)
                          : aligned(&size, &align, rng);
    block_enter(b, p, size, align, ++t->serial, rng_chance(rng, 4));
}

static void block_resize(struct table *t, struct block *b, size_t size, uint64_t *rng)
{
    struct block old = *b;
    uint64_t key = block_key(&old);
    block_check(&old, "before realloc");
    block_leave(&old);
    unsigned char *p = rng_chance(rng, 4) ? reallocarray(old.p, 1, size) : realloc(old.p, size);
    if (!p)
        fail("no memory to realloc %zu bytes to %zu", old.size, size);
    size_t kept = old.size < size ? old.size : size;
    size_t wrong = pattern_check(p, 0, kept, key);
    if (wrong < kept)
        fail(".inv.kept: realloc from %p (%zu bytes) to %p (%zu bytes) lost byte %zu",
             (void *)old.p, old.size, (void *)p, size, wrong);
    block_enter(b, p, size, 1, ++t->serial, rng_chance(rng, 4));
}

/* To no bytes: it is freed. */
static void block_vanish(struct block *b)
{
    volatile size_t none = 0;
    block_check(b, "before realloc to nothing");
    block_leave(b);
    void *p = realloc(b->p, none);
    if (p)
        fail("realloc of %p to no bytes gave %p", (void *)b->p, p);
    *b = (struct block){0};
}

static void op_realloc(struct table *t, struct block *b, uint64_t *rng)
{
    if (!lenient && rng_chance(rng, 50))
        block_vanish(b);
    else if (rng_chance(rng, 3))
        block_resize(t, b, b->size + rng_below(rng, 128) + 1, rng);
    else
        block_resize(t, b, random_size(rng) + 1, rng);
}

/* A large block grows twice, with another behind it so that its pages must move; then it shrinks. */
static void op_grow(struct table *t, struct block *b, uint64_t *rng)
{
    struct block behind = {0};
    block_free(b);
    size_t size = rng_between(rng, 200 << 10, 600 << 10);
    block_enter(b, malloc(size), size, 1, ++t->serial, false);
    block_enter(&behind, malloc(GROW_BEHIND), GROW_BEHIND, 1, ++t->serial, false);
    block_resize(t, b, size * rng_between(rng, 2, 4), rng);
    block_free(&behind);
    block_resize(t, b, b->size + size, rng);
    block_resize(t, b, size / rng_between(rng, 1, 9) + 1, rng);
}

/* Swaps the block (or nothing) with what another thread left there, and frees that. */
static void op_post(struct thread *th, struct block *b, uint64_t *rng)
{
    struct block *cell = &mailbox.blocks[rng_below(rng, MAILBOX)];
    if (th->is_child)
        return;
    pthread_mutex_lock(&mailbox.lock);
    struct block got = *cell;
    *cell = *b;
    pthread_mutex_unlock(&mailbox.lock);
    *b = (struct block){0};
    block_free(&got);
}

static void expect_no_memory(void *p, const char *what)
{
    if (p || (errno != ENOMEM && !lenient))
        fail(".inv.enomem: %s gave %p, errno %d", what, p, errno);
}

/* What no machine has. Sizes are volatile so that no compiler warns or folds. */
static void op_impossible(uint64_t *rng)
{
    volatile size_t huge = PTRDIFF_MAX - rng_below(rng, 1 << 16);
    volatile size_t half = SIZE_MAX / 2 + 2;
    errno = 0;
    switch (rng_below(rng, 4)) {
    case 0:
        expect_no_memory(malloc(huge), "malloc of PTRDIFF_MAX");
        break;
    case 1:
        expect_no_memory(calloc(half, 2), "calloc of more than SIZE_MAX");
        break;
    case 2:
        expect_no_memory(reallocarray(NULL, half, 2), "reallocarray of more than SIZE_MAX");
        break;
    default:
        expect_no_memory(realloc(NULL, huge), "realloc of PTRDIFF_MAX");
    }
}

static void table_check(const struct table *t, const char *when)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (t->blocks[i].p)
            block_check(&t->blocks[i], when);
}

/* ---- a thread -------------------------------------------------------------------------------- */

static void operate(struct thread *th, struct block *b, uint64_t *rng)
{
    struct table *t = th->table;
    size_t dice = rng_below(rng, 1000);
    if (!b->p)
        op_allocate(t, b, rng);
    else if (dice < 650 || t->live_bytes > LIVE_MOST)
        block_free(b);
    else if (dice < 780)
        op_realloc(t, b, rng);
    else if (dice < 880)
        op_post(th, b, rng);
    else if (dice < 985)
        block_check(b, "at random");
    else if (dice < 998)
        op_impossible(rng);
    else if (dice < 999)
        op_grow(t, b, rng);
    else if (rng_chance(rng, 4))
        malloc_trim(rng_below(rng, 1 << 20));
}

static void step(struct thread *th, uint64_t op)
{
    uint64_t rng = rng_mix(rng_mix(th->options->seed, th->number), rng_mix(th->round, op));
    struct block *b = &th->table->blocks[rng_below(&rng, SLOTS)];
    where.op = op;
    th->table->live_bytes -= b->size;
    operate(th, b, &rng);
    th->table->live_bytes += b->size;
}

static void *child_steps(void *arg)
{
    struct thread *th = arg;
    uint64_t op = th->forked_at;
    where = (struct where){th->number, th->round, op};
    for (uint64_t k = 0; k < CHILD_OPS; k++)
        step(th, op + k);
    return NULL;
}

/* Half of the steps in a thread of its own, of which the heap knows nothing yet. */
static void child_run(struct thread *th, uint64_t op)
{
    pthread_t other;
    th->is_child = true;
    th->forked_at = op;
    table_check(th->table, "in a forked child");
    child_steps(th);
    th->forked_at = op + CHILD_OPS;
    if (pthread_create(&other, NULL, child_steps, th) || pthread_join(other, NULL))
        fail("no thread in a forked child");
    table_check(th->table, "at the end of a forked child");
    _exit(0);
}

static void op_fork(struct thread *th, uint64_t op)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    if (!pid)
        child_run(th, op);
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid: %s", strerror(errno));
    if (status)
        fail("the forked child ended with status %#x", (unsigned)status);
}

static pthread_key_t last_key;

/* The last allocations are made by destructors, when the thread's cache may be gone. */
static void thread_last(void *arg)
{
    struct last *l = arg;
    block_free(&l->block);
    if (l->times++ >= 2)
        return;
    block_enter(&l->block, malloc(100), 100, 1, l->times, true);
    pthread_setspecific(last_key, l);
}

static void *thread_main(void *arg)
{
    struct thread *th = arg;
    const struct options *o = th->options;
    uint64_t fork_every = o->forks ? o->ops / o->forks : o->ops + 1;
    where = (struct where){th->number, th->round, 0};
    for (uint64_t op = 0; op < o->ops; op++) {
        step(th, op);
        if (op % fork_every == fork_every - 1)
            op_fork(th, op);
    }
    table_check(th->table, "at the end of a round");
    block_enter(&th->last.block, malloc(5000), 5000, 1, 0, true);
    pthread_setspecific(last_key, &th->last);
    return NULL;
}

/* Thread t of round r works on table (t + r) mod threads: most of its frees are of blocks that
 * threads now dead have allocated. */
static void round_run(const struct options *o, struct thread *threads, struct table *tables,
                      unsigned round)
{
    for (unsigned t = 0; t < o->threads; t++) {
        struct table *table = &tables[(t + round) % o->threads];
        threads[t] = (struct thread){.number = t, .round = round, .options = o, .table = table};
        if (pthread_create(&threads[t].id, NULL, thread_main, &threads[t]))
            fail("pthread_create failed");
    }
    for (unsigned t = 0; t < o->threads; t++)
        pthread_join(threads[t].id, NULL);
    if (gcmalloc_heap_check && !gcmalloc_heap_check("after a round"))
        fail("the heap is not as its essays say");
}

int main(int argc, char **argv)
{
    struct options o = {.ops = 150000, .rounds = 4, .threads = 4, .forks = 2};
    options_parse(&o, argc, argv);
    lenient = o.lenient;
    struct table *tables = outside_map(o.threads * sizeof *tables);
    struct thread *threads = outside_map(o.threads * sizeof *threads);
    unsigned round = 0;
    if (pthread_key_create(&last_key, thread_last))
        fail("pthread_key_create failed");
    for (; options_more(&o, round); round++)
        round_run(&o, threads, tables, round);

    for (unsigned t = 0; t < o.threads; t++)
        for (size_t i = 0; i < SLOTS; i++)
            block_free(&tables[t].blocks[i]);
    for (size_t i = 0; i < MAILBOX; i++)
        block_free(&mailbox.blocks[i]);
    printf("model: passed, %u rounds, %ju operations%s\n", round,
           (uintmax_t)o.ops * o.threads * round, gcmalloc_heap_check ? ", heap checked" : "");
}
