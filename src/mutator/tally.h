/* tally.h -- how many blocks were ever allocated and freed, by size class.
 *
 * The fast paths count nothing for it: allocations are what the magazines' countdowns have gone
 * down by (.inv.until in thread_cache.h), and what is freed is what was allocated and is no longer
 * in the program's hands. Both are exact for a program of one thread, and for one whose other
 * threads do not allocate meanwhile.
 *
 * Thread safety: any thread that holds no lock below REGISTRY, also a signal handler, if
 * tally_can_read says so. */
#ifndef GC_TALLY_H
#define GC_TALLY_H

#include "base/atomic.h"
#include "base/base.h"
#include "heap/size_class.h"

/* What the slow paths count. Anyone adds, relaxed. */
struct tally_counters {
    _Atomic uint64_t uncached[SIZE_CLASS_COUNT]; /* allocated past the magazines */
    _Atomic uint64_t ended[SIZE_CLASS_COUNT];    /* by threads that have ended */
    _Atomic uint64_t guarded, guarded_freed;
};
extern struct tally_counters tally_counters;

/* Class 0 stands for blocks of no class: large ones, and guarded ones, a page each. */
struct tally {
    uint64_t mallocs[SIZE_CLASS_COUNT], frees[SIZE_CLASS_COUNT];
    uint64_t allocated_bytes; /* ever, in blocks as large as their class */
    uint64_t live_bytes;
    uint64_t cached_bytes;    /* free, in magazines and transfer caches */
    uint64_t threads;
};

/* False: the caller is a handler on top of what would be counted, or of one of our locks. */
bool tally_can_read(void);
/* Some 1 us, and 1 us for each other thread of the program. */
enum tally_reader { TALLY_PROGRAM, TALLY_OBSERVER, TALLY_READERS };
void tally_read(struct tally *out, enum tally_reader reader);
/* Of all classes together. */
uint64_t tally_sum(const uint64_t counts[SIZE_CLASS_COUNT]);

#endif
