/* mark.h -- from words to blocks, and from blocks to the blocks they point to.
 *
 * A marker belongs to one thread at a time. The program may run, and other markers too: a slot byte
 * is moved by compare-and-swap only (mark_loop.h says why that is enough). What several markers do
 * together is team.h's. */
#ifndef GC_MARK_H
#define GC_MARK_H

#include "base/atomic.h"
#include "base/base.h"
#include "gc/worklist.h"
#include "sys/pagemap.h"

enum {
    /* Words in flight between the prefetch of their cache lines and their use. Each is two or three
     * lines, and a core waits for 12-16 lines at most: from 8 on nothing changes (prototype, 8 to
     * 64: 20.3 … 20.9 million objects/s). */
    MARK_FIFO = 16,
    /* Candidate words that a marker holds; 16 KiB, a third of a first-level cache. */
    MARK_WORDS = 2048,
    /* Words taken from the stack between two calls of tick(): ~15 us. */
    MARK_TICK = 256,
    /* Blocks up to here are read as soon as they are marked. */
    MARK_AT_ONCE = 1024,
    /* Larger blocks are read this much at a time: ~10 us. */
    MARK_PIECE = 128 << 10,
    /* From this many bytes on a block is read only where it holds pages. One look at the pagemap
     * costs ~1 us. */
    SPARSE_LEAST = 1 << 20,
    /* In the `start` of an item of the work list: its pages have not been looked up yet. */
    WORK_SPARSE = 1,
};

struct marker {
    struct worklist work;           /* blocks to be read; {word, 0}: a word to be tested */
    uint8_t epoch;
    bool guest;                     /* has not the leader's file descriptors: cannot use pagemap */
    uint32_t at_once;               /* blocks up to here are read as soon as they are marked */
    bool note_newborn;              /* scanning a stack or registers: see judge.h */
    uint32_t halves;                /* 1: words may begin in the middle of others; else 0 */
    uint32_t count, fed;            /* in words[], feed[] */
    uint64_t marked_blocks, marked_bytes, scanned_bytes;
    struct pagemap *pagemap;        /* may be NULL: large blocks are then read whole */
    /* Marks from words[] until there are none; see mark_loop.h. */
    bool (*loop)(struct marker *m);
    /* Called now and then; true: stop. May take from `work` and words[]. NULL: never stop. */
    bool (*tick)(struct marker *m);
    /* Reads a block that overlaps protected memory (protected.h), and calls mark_words for what it
     * read. Any marker's thread but a guest's. */
    void (*_Atomic read_carefully)(struct marker *m, struct work work);
    _Atomic uint32_t reading;       /* see protected.h */
    uintptr_t feed[MARK_FIFO];      /* words from outside, whose lines are on their way */
    uintptr_t words[MARK_WORDS];    /* candidates, the last found on top */
};

/* From the next marker_start on, pointers are found at multiples of `align` bytes: 8, or 4. A
 * program that packs its structs has them in the middle of two words. */
void mark_set_align(size_t align);
/* Bytes that a reader of a part of something adds to its end where it goes on: a word may begin in
 * front of the end. */
size_t mark_overlap(void);
/* A new epoch: no work, counters 0. `work` was set up by worklist_init. */
void marker_start(struct marker *m, struct pagemap *pagemap);
/* Every word of words[0..count), and with `halves` every two halves of neighbours, may be a
 * pointer: marks the blocks, and notes them as work. */
void mark_words(struct marker *m, const uintptr_t *words, size_t count);
/* As mark_words, and words begin at any byte: machine code holds pointers in its instructions. */
void mark_code(struct marker *m, const uintptr_t *words, size_t count);
/* One word that may be a pointer. */
void mark_word(struct marker *m, uintptr_t word);
/* Tests the words that the two above still hold back. */
void mark_flush(struct marker *m);
/* The block that begins there is read, as if it were marked, and is not. If a list drops it (`work.
 * dropped`), nobody will find it again. */
void mark_contents(struct marker *m, uintptr_t block);
/* The same, and pointers into the block itself do not count; in one of more than 64 KiB they do. */
void mark_contents_outside(struct marker *m, uintptr_t block);
/* It is marked, by this epoch, and not read. All else is done. */
void mark_alone(struct marker *m, uintptr_t block);
/* Scans again the words of [start, end) that lie in blocks of the current epoch; page aligned, in
 * the arena. */
void mark_dirty_range(struct marker *m, uintptr_t start, uintptr_t end);

#if GC_CHECK_LEVEL >= 1
/* From now on each block that a marker marks sets its bit in bits[] (one a granule of the first
 * `slabs` slabs); NULL: none. For the oracle. */
void mark_remember(uint8_t *bits, size_t slabs);
/* A block was marked. */
void mark_note_claim(uintptr_t block, uint8_t epoch);
#endif

/* Does all work there is. False: tick() said to stop, or a guest can do no more. */
bool mark_run(struct marker *m);
/* Scans again every marked block of the span that begins at this slab, if one does: some of them
 * may have been dropped by a full work list. Does not stop. */
void mark_recover_span(struct marker *m, uint32_t slab);
/* Marks everything reachable from what was marked so far, alone, full lists included. */
void mark_drain(struct marker *m);

/* What a marker's `loop` may be; marker_start chooses. */
bool mark_loop_portable(struct marker *m);
bool mark_loop_avx2(struct marker *m);
bool mark_loop_tagged(struct marker *m);

#endif
