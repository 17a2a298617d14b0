/* glibc_simple.c -- what do a few equal blocks cost, and many?
 *
 * After the description of glibc's bench-malloc-simple: COUNT blocks of SIZE bytes are allocated,
 * then freed in the same order; COUNT is 25, 100, 400 and 1,600, since caches of a thread hold a
 * few dozen. One figure for all four, which move BLOCKS blocks each.
 *
 *     glibc_simple [SIZE=128] [BLOCKS=5000000] */
#include "bench.h"

static const size_t counts[] = {25, 100, 400, 1600};
enum { COUNT_MOST = 1600 };

static uint64_t move(size_t size, size_t count, uint64_t blocks)
{
    static void *table[COUNT_MOST];
    uint64_t moved = 0;
    for (; moved < blocks; moved += count) {
        for (size_t i = 0; i < count; i++)
            table[i] = allocate(size);
        for (size_t i = 0; i < count; i++)
            free(table[i]);
    }
    return moved;
}

int main(int argc, char **argv)
{
    size_t size = arg_count(argc, argv, 1, 128);
    uint64_t blocks = arg_count(argc, argv, 2, 5000000), moved = 0;
    char name[48];
    snprintf(name, sizeof name, "glibc.simple.%zu", size);

    move(size, COUNT_MOST, blocks / 10);
    uint64_t start = now_ns();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        moved += move(size, counts[i], blocks);
    report(name, "time", (double)(now_ns() - start) / (double)moved, "ns");
    report_peak(name);
}
