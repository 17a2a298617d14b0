/* mark.h -- from words to blocks, and from blocks to the blocks they point to.
 *
 * A marker belongs to one thread. The world is stopped: no slot byte but a marker's own changes. */
#ifndef GC_MARK_H
#define GC_MARK_H

#include "base/base.h"
#include "gc/scan.h"
#include "gc/worklist.h"
#include "sys/pagemap.h"

/* Blocks and words in flight between the prefetch of their cache lines and their use. 16 hides
 * DRAM latency: 31 million objects/s against 5.5 without (prototype; see bench/mark_nodes). */
enum { MARK_FIFO = 16 };

/* From this many bytes on a block is read only where it holds pages. One look at the pagemap costs
 * ~1 us. */
enum { SPARSE_LEAST = 1 << 20 };

struct marker {
    struct worklist work;
    scan_filter_fn *filter;
    struct pagemap *pagemap;        /* may be NULL: large blocks are then read whole */
    /* Reads a block that overlaps protected memory (protected.h); set by roots_scan. */
    void (*scan_protected)(struct marker *m, struct work work);
    uintptr_t words[MARK_FIFO];     /* candidates whose descriptor and byte are on their way */
    struct work blocks[MARK_FIFO];  /* marked blocks whose first lines are on their way */
    unsigned next_word, next_block;
    bool note_newborn;              /* scanning a stack or registers: see judge.h */
    uint8_t epoch;
    uint64_t marked_blocks, marked_bytes, scanned_bytes;
};

void marker_start(struct marker *m, struct pagemap *pagemap);
/* Every word of words[0..count) may be a pointer. */
void mark_words(struct marker *m, const uintptr_t *words, size_t count);
/* One word that may be a pointer. */
void mark_word(struct marker *m, uintptr_t word);
/* Tests the words still in the FIFO. */
void mark_flush(struct marker *m);
/* Marks everything reachable from what was marked so far. */
void mark_drain(struct marker *m);
bool mark_drain_some(struct marker *m);
void mark_dirty_range(struct marker *m, uintptr_t start, uintptr_t end);

#endif
