/* judge.h -- what becomes of a live slot whose epoch is not the current one.
 *
 * The collector sets the verdict's terms when a mark has ended; central and large apply them to
 * one span at a time when they sweep it. */
#ifndef GC_JUDGE_H
#define GC_JUDGE_H

#include "base/base.h"
#include "heap/slab.h"

enum {
    /* A slot this old becomes SLOT_KEPT, long before its age could wrap. */
    JUDGE_KEEP_AGE = 200,
    /* Bits in the newborn filter. A pause sees tens to hundreds of newborn candidates; at 64 Ki
     * bits, a false match delays the reclaim of a block by one cycle in less than 1 % of cases. */
    NEWBORN_BITS = 1 << 16,
};

struct judge {
    /* Of the last mark that ended: a live block with another epoch was not reached. Stored last, by
     * release: whoever sees it sees the terms. 0, which no epoch is, while a mark is under way, and
     * after one that could not be finished: all spans are swept, and none is to be. */
    _Atomic uint8_t epoch;
    bool reclaim;           /* false: report only */
    unsigned confirm;       /* reclaim from this age on */
    uint8_t least;          /* EPOCH_FIRST, or SLOT_KEPT to judge the kept ones too (at exit) */
    /* Addresses of blocks that were being handed out when the world stood still, hashed: of the
     * last mark that ended, in newborn[in_force], and of the one under way in the other. Such a
     * block may get an epoch from before the mark, and is no contradiction until the next mark has
     * ended, which finds it or not. */
    uint8_t newborn[2][NEWBORN_BITS / 8];
    uint8_t in_force;
    bool any_newborn, any_noted;
    /* Told of each block just before it is reclaimed, with its age in cycles. May veto (false):
     * the block is then kept for good. Called with a central lock held. NULL: nobody wants to know,
     * which is three times as fast. */
    bool (*reclaiming)(const struct block *block, unsigned age);
    /* The block is free now, and nobody else's before this returns: the program may have used it
     * after the above. Called like that; NULL: nobody wants to know, or `reclaiming` is NULL. */
    void (*reclaimed)(const struct block *block);
};

/* Written by the collector between the mark and the sweep. */
extern struct judge judge;

/* World stopped: none is noted; one more is; those noted are now in force. */
void judge_forget_newborn(void);
void judge_note_newborn(uintptr_t block);
void judge_end_newborn(void);
bool judge_is_newborn(uintptr_t block);

/* What a mark did not reach: the slots whose byte is at least `least`, and not `epoch`. */
struct unreached {
    uint8_t epoch, least;
};

GC_INLINE bool slot_is_unreached(struct unreached u, uint8_t byte)
{
    return byte >= u.least && byte != u.epoch;
}

/* A block's byte, and what it must be held against, of one moment: a mark may end at any time, and
 * the world may be stopped for that between any two instructions. */
struct standing {
    uint8_t byte, epoch, window;
};
struct standing standing_of(const struct block *block);
/* No mark has reached the block, though one should have. */
bool standing_is_unreached(struct standing s);
/* The program uses it: it counts as reachable from now on; while a mark is under way, until now. */
void standing_renew(const struct block *block, struct standing s);

/* Calls visit(block, byte, data) for each unreached slot of the span. */
typedef void judge_visit_fn(const struct block *block, uint8_t byte, void *data);
void judge_visit(struct slab *head, struct unreached what, judge_visit_fn *visit, void *data);

/* How many slots of the span are unreached, and how many of them for `confirm` cycles. */
struct judge_counts {
    uint64_t blocks, due;
};
struct judge_counts judge_count(struct slab *head, struct unreached what, unsigned confirm);

/* Applies the terms to every slot of the span; returns how many slots this call made free. The
 * caller holds what makes it the only sweeper of this span, but for those who judge its bytes. */
uint32_t judge_span(struct slab *head);
/* Nobody is told or asked about single blocks. Constant from one mark to the next. */
bool judge_is_silent(void);
/* It is silent, and the span's slots are small: then judge_span is judge_bytes over the slot bytes
 * of the whole span, which several threads may do at once, and who does not hold the span. */
bool judge_needs_bytes_only(const struct slab *head);
uint32_t judge_bytes(slot_byte *bytes, uint32_t granules);

#endif
