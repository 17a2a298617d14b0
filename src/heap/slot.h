/* slot.h -- the slot byte: the whole state of a block in one byte outside of it.
 *
 * There is one byte per 16-byte granule of the arena; the byte of a block is that of its first
 * granule, all others are 0. So from an address to its byte is a shift, without a division, and
 * a free() of an address inside a block finds 0. (One byte per slot would save memory, 6 % against
 * 1.6 % at 64 bytes; measured on a prototype the shift was 9 % faster for malloc and free.)
 *
 *   0        free in its slab, or not the start of a block
 *   1        held by a thread cache or a transfer cache: neither live nor in its slab
 *   2        live and judged leaked so long ago that its epoch would wrap: kept, never reclaimed
 *   4 … 255  live, and last known reachable in the cycle of that epoch, or born after it
 *
 * Writers. The owner of a block (the thread that allocates or frees it): 1 -> epoch, live -> 1,
 * plain stores. The marker: an older epoch -> the current one, by compare-and-swap, since the owner
 * may free the block at that moment. The sweeper: a judged epoch -> 0,
 * by compare-and-swap. A judged block has no owner unless the program hides a pointer, and then
 * free() goes through the slow path (see `window`), where compare-and-swap decides.
 *
 *   .inv.free_zero   All slot bytes of a free slab are 0.
 *   .inv.window      Every reachable block carries the current epoch, or while a mark is under way
 *                    (`window` is 1 then) at least the one before. So free() of a block whose epoch
 *                    is not within `window` is a contradiction, a double free or an invalid one:
 *                    (uint8_t)(epoch - byte) > window sends all three to the slow path with one
 *                    compare. */
#ifndef GC_SLOT_H
#define GC_SLOT_H

#include "base/atomic.h"
#include "base/base.h"
#include "base/check.h"

enum {
    SLOT_FREE = 0,
    SLOT_CACHED = 1,
    SLOT_KEPT = 2,
    EPOCH_FIRST = 4, /* 3 stays unused: at epoch 4 it would lie within a window of 1 */
    EPOCH_LAST = 255,
    EPOCH_COUNT = EPOCH_LAST - EPOCH_FIRST + 1,
};

typedef _Atomic uint8_t slot_byte;

GC_INLINE bool slot_is_live(uint8_t byte)
{
    return byte >= SLOT_KEPT;
}
GC_INLINE bool slot_is_epoch(uint8_t byte)
{
    return byte >= EPOCH_FIRST;
}
GC_INLINE uint8_t epoch_next(uint8_t epoch)
{
    return epoch == EPOCH_LAST ? EPOCH_FIRST : (uint8_t)(epoch + 1);
}
GC_INLINE uint8_t epoch_before(uint8_t epoch)
{
    return epoch == EPOCH_FIRST ? EPOCH_LAST : (uint8_t)(epoch - 1);
}
/* Cycles since the block with this (epoch) byte was last known reachable, 0 … EPOCH_COUNT - 1. */
GC_INLINE unsigned epoch_age(uint8_t now, uint8_t byte)
{
    int age = (int)now - (int)byte;
    return (unsigned)(age >= 0 ? age : age + EPOCH_COUNT);
}
/* The same for any live byte: a kept block is older than epochs can tell. */
GC_INLINE unsigned slot_age(uint8_t now, uint8_t byte)
{
    return byte == SLOT_KEPT ? EPOCH_COUNT : epoch_age(now, byte);
}

/* Builds with checks: which blocks of the current epoch a marker has marked, a bit a granule; the
 * others of that epoch were born with it. For the oracle (gc/oracle.c). */
#if GC_CHECK_LEVEL >= 1
extern struct slot_claims {
    _Atomic uint8_t *_Atomic bits;  /* or NULL */
    size_t granules;
} slot_claims;

/* The block was freed: who gets it next was not marked. */
GC_INLINE void slot_note_death(size_t granule)
{
    _Atomic uint8_t *bits = acquire_load(&slot_claims.bits);
    uint8_t bit = (uint8_t)(1u << (granule % 8));
    if (bits != NULL && granule < slot_claims.granules && (relaxed_load(&bits[granule / 8]) & bit))
        atomic_fetch_and(&bits[granule / 8], (uint8_t)~bit);
}
#else
GC_INLINE void slot_note_death(size_t granule)
{
    (void)granule;
}
#endif

#endif
