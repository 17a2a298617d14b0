/* movers_linked.c -- structures whose edges move all the time: a search tree that is rotated at
 * every step of every descent, and rings that exchange their nodes.
 *
 * Each rotation stores three edges, and for a moment the only pointer to a subtree is in a
 * register. What proves that nothing was lost: the stamp of each node that is passed, the order of
 * keys in the tree, and now and then the number of nodes in both. */
#include "movers.h"

#include <stdlib.h>

enum {
    TREE_NODES = 1500,
    RINGS = 16,
    RING_NODES = 600,       /* in all rings of a thread */
    DESCENT_MOST = 48,
    WALK_MOST = 8,
    NODE_EXTRA = 256,
    TURN = 96,
};

struct tree_node {
    uint64_t tag, hash;
    struct tree_node *volatile left, *volatile right;
};

struct ring_node {
    uint64_t tag, hash;
    struct ring_node *volatile next;
};

struct linked {
    struct ring_node *volatile rings[RINGS]; /* sentinels */
    unsigned tree_count, ring_count;
};

static struct tree_node *volatile tree_roots[THREADS_MOST];

/* A bijection, so that keys are as unique as tags. */
static uint64_t key_of(const struct tree_node *n)
{
    return n->tag * 0xd1342543de82ef95u;
}

static void *node_new(struct thread *th, size_t least)
{
    uint64_t tag;
    return block_new(th, least + rng_below(&th->rng, NODE_EXTRA), &tag);
}

static void node_leave(struct thread *th, void *node, uint64_t tag)
{
    bool may_leak = th->settings->leak != 0;
    block_leave(th, node, tag, !may_leak || rng_chance(&th->rng, 2));
}

/* ---- the tree -------------------------------------------------------------------------------- */

static void tree_insert(struct thread *th)
{
    struct tree_node *n = node_new(th, sizeof *n), *at;
    struct tree_node *volatile *edge = &tree_roots[th->number];
    n->left = n->right = NULL;
    while ((at = *edge) != NULL) {
        stamp_check(&at->tag);
        edge = key_of(n) < key_of(at) ? &at->left : &at->right;
    }
    *edge = n;
    th->linked->tree_count++;
}

/* The left child comes up; the stores in one of two orders. */
static struct tree_node *rotate_right(struct tree_node *volatile *edge, bool edge_first)
{
    struct tree_node *n = *edge, *l = n->left, *inner = l->right;
    stamp_check(&l->tag);
    if (edge_first) {
        *edge = l;
        n->left = inner;
        l->right = n;
    } else {
        n->left = NULL;
        l->right = n;
        *edge = l;
        n->left = inner;
    }
    return l;
}

static struct tree_node *rotate_left(struct tree_node *volatile *edge, bool edge_first)
{
    struct tree_node *n = *edge, *r = n->right, *inner = r->left;
    stamp_check(&r->tag);
    if (edge_first) {
        *edge = r;
        n->right = inner;
        r->left = n;
    } else {
        n->right = NULL;
        r->left = n;
        *edge = r;
        n->right = inner;
    }
    return r;
}

/* One way down, rotating; a node without children that it ends at may go. */
static void tree_descend(struct thread *th)
{
    struct tree_node *volatile *edge = &tree_roots[th->number];
    struct tree_node *n;
    uint64_t low = 0, high = ~(uint64_t)0, dice = rng_next(&th->rng);
    for (int step = 0; step < DESCENT_MOST && (n = *edge) != NULL; step++) {
        stamp_check(&n->tag);
        if (key_of(n) < low || key_of(n) > high)
            fail(".inv.book: node %p does not belong into its place of the tree", (void *)n);
        if (!n->left && !n->right && th->linked->tree_count > TREE_NODES / 2 &&
            rng_chance(&th->rng, 2)) {
            node_leave(th, n, n->tag);
            *edge = NULL;
            th->linked->tree_count--;
            return;
        }
        if (dice & 1 && n->left)
            n = rotate_right(edge, dice & 4);
        else if (dice & 2 && n->right)
            n = rotate_left(edge, dice & 4);
        th->counts.moves += 3;
        bool go_left = dice & 8;
        *(go_left ? &high : &low) = key_of(n);
        edge = go_left ? &n->left : &n->right;
        dice = dice >> 1 | dice << 63;
    }
}

/* Recursion as deep as the tree: most of it hangs on this stack's words too, meanwhile. */
static __attribute__((noinline)) unsigned tree_count(const struct tree_node *n, uint64_t low,
                                                     uint64_t high)
{
    if (!n)
        return 0;
    stamp_check(&n->tag);
    block_check(n, n->tag, false);
    if (key_of(n) < low || key_of(n) > high)
        fail(".inv.book: node %p does not belong into its place of the tree", (const void *)n);
    return 1 + tree_count(n->left, low, key_of(n)) + tree_count(n->right, key_of(n), high);
}

static __attribute__((noinline)) void tree_drop(struct thread *th, struct tree_node *n)
{
    if (!n)
        return;
    tree_drop(th, n->left);
    tree_drop(th, n->right);
    block_leave(th, n, n->tag, true);
}

/* ---- the rings ------------------------------------------------------------------------------- */

static struct ring_node *ring_somewhere(struct thread *th, struct ring_node *at)
{
    for (size_t steps = rng_below(&th->rng, WALK_MOST); steps; steps--) {
        at = at->next;
        stamp_check(&at->tag);
    }
    return at;
}

static struct ring_node *ring_random(struct thread *th)
{
    return th->linked->rings[rng_below(&th->rng, RINGS)];
}

static void ring_insert(struct thread *th)
{
    struct ring_node *n = node_new(th, sizeof *n), *at = ring_random(th);
    n->next = at->next;
    at->next = n;
    th->linked->ring_count++;
}

/* From behind any node of one ring to behind any of another: the node's only pointer is in a
 * register while neither has it. */
static void ring_move(struct thread *th)
{
    struct ring_node *home = ring_random(th), *from = ring_somewhere(th, home), *n = from->next;
    struct ring_node *to_home = ring_random(th);
    stamp_check(&n->tag);
    if (n == home || home == to_home)
        return;
    from->next = n->next;
    n->next = NULL;
    struct ring_node *to = ring_somewhere(th, to_home);
    if (th->linked->ring_count > RING_NODES / 2 && rng_chance(&th->rng, 16)) {
        node_leave(th, n, n->tag);
        th->linked->ring_count--;
        return;
    }
    n->next = to->next;
    to->next = n;
    th->counts.moves += 3;
}

static unsigned ring_count(const struct ring_node *sentinel)
{
    unsigned count = 0;
    for (const struct ring_node *n = sentinel->next; n != sentinel; n = n->next, count++)
        block_check(n, n->tag, false);
    block_check(sentinel, sentinel->tag, false);
    return count;
}

static void ring_drop(struct thread *th, struct ring_node *sentinel)
{
    for (struct ring_node *n; (n = sentinel->next) != sentinel;) {
        sentinel->next = n->next;
        block_leave(th, n, n->tag, true);
    }
    block_leave(th, sentinel, sentinel->tag, true);
}

/* ---- both ------------------------------------------------------------------------------------ */

void linked_make(struct thread *th)
{
    th->linked = outside_map(sizeof *th->linked);
    for (int i = 0; i < RINGS; i++) {
        struct ring_node *n = node_new(th, sizeof *n);
        n->next = n;
        th->linked->rings[i] = n;
    }
    while (th->linked->tree_count < TREE_NODES)
        tree_insert(th);
    while (th->linked->ring_count < RING_NODES)
        ring_insert(th);
}

void linked_turn(struct thread *th)
{
    for (int i = 0; i < TURN; i++) {
        tree_descend(th);
        ring_move(th);
        ring_move(th);
    }
    if (th->linked->tree_count < TREE_NODES)
        tree_insert(th);
    if (th->linked->ring_count < RING_NODES)
        ring_insert(th);
}

void linked_check(struct thread *th)
{
    unsigned found = tree_count(tree_roots[th->number], 0, ~(uint64_t)0), in_rings = 0;
    if (found != th->linked->tree_count)
        fail(".inv.book: %u nodes in the tree, not %u", found, th->linked->tree_count);
    for (int i = 0; i < RINGS; i++)
        in_rings += ring_count(th->linked->rings[i]);
    if (in_rings != th->linked->ring_count)
        fail(".inv.book: %u nodes in the rings, not %u", in_rings, th->linked->ring_count);
}

void linked_drop(struct thread *th)
{
    tree_drop(th, tree_roots[th->number]);
    tree_roots[th->number] = NULL;
    for (int i = 0; i < RINGS; i++)
        ring_drop(th, th->linked->rings[i]);
}
