/* large.c -- what does a large block cost, with the pages that come and go with it?
 *
 * For each size from 64 KiB to 32 MiB, doubling, and for a random size between each two: allocate,
 * write one byte to each page, free the oldest of WINDOW live blocks. Each size moves MIB_PER_SIZE
 * MiB. What decides is how often the allocator gives pages back to the kernel only to ask for them
 * again; an allocator that keeps them wins here and loses in peak_rss. One figure for the sweep,
 * in ns for each page touched.
 *
 *     large [MIB_PER_SIZE=256] [WINDOW=4] */
#include "bench.h"

enum { LEAST = 64 << 10, MOST = 32 << 20, WINDOW_MOST = 64 };

static void touch(char *p, size_t size)
{
    for (size_t at = 0; at < size; at += PAGE)
        p[at] = 1;
    use(p);
}

/* Moves `bytes` through blocks of size `base` to `base + spread`; returns the pages touched. */
static uint64_t sweep_size(size_t base, size_t spread, uint64_t bytes, size_t window)
{
    void *live[WINDOW_MOST] = {0};
    uint64_t rng = base + spread, pages = 0;
    for (uint64_t i = 0; pages * PAGE < bytes; i++) {
        void **slot = &live[i % window];
        size_t size = rng_between(&rng, base, base + spread);
        free(*slot);
        *slot = allocate(size);
        touch(*slot, size);
        pages += (size + PAGE - 1) / PAGE;
    }
    for (size_t i = 0; i < window; i++)
        free(live[i]);
    return pages;
}

int main(int argc, char **argv)
{
    uint64_t bytes = arg_count(argc, argv, 1, 256) << 20;
    size_t window = arg_count(argc, argv, 2, 4);
    if (window > WINDOW_MOST)
        die("the window is at most 64");

    uint64_t pages = 0, start = now_ns();
    for (size_t size = LEAST; size <= MOST; size *= 2) {
        pages += sweep_size(size, 0, bytes, window);
        if (size < MOST)
            pages += sweep_size(size, size, bytes, window);
    }
    report("large", "time", (double)(now_ns() - start) / (double)pages, "ns");
    report_peak("large");
}
