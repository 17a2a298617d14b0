/* judge.c -- sweeping one span: find the slots that no mark reached, and free those whose time
 * has come.
 *
 * Nearly all slots carry the current epoch (reached, or born since), 0 or 1. The search for others
 * is a SIMD compare over the slot bytes, 16 granules an instruction; only the odd ones out are
 * looked at singly.
 *
 *   .inv.newborn   A thread may be stopped inside malloc after it read the epoch and before it
 *                  stored it in the slot byte; once the world runs again it stores a stale epoch,
 *                  and the block looks judged though it was just born. Such a block's address was
 *                  in a register or in the thread's signal frame during the stop, with its byte at
 *                  1; root scanning noted it in `newborn`, and the judge passes over it.
 *   .inv.verdict   A slot goes from a judged epoch to 0 by compare-and-swap only: if the program
 *                  frees the block at that moment (a hidden pointer), exactly one side wins. */
#include "heap/judge.h"

#include "base/check.h"
#include "base/rng.h"

#include <emmintrin.h>

struct judge judge;

static uint32_t newborn_bit(uintptr_t block)
{
    return (uint32_t)(mix64(block >> GRANULE_SHIFT) & (NEWBORN_BITS - 1));
}

void judge_note_newborn(uintptr_t block)
{
    uint32_t bit = newborn_bit(block);
    judge.newborn[bit / 8] |= (uint8_t)(1u << (bit % 8));
}

bool judge_is_newborn(uintptr_t block)
{
    uint32_t bit = newborn_bit(block);
    return (judge.newborn[bit / 8] >> (bit % 8)) & 1;
}

static bool turn(slot_byte *byte, uint8_t from, uint8_t to)
{
    return atomic_compare_exchange_strong_explicit(byte, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* True if the slot became free. */
static bool judge_slot(struct slab *head, uint32_t slot, slot_byte *byte)
{
    uint8_t epoch = relaxed_load(&hot.epoch), value = relaxed_load(byte);
    if (!slot_is_epoch(value) || value == epoch)
        return false;
    unsigned age = epoch_age(epoch, value);
    uintptr_t start = slab_address(slab_index(head)) + (uintptr_t)slot * head->object_size;
    size_t size = head->object_size != 0 ? head->object_size : head->bytes;
    struct block block = {start, size, head, slot};
    if (judge.reclaim && age >= judge.confirm && !judge_is_newborn(start)) {
        if (judge.reclaiming == NULL || judge.reclaiming(&block, age))
            return turn(byte, value, SLOT_FREE);
        turn(byte, value, SLOT_KEPT);
    } else if (age >= JUDGE_KEEP_AGE) {
        turn(byte, value, SLOT_KEPT);
    }
    return false;
}

/* Bit i set: byte i is an epoch, and not `epoch`. */
static unsigned odd_ones(const void *bytes, __m128i epoch, __m128i first)
{
    __m128i b = _mm_load_si128(bytes);
    __m128i is_epoch = _mm_cmpeq_epi8(_mm_max_epu8(b, first), b);
    __m128i is_current = _mm_cmpeq_epi8(b, epoch);
    return (unsigned)_mm_movemask_epi8(_mm_andnot_si128(is_current, is_epoch));
}

static uint32_t judge_dense(struct slab *head, slot_byte *bytes, uint32_t granules)
{
    uint32_t freed = 0;
    __m128i epoch = _mm_set1_epi8((char)relaxed_load(&hot.epoch));
    __m128i first = _mm_set1_epi8(EPOCH_FIRST);
    for (uint32_t at = 0; at < granules; at += 16) {
        unsigned odd = odd_ones((const void *)(uintptr_t)(bytes + at), epoch, first);
        for (; odd != 0; odd &= odd - 1) {
            uint32_t granule = at + (uint32_t)__builtin_ctz(odd);
            uint32_t slot = (uint32_t)(((uint64_t)granule * head->magic) >> 31);
            freed += judge_slot(head, slot, bytes + granule);
        }
    }
    return freed;
}

static uint32_t judge_sparse(struct slab *head, slot_byte *bytes)
{
    uint32_t freed = 0, stride = head->object_size / GRANULE;
    for (uint32_t slot = 0; slot < head->slots; slot++)
        freed += judge_slot(head, slot, bytes + (size_t)slot * stride);
    return freed;
}

/* From this many granules a slot on, looking at each slot's byte beats looking at all bytes. */
enum { SPARSE_GRANULES = 32 };

uint32_t judge_span(struct slab *head)
{
    slot_byte *bytes = slot_of(slab_address(slab_index(head)));
    if (slab_kind(head) == SLAB_LARGE || head->object_size >= SPARSE_GRANULES * GRANULE)
        return judge_sparse(head, bytes);
    return judge_dense(head, bytes, slab_span(head) * (SLAB_SIZE / GRANULE));
}
