/* pagemap.h -- which pages of a range can hold something the program wrote.
 *
 * PAGEMAP_SCAN (Linux 6.7) where the kernel has it, /proc/thread-self/pagemap entries (bits 61-63)
 * elsewhere. Over-reporting is allowed, under-reporting never. */
#ifndef GC_PAGEMAP_H
#define GC_PAGEMAP_H

#include "base/base.h"

struct page_range {
    uintptr_t start, end; /* page aligned, end exclusive */
};

enum pagemap_want {
    /* Present or swapped, not the shared zero page: anonymous and shared memory. */
    PAGEMAP_POPULATED,
    /* The same, without pages that still are the file's: copied-on-write pages only. */
    PAGEMAP_COPIED,
    /* The same, present, and no part of a huge page: such a page is there because of what happened
     * to it, and not to its neighbours. Needs has_scan, and is exact. */
    PAGEMAP_SINGLE,
};

struct pagemap {
    int fd;
    bool has_scan; /* the PAGEMAP_SCAN ioctl answered */
};

/* Opens /proc/thread-self/pagemap (the leader of the group may have ended, and have no memory) and
 * probes the ioctl. False if it cannot be opened. */
bool pagemap_open(struct pagemap *p);
void pagemap_close(struct pagemap *p);
/* Stores up to `capacity` ranges that cover all wanted pages of [start, *next) and sets *next to
 * where the walk ended (`end` when complete). Call again from *next for the rest.
 * Returns the number of ranges, or -1 when the kernel refused. */
long pagemap_scan(struct pagemap *p, enum pagemap_want want, uintptr_t start, uintptr_t end,
                  struct page_range *ranges, size_t capacity, uintptr_t *next);

/* Calls visit(start, end, data) for each wanted range of [start, end). False: the kernel refused,
 * and an unknown part was not visited. */
typedef void pagemap_visit_fn(uintptr_t start, uintptr_t end, void *data);
bool pagemap_each(struct pagemap *p, enum pagemap_want want, uintptr_t start, uintptr_t end,
                  pagemap_visit_fn *visit, void *data);

enum pagemap_take {
    PAGEMAP_LOOK,            /* what was written; holes count as written */
    PAGEMAP_PROTECT,         /* and is protected again: holes too, by page table entries */
    PAGEMAP_PROTECT_PRESENT, /* the same of pages that exist: slower, but for sparse memory */
};
/* The pages of [start, end) written since they were protected by userfaultfd (asynchronous write
 * protection), as pagemap_scan. -1: some of the range is under no such protection; what was written
 * in the range is then lost. Needs has_scan. */
long pagemap_take_written(struct pagemap *p, enum pagemap_take how, uintptr_t start, uintptr_t end,
                          struct page_range *ranges, size_t capacity, uintptr_t *next);
/* Protects the pages of [start, end), and the holes among them where there is a page table already.
 * False: refused. */
bool pagemap_protect(struct pagemap *p, uintptr_t start, uintptr_t end);

#endif
