/* softdirty.h -- the logic of barrier_softdirty over any source of bits, for its test.
 *
 * Thread safety: the collector. */
#ifndef GC_SOFTDIRTY_H
#define GC_SOFTDIRTY_H

#include "base/base.h"
#include "sys/pagemap.h"

/* /proc/self/pagemap and /proc/self/clear_refs, or what stands for them. */
struct softdirty_source {
    /* Fills in the entries of `count` pages from `start`. False: they cannot be read. */
    bool (*read)(int fd, uint64_t *entries, size_t count, uintptr_t start);
    bool (*clear_bits)(int fd);
    int pagemap, clear;     /* descriptors; -1: closed */
};

/* Is the bit set by writing to the page, cleared by clearing, and set by writing again? */
bool softdirty_works(const struct softdirty_source *s, volatile char *page);
/* Visits the written pages of [start, end). */
void softdirty_take(const struct softdirty_source *s, uintptr_t start, uintptr_t end,
                    pagemap_visit_fn *visit, void *data);

#endif
