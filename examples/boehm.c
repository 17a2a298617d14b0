/* boehm.c -- a program written for Boehm's collector, which knows nothing of this one.
 *
 *     cc -o boehm boehm.c $(pkg-config --cflags --libs gcmalloc-bdwgc)
 *     GCMALLOC=probation=0,confirm=1 ./boehm
 *
 * It makes trees and drops them, as programs do that have a collector; each has a finalizer. Linked
 * so, it brings the collector with it; linked with -lgc alone it needs LD_PRELOAD=libgcmalloc.so, and
 * without that the trees stay. */
#include <gc.h>

#include <stdio.h>

enum { TREES = 200, DEPTH = 12 };

struct node {
    struct node *left, *right;
    const char *name;
};

static int gone;

/* At one of the allocations of this thread, or in GC_gcollect. */
static void on_gone(void *block, void *data)
{
    struct node *tree = block;
    *(int *)data += tree->left->name != NULL;
}

static struct node *make_tree(int depth)
{
    struct node *tree = GC_NEW(struct node);
    tree->name = GC_STRDUP("a name");
    if (depth > 0) {
        tree->left = make_tree(depth - 1);
        tree->right = make_tree(depth - 1);
    }
    return tree;
}

static long count(const struct node *tree)
{
    return tree == NULL ? 0 : 1 + count(tree->left) + count(tree->right);
}

int main(void)
{
    long nodes = 0;
    GC_INIT();
    for (int i = 0; i < TREES; i++) {
        struct node *tree = make_tree(DEPTH);
        GC_REGISTER_FINALIZER(tree, on_gone, &gone, NULL, NULL);
        nodes += count(tree);
    }
    GC_gcollect();
    GC_gcollect();
    printf("%ld nodes in %d trees, of which %s\n", nodes, TREES,
           gone > TREES / 2 ? "most are gone" : gone > 0 ? "some are gone" : "none is gone");
    printf("heap: %zu KB\n", GC_get_heap_size() / 1024);
    return 0;
}
