/* census.h -- every block that is in use, one by one, while the program runs. */
#ifndef GC_CENSUS_H
#define GC_CENSUS_H

#include "base/base.h"
#include "heap/slab.h"

/* A block that is in use. */
struct census_entry {
    uintptr_t start;
    uint32_t stack;   /* of its allocation, or 0; anything if the block was freed meanwhile */
    uint32_t size;    /* of its class; 0: a large block */
    uint64_t bytes;   /* that the program asked for, where that is known */
    bool unreached;   /* the last mark has not reached it; nor the marks before, for */
    unsigned age;     /* so many cycles in all */
};
typedef void census_visit_fn(const struct census_entry *entry, void *data);

/* Calls visit for each of them; a lock of the heap is held, and held up nobody for longer than one
 * span takes. Any thread that holds none. */
void census_take(census_visit_fn *visit, void *data);

#endif
