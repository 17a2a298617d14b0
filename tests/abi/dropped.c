/* dropped.c -- builds a structure, drops it, and allocates on.   dropped tree|ring|cycle|list N
 *
 * Nothing of the structure can be reached when it is dropped, so all N nodes are leaks: the runner
 * adds up what the report says of allocations under make_node(). The structure is built by a thread
 * whose stack is gone afterwards: a main thread's keeps words of long ago. What follows is 150 MB
 * of other leaks, so that the heap grows and cycles run. */
#include "abi.h"

#include "gcmalloc.h"

struct node {
    struct node *left, *right;
    uint64_t payload[3];
};

EXPORT NOINLINE struct node *make_node(uint64_t value)
{
    struct node *node = calloc(1, sizeof *node);
    CHECK(node != NULL);
    for (int i = 0; i < 3; i++)
        node->payload[i] = value + 1;
    return OPAQUE(node);
}

/* Node k hangs where the bits of k after the first lead from the root: no recursion, so that there
 * is one allocation stack and not a million. */
static NOINLINE struct node *make_tree(size_t n)
{
    struct node *root = make_node(1);
    for (size_t k = 2; k <= n; k++) {
        struct node *parent = root;
        int bit = 62 - __builtin_clzl(k);
        for (; bit > 0; bit--)
            parent = (k >> bit & 1) ? parent->right : parent->left;
        *((k & 1) ? &parent->right : &parent->left) = make_node(k);
    }
    return root;
}

static NOINLINE struct node *make_ring(size_t n)
{
    struct node *head = make_node(0);
    head->left = head->right = head;
    for (size_t i = 1; i < n; i++) {
        struct node *node = make_node(i);
        node->left = head->left;
        node->right = head;
        head->left->right = node;
        head->left = node;
    }
    return head;
}

static NOINLINE struct node *make_list(size_t n)
{
    struct node *head = NULL;
    for (size_t i = 0; i < n; i++) {
        struct node *node = make_node(i);
        node->right = head;
        head = node;
    }
    return head;
}

static const char *kind;
static size_t count;

static NOINLINE void build_and_drop(void)
{
    struct node *first = strcmp(kind, "tree") == 0   ? make_tree(count)
                         : strcmp(kind, "list") == 0 ? make_list(count)
                                                     : make_ring(count);
    CHECK(OPAQUE(first)->payload[0] != 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    kind = argv[1];
    count = strtoul(argv[2], NULL, 10);
    run_and_forget(build_and_drop);
    pressure(150u << 20, 1);
    /* A mark may have been under way when all was dropped, and its last stop may have met the words
     * of the last node's insertion, its parent with two leaves: on a busy machine no other mark came
     * before the end. Without the library there is none. */
    gcmalloc_collect();
    printf("dropped %s of %zu\n", kind, count);
    return 0;
}
