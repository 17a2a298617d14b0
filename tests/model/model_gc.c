/* model_gc.c -- does the collector ever take a block that the program can still reach?
 *
 * A random mutator. Threads build linked structures of every shape, hang each on one root of some
 * kind, cut, join, move, exchange and drop them, and never free most of what they drop. What should
 * be reachable is written down in a shadow that the collector cannot read: addresses stand there
 * complemented, which no conservative scan takes for pointers. Hence
 *
 *   .inv.only     A live block is reachable through its structure's own links from the one root,
 *                 and in no other way (but for stale words in registers and on stacks, which can
 *                 only make the test weaker, never wrong).
 *   .inv.kept     A reachable block's bytes are what the shadow says: its links, and for the rest a
 *                 pattern of its address, size and number.
 *   .inv.apart    A new block overlaps no reachable one (shadow.h): a block that was reclaimed
 *                 while in use is caught when it is given out again, whoever gets it.
 *   .inv.gone     A dropped block is never touched again. It leaves the shadow, and is freed if
 *                 it is to be freed by hand, while still reachable: from the moment that its last
 *                 pointer is gone the collector may have given it to someone else.
 *   .inv.held     Between malloc and the first link a block stands in a volatile word of the stack,
 *                 not only in what a compiler makes of its complement.
 *
 * Shapes: list, ring, doubly linked ring, tree, tree of 8, random graph. Links stand at any word
 * of a block, point to its start or anywhere inside (some structures by inner pointers alone), and
 * blocks go from 16 bytes to 1 MiB. Roots: .data, .bss, static thread-local storage, pthread keys,
 * the thread's stack, a register, a pool of mmap, the middle of a large block.
 *
 * Under a malloc that does not collect it is a leaking program that passes. Under the collector
 * run it with stress=N, confirm=1, probation=0: cycles at every moment, and each takes what it
 * can.
 *
 * Held against Boehm's collector 8.2.2 with a collection every 100 allocations (1,300 of them): it
 * passes without the roots in thread-local storage, which that one does not scan, and fails at once
 * with them.
 *
 *     model_gc [--seed=N] [--ops=N] [--rounds=N] [--seconds=N] [--threads=N] [--forks=N] */
#include "shadow.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    NODES = 48,        /* in a structure, at most */
    LINKS = 8,         /* in a node, at most */
    PER_PLACE = 8,     /* roots of each kind and thread */
    THREADS_MOST = 32, /* static roots are laid out for so many */
    EXCHANGE = 16,     /* structures under way between threads */
    POOL = 1 << 20,    /* the mmap'ed pool and the large block, whose roots stand in their middle */
    POOL_MIDDLE = POOL / 2 + 8,
    CHECK_WHOLE = 16 << 10,
    CHECK_SAMPLE = 256,
    CHILD_OPS = 50,
};

/* ---- the shadow ------------------------------------------------------------------------------ */

struct link {
    int16_t target;  /* the node it points to; -1 = NULL */
    uint32_t offset; /* and where in it */
};

struct node {
    uint64_t hidden; /* ~address */
    uint64_t serial;
    uint32_t size, links_at; /* bytes, and where in them the links stand */
    int16_t links;
    struct link link[LINKS];
};

/* A structure is reachable from its root word, which holds the address of node 0 plus `entry`.
 * Unreachable nodes are not in it: shapes connect everything, and what cuts a link drops the rest.
 * */
struct structure {
    int count;
    uint32_t entry;
    struct node nodes[NODES];
};

enum place { IN_DATA, IN_BSS, IN_TLS, IN_KEY, ON_STACK, IN_POOL, IN_LARGE, PLACES };
enum { STRUCTURES = PLACES * PER_PLACE };

struct thread {
    pthread_t id;
    unsigned number, round;
    const struct options *options;
    bool is_child;
    uint64_t serial;
    uint64_t dropped, built; /* blocks */
    /* Where the root words of each place begin. IN_KEY has none: pthread_getspecific. */
    void *volatile *words[PLACES];
    struct structure structures[STRUCTURES];
};

static void *volatile data_words[THREADS_MOST][PER_PLACE] = {{(void *)1}}; /* not zero: in .data */
static void *volatile bss_words[THREADS_MOST][PER_PLACE];
static _Thread_local void *volatile tls_words[PER_PLACE];
static void *volatile large_blocks[THREADS_MOST];
static pthread_key_t keys[PER_PLACE];

static struct {
    pthread_mutex_t lock;
    void *volatile words[EXCHANGE];
    struct structure *structures; /* outside the heap */
} exchange = {.lock = PTHREAD_MUTEX_INITIALIZER};

static unsigned char *node_address(const struct node *n)
{
    return (unsigned char *)(uintptr_t)~n->hidden;
}

/* ---- roots ----------------------------------------------------------------------------------- */

static void *root_get(const struct thread *th, int index)
{
    int place = index / PER_PLACE, i = index % PER_PLACE;
    return place == IN_KEY ? pthread_getspecific(keys[i]) : th->words[place][i];
}

static void root_set(struct thread *th, int index, void *value)
{
    int place = index / PER_PLACE, i = index % PER_PLACE;
    if (place == IN_KEY)
        pthread_setspecific(keys[i], value);
    else
        th->words[place][i] = value;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void *link_value(const struct structure *s, const struct link *l)
{
    return l->target < 0 ? NULL : node_address(&s->nodes[l->target]) + l->offset;
}

static void link_write(const struct structure *s, const struct node *n, int i)
{
    void *value = link_value(s, &n->link[i]);
    memcpy(node_address(n) + n->links_at + 8 * (size_t)i, &value, 8);
}

static uint64_t node_key(const struct node *n)
{
    return pattern_key(node_address(n), n->size, n->serial);
}

/* 16 bytes to 1 MiB, mostly small; room for the links. */
static size_t random_size(uint64_t *rng, int links)
{
    size_t dice = rng_below(rng, 1000), least = 8 * (size_t)links + 8;
    size_t most = dice < 800 ? 256 : dice < 970 ? 4096 : dice < 997 ? 65536 : 1 << 20;
    return rng_between(rng, least, most);
}

static uint32_t random_offset(uint64_t *rng, const struct node *n, bool inner)
{
    return inner ? (uint32_t)rng_below(rng, n->size) : 0;
}

/* In a child of fork the map still holds the blocks of threads that are no more: what only their
 * registers referred to may be reclaimed there, and the map cannot know. The child's own blocks are
 * judged by their patterns. */
static bool child_of_fork;

static bool claim(const void *p, size_t size)
{
    return shadow_claim(p, size) || child_of_fork;
}

/* Allocates node n; it holds its pattern and no link yet. *held keeps it (.inv.held). */
static void node_allocate(struct thread *th, struct node *n, int links, uint64_t *rng,
                          void *volatile *held)
{
    size_t size = random_size(rng, links);
    unsigned char *p = rng_chance(rng, 8) ? calloc(1, size) : malloc(size);
    *held = p;
    if (!p)
        fail("no memory for %zu bytes: %s", size, strerror(errno));
    if (!claim(p, size))
        fail(".inv.apart: new block %p of %zu bytes overlaps one in use", (void *)p, size);
    size_t words = (size - 8 * (size_t)links) / 8;
    *n = (struct node){
        .hidden = ~(uint64_t)(uintptr_t)p,
        .serial = ++th->serial,
        .size = (uint32_t)size,
        .links_at = 8 * (uint32_t)rng_below(rng, words + 1),
        .links = (int16_t)links,
    };
    for (int i = 0; i < LINKS; i++)
        n->link[i].target = -1;
    pattern_fill(p, 0, size, node_key(n));
    memset(p + n->links_at, 0, 8 * (size_t)links);
    th->built++;
}

static void bytes_check(const struct node *n, const unsigned char *p, size_t from, size_t to)
{
    size_t at = from < to ? pattern_check(p + from, from, to - from, node_key(n)) : 0;
    if (from < to && at < to - from)
        fail(".inv.kept: byte %zu of block %p (%u bytes, number %ju) has changed", from + at,
             (const void *)p, n->size, (uintmax_t)n->serial);
}

static void pattern_part_check(const struct node *n, const unsigned char *p, size_t from, size_t to)
{
    if (to - from <= CHECK_WHOLE) {
        bytes_check(n, p, from, to);
        return;
    }
    bytes_check(n, p, from, from + CHECK_SAMPLE);
    bytes_check(n, p, from + (to - from) / 2, from + (to - from) / 2 + CHECK_SAMPLE);
    bytes_check(n, p, to - CHECK_SAMPLE, to);
}

static void node_check(const struct structure *s, const struct node *n)
{
    const unsigned char *p = node_address(n);
    for (int i = 0; i < n->links; i++) {
        void *have, *wanted = link_value(s, &n->link[i]);
        memcpy(&have, p + n->links_at + 8 * (size_t)i, 8);
        if (have != wanted)
            fail(".inv.kept: link %d of block %p (%u bytes, number %ju) is %p instead of %p", i,
                 (const void *)p, n->size, (uintmax_t)n->serial, have, wanted);
    }
    pattern_part_check(n, p, 0, n->links_at);
    pattern_part_check(n, p, n->links_at + 8 * (size_t)n->links, n->size);
}

/* ---- structures ------------------------------------------------------------------------------ */

static void structure_check(const struct structure *s, const void *root)
{
    const void *wanted = s->count ? node_address(&s->nodes[0]) + s->entry : NULL;
    if (root != wanted)
        fail(".inv.kept: a root is %p instead of %p", root, wanted);
    for (int i = 0; i < s->count; i++)
        node_check(s, &s->nodes[i]);
}

static void node_forget(struct thread *th, const struct node *n)
{
    if (!shadow_release(node_address(n), n->size))
        fail("the shadow map has lost block number %ju", (uintmax_t)n->serial);
    th->dropped++;
}

/* Gives up nodes `from` and up, and frees them when `by_hand`: the last first, since each hangs on
 * an earlier one. The caller clears what points to them afterwards (.inv.gone). */
static void nodes_drop(struct thread *th, struct structure *s, int from, bool by_hand)
{
    for (int i = s->count - 1; i >= from; i--) {
        void *p = node_address(&s->nodes[i]);
        node_forget(th, &s->nodes[i]);
        if (by_hand)
            free(p);
    }
    s->count = from;
}

static void link_to(struct structure *s, int node, int i, int target, uint64_t *rng, bool inner)
{
    struct node *n = &s->nodes[node];
    n->link[i] = (struct link){(int16_t)target, random_offset(rng, &s->nodes[target], inner)};
    link_write(s, n, i);
}

enum shape { LIST, RING, DOUBLE_RING, TREE, WIDE, GRAPH, SHAPES };

static int shape_links(enum shape shape)
{
    static const int links[SHAPES] = {1, 1, 2, 2, LINKS, 4};
    return links[shape];
}

/* A link of an earlier node that is NULL, at random; every graph has one, with 4 a node. */
static void graph_parent(const struct structure *s, int count, uint64_t *rng, int *node, int *i)
{
    do {
        *node = (int)rng_below(rng, (size_t)count);
        *i = (int)rng_below(rng, 4);
    } while (s->nodes[*node].link[*i].target >= 0);
}

/* Hangs the new node k on those before it, as the shape wants. */
static void node_attach(struct structure *s, int k, enum shape shape, uint64_t *rng, bool inner)
{
    int node = k - 1, i = 0;
    if (shape == TREE || shape == WIDE) {
        int fan = shape_links(shape);
        node = (k - 1) / fan;
        i = (k - 1) % fan;
    } else if (shape == GRAPH) {
        graph_parent(s, k, rng, &node, &i);
    }
    link_to(s, node, i, k, rng, inner);
    if (shape == DOUBLE_RING)
        link_to(s, k, 1, k - 1, rng, inner);
}

/* The links that only a whole structure can have. */
static void structure_close(struct structure *s, enum shape shape, uint64_t *rng, bool inner)
{
    int last = s->count - 1;
    if (shape == RING || shape == DOUBLE_RING)
        link_to(s, last, 0, 0, rng, inner);
    if (shape == DOUBLE_RING)
        link_to(s, 0, 1, last, rng, inner);
    for (int k = 0; shape == GRAPH && k < s->count; k++)
        for (int i = 0; i < 4; i++)
            if (s->nodes[k].link[i].target < 0 && rng_chance(rng, 3))
                link_to(s, k, i, (int)rng_below(rng, (size_t)s->count), rng, inner);
}

/* Each node is linked before the next is allocated: nothing but its structure holds it. */
static void structure_build(struct thread *th, int index, uint64_t *rng)
{
    struct structure *s = &th->structures[index];
    enum shape shape = (enum shape)rng_below(rng, SHAPES);
    int count = 1 + (int)rng_below(rng, NODES);
    bool inner = rng_chance(rng, 3);
    void *volatile held;
    s->count = 0;
    for (int k = 0; k < count; k++) {
        node_allocate(th, &s->nodes[k], shape_links(shape), rng, &held);
        s->count = k + 1;
        if (k) {
            node_attach(s, k, shape, rng, inner);
        } else {
            s->entry = random_offset(rng, &s->nodes[0], inner);
            root_set(th, index, node_address(&s->nodes[0]) + s->entry);
        }
        held = NULL;
    }
    structure_close(s, shape, rng, inner);
}

static void structure_drop(struct thread *th, int index, bool by_hand)
{
    nodes_drop(th, &th->structures[index], 0, by_hand);
    root_set(th, index, NULL);
}

/* ---- the operations -------------------------------------------------------------------------- */

/* Cuts off node `from` and all after it: every link to one of them becomes NULL. That leaves all
 * earlier nodes reachable, because node_attach() hangs each on an earlier one. */
static void op_cut(struct thread *th, struct structure *s, uint64_t *rng)
{
    if (s->count < 2)
        return;
    int from = 1 + (int)rng_below(rng, (size_t)s->count - 1);
    nodes_drop(th, s, from, rng_chance(rng, 4));
    for (int k = 0; k < from; k++)
        for (int i = 0; i < s->nodes[k].links; i++)
            if (s->nodes[k].link[i].target >= from) {
                s->nodes[k].link[i].target = -1;
                link_write(s, &s->nodes[k], i);
            }
}

/* Moves a structure from one root to another, which drops its own: the pointer is read before it is
 * stored, and for a moment stands nowhere but in a register. */
static void op_move(struct thread *th, int from, int to)
{
    if (from == to)
        return;
    structure_drop(th, to, false);
    void *p = root_get(th, from);
    root_set(th, from, NULL);
    root_set(th, to, p);
    th->structures[to] = th->structures[from];
    th->structures[from].count = 0;
}

/* Swaps with what another thread left; what comes is checked at once. */
static void op_exchange(struct thread *th, int index, uint64_t *rng)
{
    size_t cell = rng_below(rng, EXCHANGE);
    if (th->is_child)
        return;
    static _Thread_local struct structure got; /* holds hidden addresses only */
    pthread_mutex_lock(&exchange.lock);
    got = exchange.structures[cell];
    exchange.structures[cell] = th->structures[index];
    void *p = exchange.words[cell];
    exchange.words[cell] = root_get(th, index);
    root_set(th, index, p);
    pthread_mutex_unlock(&exchange.lock);
    th->structures[index] = got;
    structure_check(&got, p);
}

/* Node 0 by realloc: the root and all links to it follow. */
static void op_realloc(struct thread *th, int index, uint64_t *rng)
{
    struct structure *s = &th->structures[index];
    struct node *n = &s->nodes[0], old = *n;
    size_t end = old.links_at + 8 * (size_t)old.links;
    size_t size = end + rng_below(rng, 2 * (size_t)old.size);
    node_check(s, n);
    node_forget(th, &old);
    unsigned char *p = realloc(node_address(&old), size);
    void *volatile held = p; /* .inv.held: until the root is set */
    if (!p || !claim(p, size))
        fail(".inv.apart: realloc's %p of %zu bytes overlaps one in use", (void *)p, size);
    th->built++;
    n->hidden = ~(uint64_t)(uintptr_t)p;
    n->size = (uint32_t)size;
    pattern_fill(p, 0, n->links_at, node_key(n));
    pattern_fill(p + end, end, size - end, node_key(n));
    s->entry = s->entry < size ? s->entry : 0;
    root_set(th, index, p + s->entry);
    held = NULL;
    (void)held;
    for (int k = 0; k < s->count; k++)
        for (int i = 0; i < s->nodes[k].links; i++)
            if (s->nodes[k].link[i].target == 0) {
                s->nodes[k].link[i].offset %= n->size;
                link_write(s, &s->nodes[k], i);
            }
}

/* Blocks that come and go at once: they take over what was reclaimed wrongly. */
static void op_churn(uint64_t *rng)
{
    for (int i = 0; i < 16; i++) {
        size_t size = random_size(rng, 0);
        unsigned char *p = malloc(size);
        if (!p || !claim(p, size))
            fail(".inv.apart: new block %p of %zu bytes overlaps one in use", (void *)p, size);
        memset(p, 0xa5, size < 4096 ? size : 4096);
        shadow_release(p, size);
        free(p);
    }
}

/* A structure that hangs on nothing but a register (callee-saved, or where the compiler spills it)
 * while blocks are allocated deep below. */
__attribute__((noinline)) static void op_register(struct thread *th, int index, uint64_t *rng)
{
    void *p = root_get(th, index);
    root_set(th, index, NULL);
    __asm__ volatile("" : "+r"(p) : : "memory");
    op_churn(rng);
    __asm__ volatile("" : "+r"(p) : : "memory");
    root_set(th, index, p);
    structure_check(&th->structures[index], p);
}

/* The block that holds the roots of IN_LARGE moves: a new one, with the same words, replaces it. */
static void op_large(struct thread *th)
{
    unsigned char *p = calloc(1, POOL);
    if (!p)
        fail("no memory for the large block");
    if (large_blocks[th->number])
        memcpy(p + POOL_MIDDLE, (char *)large_blocks[th->number] + POOL_MIDDLE,
               PER_PLACE * sizeof(void *));
    large_blocks[th->number] = p;
    th->words[IN_LARGE] = NULL; /* .inv.only: the thread's words may not hold the block */
}

/* The words of IN_LARGE are looked up for each operation and forgotten after it, since the thread
 * struct, too, is memory that the collector scans. */
static void large_words(struct thread *th, bool wanted)
{
    char *p = large_blocks[th->number];
    th->words[IN_LARGE] = wanted ? (void *volatile *)(void *)(p + POOL_MIDDLE) : NULL;
}

/* ---- a thread -------------------------------------------------------------------------------- */

static void operate(struct thread *th, int index, uint64_t *rng)
{
    struct structure *s = &th->structures[index];
    size_t dice = rng_below(rng, 100);
    if (!s->count)
        structure_build(th, index, rng);
    else if (dice < 30)
        structure_drop(th, index, rng_chance(rng, 4));
    else if (dice < 45)
        op_cut(th, s, rng);
    else if (dice < 55)
        op_move(th, index, (int)rng_below(rng, STRUCTURES));
    else if (dice < 65)
        op_exchange(th, index, rng);
    else if (dice < 75)
        op_realloc(th, index, rng);
    else if (dice < 80)
        op_churn(rng);
    else if (dice < 85)
        op_register(th, index, rng);
    else
        structure_check(s, root_get(th, index));
}

static void step(struct thread *th, uint64_t op)
{
    uint64_t rng = rng_mix(rng_mix(th->options->seed, th->number), rng_mix(th->round, op));
    where.op = op;
    if (rng_chance(&rng, 500))
        op_large(th);
    large_words(th, true);
    operate(th, (int)rng_below(&rng, STRUCTURES), &rng);
    large_words(th, false);
}

static void all_check(struct thread *th)
{
    large_words(th, true);
    for (int i = 0; i < STRUCTURES; i++)
        structure_check(&th->structures[i], root_get(th, i));
    large_words(th, false);
}

static void op_fork(struct thread *th, uint64_t op)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    if (!pid) {
        th->is_child = true;
        child_of_fork = true;
        for (uint64_t k = 0; k < CHILD_OPS; k++)
            step(th, op + k);
        all_check(th);
        _exit(0);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail("waitpid: %s", strerror(errno));
    if (status)
        fail("the forked child ended with status %#x", (unsigned)status);
}

static void all_drop(struct thread *th)
{
    large_words(th, true);
    for (int i = 0; i < STRUCTURES; i++)
        structure_drop(th, i, i % 2);
    large_words(th, false);
}

static void roots_place(struct thread *th, void *volatile *stack_words)
{
    char *pool = outside_map(POOL);
    th->words[IN_DATA] = data_words[th->number];
    th->words[IN_BSS] = bss_words[th->number];
    th->words[IN_TLS] = tls_words;
    th->words[ON_STACK] = stack_words;
    th->words[IN_POOL] = (void *volatile *)(void *)(pool + POOL_MIDDLE);
    for (int i = 0; i < PER_PLACE; i++)
        data_words[th->number][i] = NULL;
    op_large(th);
}

static void *thread_main(void *arg)
{
    struct thread *th = arg;
    const struct options *o = th->options;
    void *volatile stack_words[PER_PLACE] = {0};
    uint64_t fork_every = o->forks ? o->ops / o->forks : o->ops + 1;
    where = (struct where){th->number, th->round, 0};
    roots_place(th, stack_words);
    for (uint64_t op = 0; op < o->ops; op++) {
        step(th, op);
        if (op % fork_every == fork_every - 1)
            op_fork(th, op);
        if (op % 1024 == 1023)
            all_check(th);
    }
    all_check(th);
    all_drop(th);
    munmap((char *)(void *)th->words[IN_POOL] - POOL_MIDDLE, POOL);
    return NULL;
}

static void round_run(const struct options *o, struct thread *threads, unsigned round)
{
    for (unsigned t = 0; t < o->threads; t++) {
        threads[t].number = t;
        threads[t].round = round;
        threads[t].options = o;
        if (pthread_create(&threads[t].id, NULL, thread_main, &threads[t]))
            fail("pthread_create failed");
    }
    for (unsigned t = 0; t < o->threads; t++)
        pthread_join(threads[t].id, NULL);
}

int main(int argc, char **argv)
{
    struct options o = {.ops = 8000, .rounds = 2, .threads = 3, .forks = 1};
    options_parse(&o, argc, argv);
    if (o.threads > THREADS_MOST)
        o.threads = THREADS_MOST;
    for (int i = 0; i < PER_PLACE; i++)
        if (pthread_key_create(&keys[i], NULL))
            fail("pthread_key_create failed");
    exchange.structures = outside_map(EXCHANGE * sizeof *exchange.structures);
    struct thread *threads = outside_map(o.threads * sizeof *threads);
    unsigned round = 0;
    for (; options_more(&o, round); round++)
        round_run(&o, threads, round);

    for (int i = 0; i < EXCHANGE; i++)
        structure_check(&exchange.structures[i], exchange.words[i]);
    uint64_t built = 0, dropped = 0;
    for (unsigned t = 0; t < o.threads; t++) {
        built += threads[t].built;
        dropped += threads[t].dropped;
    }
    printf("model_gc: passed, %u rounds, %ju blocks built, %ju dropped\n", round,
           (uintmax_t)built, (uintmax_t)dropped);
}
