/* root_ranges.h -- what the program says of its memory: search this, too; there is nothing in that.
 *
 * Thread safety: add and remove: any thread that holds no lock. Reading: the collector. */
#ifndef GC_ROOT_RANGES_H
#define GC_ROOT_RANGES_H

#include "base/base.h"
#include "sys/pagemap.h"

enum {
    /* Of each kind. They are looked at for each mapping, in the pause too. */
    ROOT_RANGES_MOST = 512,
};

enum root_ranges_kind { ROOT_RANGES_ADDED, ROOT_RANGES_EXCLUDED };

enum root_ranges_result {
    ROOT_RANGES_DONE,
    ROOT_RANGES_OVERLAP, /* with one of the same kind */
    ROOT_RANGES_UNKNOWN,
    ROOT_RANGES_FULL,
};

/* In order of address, without overlap; of bytes, not pages. */
struct root_ranges {
    size_t count;
    struct page_range ranges[ROOT_RANGES_MOST];
};

enum root_ranges_result root_ranges_add(enum root_ranges_kind kind, struct page_range range);
/* One that was added, exactly. */
enum root_ranges_result root_ranges_remove(enum root_ranges_kind kind, struct page_range range);
/* What there is now. `stopped`: the world is, so that nobody can be waited for. */
void root_ranges_read(enum root_ranges_kind kind, struct root_ranges *out, bool stopped);
/* Index of the first one that ends above `address`, or their count. */
size_t root_ranges_find(const struct root_ranges *r, uintptr_t address);
/* Takes the one at `index` out. */
void root_ranges_cut(struct root_ranges *r, size_t index);
/* In the child of fork: nobody is half-way. */
void root_ranges_after_fork(void);

#endif
