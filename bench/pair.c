/* pair.c -- what does one malloc and the free right after it cost?
 *
 * The shortest way through an allocator: one block at a time, always the one freed last. It
 * measures instructions and nothing else, so it is a floor and not a forecast.
 *
 *     pair [SIZE=64] [PAIRS=20000000] */
#include "bench.h"

static double ns_per_pair(size_t size, uint64_t pairs)
{
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < pairs; i++) {
        char *p = malloc(size);
        if (!p)
            die("out of memory");
        *p = 1;
        use(p);
        free(p);
    }
    return (double)(now_ns() - start) / (double)pairs;
}

int main(int argc, char **argv)
{
    size_t size = arg_count(argc, argv, 1, 64);
    uint64_t pairs = arg_count(argc, argv, 2, 20000000);
    char name[32];
    snprintf(name, sizeof name, "pair.%zu", size);

    ns_per_pair(size, pairs / 10 + 1);
    report(name, "time", ns_per_pair(size, pairs), "ns");
    report_peak(name);
}
