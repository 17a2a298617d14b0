/* malloc_large.c -- what do blocks of many megabytes cost when a score of them is live?
 *
 * After the description of mimalloc-bench's malloc-large: 20 blocks of 5 to 25 MiB, a random one
 * of which is replaced in each of ROUNDS rounds. Each page of a new block is written. `large` asks
 * the same of every size from 64 KiB on with four live blocks; here the live set, 300 MiB, is far
 * larger than any cache of pages should be. Time for each page touched.
 *
 *     malloc_large [ROUNDS=400] */
#include "bench.h"

enum { BLOCKS = 20, LEAST = 5 << 20, MOST = 25 << 20 };

int main(int argc, char **argv)
{
    uint64_t rounds = arg_count(argc, argv, 1, 400), rng = 13, pages = 0;
    void *blocks[BLOCKS] = {0};
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < rounds; i++) {
        void **slot = &blocks[rng_below(&rng, BLOCKS)];
        size_t size = rng_between(&rng, LEAST, MOST);
        free(*slot);
        char *p = *slot = allocate(size);
        for (size_t at = 0; at < size; at += PAGE)
            p[at] = 1;
        use(p);
        pages += (size + PAGE - 1) / PAGE;
    }
    report("malloc_large", "time", (double)(now_ns() - start) / (double)pages, "ns");
    report_peak("malloc_large");
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}
