/* page_heap.h -- runs of slabs: first fit in address order, coalesced, given back with time.
 *
 * Thread safety: every function takes the PAGE_HEAP lock itself. */
#ifndef GC_PAGE_HEAP_H
#define GC_PAGE_HEAP_H

#include "base/base.h"

#define NO_SLAB UINT32_MAX

/* Seconds a free run stays resident. Longer: fewer page faults (1-3.5 us each) for programs that
 * breathe; shorter: less memory after a peak. jemalloc's default is 10, tcmalloc's about 1. */
enum { PAGE_HEAP_DECAY_SECONDS = 3 };

struct page_heap_stats {
    uint32_t top_slabs;     /* ever used */
    uint32_t free_slabs;    /* in free runs */
    uint32_t dirty_slabs;   /* of these, with pages that may be resident */
    uint64_t released;      /* bytes given back to the kernel so far */
};

/* Takes a run of `slabs` slabs whose address is a multiple of `alignment` (a power of two, in
 * slabs). *zeroed: all its pages read as zeros. NO_SLAB when there is no room or no memory. */
uint32_t page_heap_alloc(uint32_t slabs, uint32_t alignment, bool *zeroed);
/* Takes `more` slabs directly behind the run that ends before index `end`, if they are free. */
bool page_heap_extend(uint32_t end, uint32_t more);
/* Gives a run back. Its slabs are SLAB_TAKEN and its slot bytes 0. */
void page_heap_free(uint32_t head, uint32_t slabs);
/* Declares that the kernel holds no pages for these slabs, which the caller owns (mremap took
 * them away). */
void page_heap_note_clean(uint32_t head, uint32_t slabs);
/* Gives back to the kernel the runs that have been free for `seconds`; 0 = all. Bytes released. */
size_t page_heap_decay(uint32_t seconds);
/* Could a run of this size be had without growing the arena? A hint. */
bool page_heap_has(uint32_t slabs);
struct page_heap_stats page_heap_stats(void);
struct lock *page_heap_lock(void);

#endif
