/* families.c -- leaks of known numbers and kinds, to compare reports by: lists, a ring, a tree, and
 * blocks that are kept.   families SCALE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAY() __asm__ volatile("" ::: "memory")

struct node {
    struct node *next, *other;
    char payload[48];
};

void *kept[100];

__attribute__((noinline)) static struct node *new_node(void)
{
    struct node *n = malloc(sizeof(*n));
    memset(n, 0, sizeof(*n));
    return n;
}

/* A head, which nothing holds, and length - 1 that it holds. */
__attribute__((noinline)) static void lose_list(int length)
{
    struct node *head = new_node();
    for (struct node *at = head; --length > 0; at = at->next)
        at->next = new_node();
    STAY();
}

/* Nothing outside holds any of them. */
__attribute__((noinline)) static void lose_ring(int length)
{
    struct node *first = new_node(), *at = first;
    while (--length > 0)
        at = at->next = new_node();
    at->next = first;
    STAY();
}

__attribute__((noinline)) static struct node *new_tree(int depth)
{
    struct node *n = calloc(1, sizeof(*n));
    if (depth > 1) {
        n->next = new_tree(depth - 1);
        n->other = new_tree(depth - 1);
    }
    return n;
}

__attribute__((noinline)) static void lose_blocks(int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        volatile char *block = malloc(size);
        block[0] = 1;
    }
    STAY();
}

__attribute__((noinline)) static void lose_grown(int count)
{
    for (int i = 0; i < count; i++) {
        volatile char *block = realloc(malloc(100), 5000);
        block[0] = 1;
    }
    STAY();
}

__attribute__((noinline)) static void lose_large(int count)
{
    for (int i = 0; i < count; i++) {
        volatile char *block = malloc(300000);
        block[0] = 1;
    }
    STAY();
}

__attribute__((noinline)) static void lose_tree(int depth)
{
    *(struct node *volatile *)&kept[0] = new_tree(depth);
    kept[0] = NULL;
    STAY();
}

__attribute__((noinline)) static void keep(void)
{
    for (int i = 1; i < 100; i++)
        kept[i] = malloc(1000);
    STAY();
}

/* Leaves nothing of the blocks on the stack. */
__attribute__((noinline)) static void wipe(void)
{
    volatile char room[32768];
    for (size_t i = 0; i < sizeof(room); i++)
        room[i] = 0;
}

int main(int argc, char **argv)
{
    int scale = argc > 1 ? atoi(argv[1]) : 1;
    keep();
    lose_list(10 * scale);
    lose_ring(7 * scale);
    lose_tree(6);
    lose_blocks(100 * scale, 24);
    lose_blocks(3 * scale, 2000);
    lose_grown(5 * scale);
    lose_large(2 * scale);
    wipe();
    puts("done");
    return 0;
}
