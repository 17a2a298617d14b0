/* binary_trees.c -- how does garbage collection compare with other collectors', Boehm's and Go's?
 *
 * The old test of Boehm, Ellis and Kovac, as the Computer Language Benchmarks Game has it: a tree
 * that stretches the heap, a tree of DEPTH that lives long, and beside it for each depth 4, 6 ...
 * DEPTH as many trees as make the same number of nodes: at depth 20 about 300 million nodes of
 * two pointers. Each tree's nodes are counted and compared. Nothing is freed, unless the word
 * `free` is given: then each tree is taken apart when it was counted, for comparison.
 *
 * bench/go/binary_trees.go is the same program. Go's nodes take 16 bytes, Boehm's 32, ours 32 or,
 * with past_end=0, 16.
 *
 *     binary_trees [DEPTH=20] [lose|free] */
#include "bench.h"

enum { LEAST_DEPTH = 4 };

struct tree {
    struct tree *left, *right;
};

static struct tree *tree_new(unsigned depth)
{
    struct tree *t = malloc(sizeof *t);
    if (!t)
        die("out of memory");
    t->left = depth ? tree_new(depth - 1) : NULL;
    t->right = depth ? tree_new(depth - 1) : NULL;
    return t;
}

static size_t tree_count(const struct tree *t)
{
    return t->left ? 1 + tree_count(t->left) + tree_count(t->right) : 1;
}

static void tree_free(struct tree *t)
{
    if (t->left) {
        tree_free(t->left);
        tree_free(t->right);
    }
    free(t);
}

static void tree_verify(const struct tree *t, unsigned depth)
{
    if (tree_count(t) != (2ull << depth) - 1)
        die("a tree is not what was built");
}

__attribute__((noinline)) static void tree_use(unsigned depth, bool frees)
{
    struct tree *t = tree_new(depth);
    tree_verify(t, depth);
    if (frees)
        tree_free(t);
}

int main(int argc, char **argv)
{
    unsigned most = (unsigned)arg_count(argc, argv, 1, 20);
    bool frees = !strcmp(arg_word(argc, argv, 2, "lose"), "free");
    if (most < LEAST_DEPTH || most > 26)
        die("the depth is 4 to 26");
    fprintf(stderr, "built\n");
    uint64_t begin = now_ns();
    tree_use(most + 1, frees);
    struct tree *volatile long_lived = tree_new(most);
    for (unsigned depth = LEAST_DEPTH; depth <= most; depth += 2)
        for (uint64_t i = 1ull << (most - depth + LEAST_DEPTH); i > 0; i--)
            tree_use(depth, frees);
    tree_verify(long_lived, most);
    double took = (double)(now_ns() - begin);
    fprintf(stderr, "done\n");
    report("binary_trees", "time", took / 1e6, "ms");
    report_peak("binary_trees");
}
