/* pins.h -- blocks that count as reachable because the program says so.
 *
 * Thread safety: any thread that holds no lock; pins_each: the collector, also while the world is
 * stopped. */
#ifndef GC_PINS_H
#define GC_PINS_H

#include "base/base.h"

/* What the program says of a block: it holds it for a while, and counts that; or it means to leak
 * it. */
enum pins_why { PINS_PINNED, PINS_IGNORED };

enum pins_result {
    PINS_DONE,
    PINS_UNKNOWN, /* the block is not pinned */
    PINS_FULL,    /* no memory; or as many pins as can be counted */
};

/* `block` is the start of a live block; a pin more. To be ignored it is once and for all. */
enum pins_result pins_add(uintptr_t block, enum pins_why why);
/* A pin less. */
enum pins_result pins_remove(uintptr_t block);
/* The block is being freed: it has left the live state, and nobody has got it yet. */
void pins_end(uintptr_t block);
/* Calls for each block there is, some of them twice while the program runs, or is stopped while it
 * removes one. */
void pins_each(void (*visit)(uintptr_t block, void *data), void *data);

struct pins_counts {
    uint64_t pinned, ignored; /* blocks */
};
struct pins_counts pins_counts(void);
/* The WATCHES lock, for fork. */
struct lock *pins_lock(void);

#endif
