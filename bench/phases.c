/* phases.c -- what does memory cost that was cut up for other sizes?
 *
 * A program grows to MIB MiB of blocks of 16 to 512 bytes, frees 90 % of them at random, and grows
 * to MIB MiB again with blocks of 600 to 3,000 bytes, none of which fits where one of the first
 * was. After each phase: resident memory over the bytes that are live, the tables of this program
 * not counted (they are resident from the start). The figures are taken at once: an allocator that
 * gives memory back after a while gets no while, and what it then needs for the third phase shows
 * in peak_rss.
 *
 *   grown     after the first; what a size class and a header cost
 *   thinned   with a tenth left; 10 would be: nothing was given back
 *   regrown   after the third; 1.9 would be: nothing of the first phase could be used again
 *
 * Time is for each block allocated.
 *
 *     phases [MIB=256] */
#include "bench.h"

struct range {
    size_t least, most;
};

static const struct range first = {16, 512}, second = {600, 3000};
enum { FREED_PERCENT = 90 };

struct heap {
    void **blocks;
    uint32_t *sizes;
    size_t count, most;
    uint64_t live, made, rng;
    double resident_before;
};

static double resident(void)
{
    return (double)status_kib("VmRSS:") * 1024;
}

/* Room for twice as many blocks as the first phase makes on average. */
static void heap_init(struct heap *h, uint64_t bytes)
{
    h->most = 2 * bytes / ((first.least + first.most) / 2);
    h->blocks = table_map(h->most * sizeof *h->blocks);
    h->sizes = table_map(h->most * sizeof *h->sizes);
    memset(h->blocks, 1, h->most * sizeof *h->blocks);
    memset(h->sizes, 1, h->most * sizeof *h->sizes);
    h->rng = 17;
    h->resident_before = resident();
}

/* Blocks are filled: a page that no one wrote would be resident for no allocator. */
static void heap_grow(struct heap *h, struct range sizes, uint64_t bytes)
{
    while (h->live < bytes) {
        size_t size = rng_between(&h->rng, sizes.least, sizes.most);
        if (h->count == h->most)
            die("the table is too small");
        h->blocks[h->count] = memset(allocate(size), 1, size);
        h->sizes[h->count++] = (uint32_t)size;
        h->live += size;
        h->made++;
    }
}

static void heap_thin(struct heap *h)
{
    size_t left = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (rng_below(&h->rng, 100) < FREED_PERCENT) {
            free(h->blocks[i]);
            h->live -= h->sizes[i];
        } else {
            h->blocks[left] = h->blocks[i];
            h->sizes[left++] = h->sizes[i];
        }
    }
    h->count = left;
}

static void heap_report(const struct heap *h, const char *phase)
{
    report("phases", phase, (resident() - h->resident_before) / (double)h->live, "ratio");
}

int main(int argc, char **argv)
{
    struct heap h = {0};
    uint64_t bytes = arg_count(argc, argv, 1, 256) << 20;
    heap_init(&h, bytes);
    uint64_t start = now_ns();
    heap_grow(&h, first, bytes);
    heap_report(&h, "grown");
    heap_thin(&h);
    heap_report(&h, "thinned");
    heap_grow(&h, second, bytes);
    heap_report(&h, "regrown");
    report("phases", "time", (double)(now_ns() - start) / (double)h.made, "ns");
    report_peak("phases");
    for (size_t i = 0; i < h.count; i++)
        free(h.blocks[i]);
}
