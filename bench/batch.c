/* batch.c -- what does a block cost when thousands are built up and then all go?
 *
 * COUNT blocks of SIZE bytes are allocated and then freed, over and over, in the order given: lifo
 * (last first), fifo (first first) or random. It empties and refills whatever cache the allocator
 * has, so it measures the way between the cache and what stands behind it, and the locality of the
 * addresses.
 *
 *     batch [ORDER=lifo] [COUNT=20000] [SIZE=48] [ROUNDS=200] */
#include "bench.h"

struct batch {
    void **blocks;
    uint32_t *order; /* in which the blocks are freed: a permutation of 0 .. count-1 */
    size_t count, size;
};

static void shuffle(uint32_t *order, size_t count)
{
    uint64_t rng = 2;
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = rng_below(&rng, i + 1);
        uint32_t other = order[j];
        order[j] = order[i];
        order[i] = other;
    }
}

static void order_init(struct batch *b, const char *how)
{
    bool lifo = !strcmp(how, "lifo");
    if (!lifo && strcmp(how, "fifo") && strcmp(how, "random"))
        die("the order is lifo, fifo or random");
    for (size_t i = 0; i < b->count; i++)
        b->order[i] = (uint32_t)(lifo ? b->count - 1 - i : i);
    if (!strcmp(how, "random"))
        shuffle(b->order, b->count);
}

static void run(struct batch *b, uint64_t rounds)
{
    for (uint64_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < b->count; i++)
            b->blocks[i] = allocate(b->size);
        for (size_t i = 0; i < b->count; i++)
            free(b->blocks[b->order[i]]);
    }
}

int main(int argc, char **argv)
{
    const char *how = arg_word(argc, argv, 1, "lifo");
    struct batch b = {
        .count = arg_count(argc, argv, 2, 20000),
        .size = arg_count(argc, argv, 3, 48),
    };
    uint64_t rounds = arg_count(argc, argv, 4, 200);
    b.blocks = table_map(b.count * sizeof *b.blocks);
    b.order = table_map(b.count * sizeof *b.order);
    order_init(&b, how);
    char name[32];
    snprintf(name, sizeof name, "batch.%s", how);

    run(&b, rounds / 10 + 1);
    uint64_t start = now_ns();
    run(&b, rounds);
    report(name, "time", (double)(now_ns() - start) / (double)(rounds * b.count), "ns");
    report_peak(name);
}
