/* live.h -- the heap that the collector's benchmarks keep alive, and the garbage beside it.
 *
 * The live heap is a binary tree of 64-byte nodes, linked in random order, so that neighbours in
 * the tree are strangers in memory; 1 GiB is 16.8 million. A position is a number as in a heap
 * array (the root is 1, the children of i are 2i and 2i+1), so a uniformly random node is found
 * without a table that would itself be a million pointers.
 *
 * Garbage comes as messages: eight linked blocks of 32 to 1,024 bytes, written in full, of which
 * one pointer is known. A message is freed, or it is lost.
 *
 *   .inv.shape   No change makes the tree deeper, adds a node, or drops one: live_verify() counts
 *                the nodes and adds their serials at the end, and a wrong collection dies there.
 *   .inv.heap    Every pointer to a block is in a block, on a stack or in static data, never in a
 *                mapping of our own: Boehm's collector does not look there.
 *   .inv.frame   What makes or loses a block is never inlined: its frame is gone afterwards. */
#ifndef BENCH_LIVE_H
#define BENCH_LIVE_H

#include "bench.h"

struct node {
    struct node *left, *right;
    double payload[6];          /* [0] is the serial, [1] counts writes */
};
_Static_assert(sizeof(struct node) == 64, "the questions are about 64-byte nodes");

struct live {
    struct node *root;
    size_t count;
};

enum { MESSAGE_PARTS = 8, PART_LEAST = 32, PART_MOST = 1024, TICK_NS = 1000000 };

struct message {
    struct message *next;
    size_t size;
    char text[];
};

/* ---- the tree -------------------------------------------------------------------------------- */

static inline struct node *node_new(double serial)
{
    struct node *n = allocate(sizeof *n);
    *n = (struct node){.payload = {serial, 0, 0.25, 0.125, 1e9, 3.14}};
    return n;
}

/* The table is a block like any other, and free before the measurement begins. */
__attribute__((noinline, unused)) static void live_build(struct live *live, size_t mib,
                                                         uint64_t seed)
{
    size_t count = (mib << 20) / sizeof(struct node);
    struct node **nodes = allocate((count + 1) * sizeof *nodes);
    for (size_t i = 1; i <= count; i++)
        nodes[i] = node_new((double)i);
    for (size_t i = count; i > 1; i--) {
        size_t j = 1 + rng_below(&seed, i);
        struct node *other = nodes[j];
        nodes[j] = nodes[i];
        nodes[i] = other;
    }
    for (size_t i = 1; i <= count; i++) {
        nodes[i]->left = 2 * i <= count ? nodes[2 * i] : NULL;
        nodes[i]->right = 2 * i + 1 <= count ? nodes[2 * i + 1] : NULL;
    }
    *live = (struct live){nodes[1], count};
    free(nodes);
}

static inline unsigned position_depth(uint64_t position)
{
    return 63u - (unsigned)__builtin_clzll(position);
}

/* The link to the node at `position`, or NULL where the last level has its gaps. */
static inline struct node **live_link(struct live *live, uint64_t position)
{
    struct node **link = &live->root;
    for (unsigned depth = position_depth(position); depth-- && *link;)
        link = position >> depth & 1 ? &(*link)->right : &(*link)->left;
    return *link ? link : NULL;
}

static inline uint64_t live_random(const struct live *live, uint64_t *rng)
{
    return 1 + rng_below(rng, live->count);
}

/* Two random nodes of one depth exchange their left subtrees: two pages are written, and a pointer
 * moves between them. Gives the number of pages. */
__attribute__((noinline, unused)) static unsigned live_swap(struct live *live, uint64_t *rng)
{
    uint64_t position = live_random(live, rng), level = 1ull << position_depth(position);
    struct node **a = live_link(live, position);
    struct node **b = live_link(live, level + rng_below(rng, level));
    if (!a || !b)
        return 0;
    struct node *left = (*a)->left;
    (*a)->left = (*b)->left;
    (*b)->left = left;
    (*a)->payload[1] += 1;
    (*b)->payload[1] += 1;
    return 2;
}

struct live_sum {
    size_t count;
    double serials;
};

static void live_add(const struct node *n, struct live_sum *sum)
{
    for (; n; n = n->right) {
        sum->count++;
        sum->serials += n->payload[0];
        live_add(n->left, sum);
    }
}

static inline void live_verify(const struct live *live)
{
    struct live_sum sum = {0, 0};
    live_add(live->root, &sum);
    if (sum.count != live->count ||
        sum.serials != (double)live->count * (double)(live->count + 1) / 2)
        die("the heap is not what was built");
}

/* ---- messages -------------------------------------------------------------------------------- */

__attribute__((noinline, unused)) static struct message *message_new(uint64_t *rng)
{
    struct message *first = NULL;
    for (int i = 0; i < MESSAGE_PARTS; i++) {
        size_t size = rng_between(rng, PART_LEAST, PART_MOST);
        struct message *m = allocate(size);
        m->next = first;
        m->size = size;
        memset(m->text, (int)size, size - sizeof *m);
        first = m;
    }
    return first;
}

/* The bytes of a message, each part checked. */
static inline size_t message_read(const struct message *m)
{
    size_t bytes = 0;
    for (; m; m = m->next) {
        if (m->text[m->size - sizeof *m - 1] != (char)m->size)
            die("a message is not what was written");
        bytes += m->size;
    }
    return bytes;
}

__attribute__((noinline, unused)) static void message_free(struct message *m)
{
    while (m) {
        struct message *next = m->next;
        free(m);
        m = next;
    }
}

__attribute__((noinline, unused)) static size_t message_lose(uint64_t *rng)
{
    struct message *m = message_new(rng);
    return message_read(m);
}

/* ---- pace and memory ------------------------------------------------------------------------- */

/* What should have been done `elapsed` ns after the start, at so many MB each second. */
static inline uint64_t pace_due(uint64_t elapsed, double mb_per_s)
{
    return (uint64_t)((double)elapsed * mb_per_s / 1000);
}

static inline void sleep_until(uint64_t when_ns)
{
    struct timespec t = {(time_t)(when_ns / 1000000000u), (long)(when_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL))
        ;
}

static inline double resident_mb(void)
{
    return (double)status_kib("VmRSS:") * 1024 / 1e6;
}

/* From here on VmHWM is the peak of the measurement, not of the build before it. */
static inline void peak_reset(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "5", 1) != 1)
        fprintf(stderr, "bench: the peak includes the build\n");
    close(fd);
}

/* bench/run.py takes the gctrace lines between these two for the measurement's. */
static inline void mark_built(void)
{
    peak_reset();
    fprintf(stderr, "built\n");
}

static inline void mark_done(void)
{
    fprintf(stderr, "done\n");
}

#endif
