/* central.h -- the shared level: per size class, spans with free slots and a transfer cache.
 *
 * There are four centrals a class: for ordinary blocks; for traced ones, whose spans keep a record
 * of every block; for leaf blocks, in which no pointer is looked for; and for those that are both.
 * The slab_class entry of all but the ordinary spans is 0, so that free() of their blocks takes the
 * slow path: a magazine would mix them up, and the record is at hand there. So each of them takes
 * the lock once: some 40 ns more for malloc, and for free, than a magazine.
 *
 * Thread safety: each function takes the CENTRAL lock of its class. */
#ifndef GC_CENTRAL_H
#define GC_CENTRAL_H

#include "base/base.h"
#include "heap/slab.h"

enum {
    /* Blocks of a batch, at most; twice as many lie in a shard of a transfer cache. */
    CENTRAL_BATCH_MOST = 1024,
    /* Of each transfer cache: a thread gives to one of them and takes from it first, so that what
     * it gave comes back to it. */
    CENTRAL_SHARDS = 4,
};

/* Fills items[0..want) with blocks of the class, their slot bytes SLOT_CACHED, from the transfer
 * cache (this shard first) or from spans. Returns how many there were: 0 = out of
 * memory. */
uint32_t central_fetch(unsigned size_class, unsigned shard, void **items, uint32_t want);
/* Takes back blocks whose slot bytes are SLOT_CACHED. */
void central_release(unsigned size_class, unsigned shard, void **items, uint32_t count);
/* The same, to their spans at once: nobody is going to ask for them soon. */
void central_return(unsigned size_class, void **items, uint32_t count);

/* One block, its byte SLOT_CACHED: traced if there is a record, which is set. NULL when out of
 * memory. */
void *central_fetch_single(unsigned size_class, const struct record *record, bool leaf);
/* Takes back one block of a span that is traced, or of leaves, whose slot byte is SLOT_CACHED. */
void central_release_single(const struct block *block);

/* The span of which this slab is the head, its class locked: no slot of it is handed out or taken
 * back until central_let_go. NULL: it is none. */
struct slab *central_hold_span(uint32_t head);
void central_let_go(const struct slab *span);
/* Sweeps the span if it is still one and has not been swept in this cycle. */
void central_sweep_span(uint32_t head);
/* In the child of fork, if somebody was sweeping in the parent: .inv.unlocked. */
void central_recount(void);
/* Ordinary and traced blocks of the class that are not in their spans, and how many of these lie in
 * the transfer cache. Takes no lock: while others allocate, of about the same moment. */
struct central_count {
    uint32_t taken, transfer;
};
struct central_count central_count(unsigned size_class);
/* Returns the transfer caches' blocks to their spans and empty spans to the page heap. */
void central_trim(void);
/* Now and then: returns what no one needed of the transfer caches since the last call, and spans
 * that are kept though empty, of classes not used since. Returns the number of blocks. */
uint32_t central_scavenge(void);
/* Now and then: gives the kernel those pages of half-empty spans that hold free slots only, where
 * nothing changed for `calls` calls. Returns the bytes. */
size_t central_discard_pages(unsigned calls);
/* All CENTRAL locks, in order, for fork. */
void central_lock_all(void);
void central_unlock_all(void);
void central_reset_locks(void);

#endif
