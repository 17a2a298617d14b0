/* mark_nodes.c -- how fast does the collector mark: objects a second, and bytes a second?
 *
 * Three heaps of the same size, MIB MiB, each reachable from one global:
 *
 *     tree    64-byte nodes as a binary tree, linked in random order: every visit is a cache miss,
 *             but many can be under way at once. 1 GiB is 16.8 million nodes.
 *     chain   the same nodes as one list in random order: no visit can begin before the last has
 *             ended. The worst case of any marker, and the bound of what a prefetch can do.
 *     data    blocks of 1 MiB filled with floating-point numbers: nothing to follow, memory speed.
 *             Beside it a plain read of the same blocks is timed, a sum of all words in vectors
 *             of 32 bytes, the best of several before and after the collections: what one core
 *             can read.
 *
 * Once built it says so, and provokes collections by leaking LEAK_MIB MiB in untouched blocks of 1
 * MiB, one each 4 ms: beside a concurrent collector the program must neither outrun it, and be made
 * to help, nor take a core from it. The benchmark cannot see the collector: its times come from
 * GCMALLOC=gctrace=1 on standard error, where the cycles after the "built" line count. Under an
 * allocator that does not collect it just ends. Run it with percent= small enough that LEAK_MIB
 * means several cycles (bench/run.py uses 25).
 *
 * At the end the whole heap is walked and compared with what was built: a wrong mark is not a fast
 * one.
 *
 *     mark_nodes [SHAPE=tree] [MIB=1024] [LEAK_MIB=1024] */
#include "bench.h"

struct node {
    struct node *left, *right;
    double payload[6];
};
_Static_assert(sizeof(struct node) == 64, "the question is about 64-byte nodes");

enum { DATA_BLOCK = 1 << 20, DATA_WORDS = DATA_BLOCK / sizeof(double), STREAM_TRIES = 5 };
enum { LEAK_US = 4000 };

typedef uint64_t words4 __attribute__((vector_size(32), aligned(8)));

/* The one way into the heap. */
static void *root;

static struct node *node_new(size_t serial)
{
    struct node *n = allocate(sizeof *n);
    *n = (struct node){.payload = {(double)serial, 0.5, 0.25, 0.125, 1e9, 3.14}};
    return n;
}

/* All nodes in random order, in a table of our own that is gone before the first collection. */
static struct node **nodes_shuffled(size_t count)
{
    uint64_t rng = 4;
    struct node **nodes = table_map(count * sizeof *nodes);
    for (size_t i = 0; i < count; i++)
        nodes[i] = node_new(i);
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = rng_below(&rng, i + 1);
        struct node *other = nodes[j];
        nodes[j] = nodes[i];
        nodes[i] = other;
    }
    return nodes;
}

static void build_nodes(size_t count, bool tree)
{
    struct node **nodes = nodes_shuffled(count);
    for (size_t i = 0; i < count; i++) {
        size_t left = tree ? 2 * i + 1 : i + 1, right = 2 * i + 2;
        nodes[i]->left = left < count ? nodes[left] : NULL;
        nodes[i]->right = tree && right < count ? nodes[right] : NULL;
    }
    root = nodes[0];
    munmap(nodes, count * sizeof *nodes);
}

/* The serials of all nodes, each added once; recursion is as deep as the tree: 25 for 1 GiB. */
static double tree_sum(const struct node *n)
{
    return n ? n->payload[0] + tree_sum(n->left) + tree_sum(n->right) : 0;
}

static double chain_sum(const struct node *n)
{
    double sum = 0;
    for (; n; n = n->left)
        sum += n->payload[0];
    return sum;
}

static void build_data(size_t count)
{
    double **blocks = allocate(count * sizeof *blocks);
    root = blocks;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = allocate(DATA_BLOCK);
        for (size_t k = 0; k < DATA_WORDS; k++)
            blocks[i][k] = (double)(i + k);
    }
}

static double data_sum(size_t count)
{
    double sum = 0, **blocks = root;
    for (size_t i = 0; i < count; i++)
        sum += blocks[i][DATA_WORDS - 1] - (DATA_WORDS - 1);
    return sum;
}

/* Four sums, so that no addition waits for the one before. */
__attribute__((target("avx2"), noinline)) static uint64_t block_read_avx2(const double *block)
{
    const words4 *w = (const words4 *)(const void *)block;
    words4 a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i < DATA_BLOCK / sizeof *w; i += 4) {
        a += w[i];
        b += w[i + 1];
        c += w[i + 2];
        d += w[i + 3];
    }
    a += b + c + d;
    return a[0] + a[1] + a[2] + a[3];
}

static uint64_t block_read_plain(const double *block)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; i < DATA_WORDS; i++) {
        memcpy(&word, &block[i], sizeof word);
        sum += word;
    }
    return sum;
}

/* The best of several reads of the whole heap, GB/s. */
static double stream(size_t count)
{
    double **blocks = root;
    bool avx2 = __builtin_cpu_supports("avx2");
    uint64_t best = UINT64_MAX;
    for (int try = 0; try < STREAM_TRIES; try++) {
        uint64_t start = now_ns(), sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += avx2 ? block_read_avx2(blocks[i]) : block_read_plain(blocks[i]);
        use(&sum);
        uint64_t took = now_ns() - start;
        best = took < best ? took : best;
    }
    return (double)count * DATA_BLOCK / (double)best;
}

/* Not inlined: no copy of a pointer to the garbage may stay in main's frame. */
__attribute__((noinline)) static void leak(uint64_t mib)
{
    for (uint64_t i = 0; i < mib; i++) {
        char *p = malloc(1 << 20);
        if (!p)
            die("out of memory");
        use(p);
        usleep(LEAK_US);
    }
}

int main(int argc, char **argv)
{
    const char *shape = arg_word(argc, argv, 1, "tree");
    uint64_t mib = arg_count(argc, argv, 2, 1024);
    uint64_t leak_mib = arg_count(argc, argv, 3, 1024);
    bool tree = !strcmp(shape, "tree"), data = !strcmp(shape, "data");
    if (!tree && !data && strcmp(shape, "chain"))
        die("the shape is tree, chain or data");
    size_t count = data ? mib : (mib << 20) / sizeof(struct node);
    char name[32];
    snprintf(name, sizeof name, "mark.%s", shape);

    uint64_t start = now_ns();
    if (data)
        build_data(count);
    else
        build_nodes(count, tree);
    report(name, "build", (double)(now_ns() - start) / 1e6, "ms");
    report(name, "objects", (double)count, "count");
    double speed = data ? stream(count) : 0;
    fprintf(stderr, "built %zu\n", count);

    start = now_ns();
    leak(leak_mib);
    report(name, "leak", (double)(now_ns() - start) / 1e6, "ms");
    if (data) {
        double again = stream(count);
        report(name, "stream", speed > again ? speed : again, "GB/s");
    }
    double sum = data ? data_sum(count) : tree ? tree_sum(root) : chain_sum(root);
    if (sum != (double)count * (double)(count - 1) / 2)
        die("the heap is not what was built");
    report_peak(name);
}
