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

struct judge judge = {.epoch = EPOCH_FIRST, .least = EPOCH_FIRST};

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

struct visit {
    struct slab *head;
    uintptr_t start;
    struct unreached what;
    judge_visit_fn *call;
    void *data;
};

static void visit_slot(const struct visit *v, uint32_t slot, uint8_t byte)
{
    if (!slot_is_unreached(v->what, byte))
        return;
    struct slab *head = v->head;
    size_t object = head->object_size, size = object != 0 ? object : head->bytes;
    uintptr_t start = v->start + (uintptr_t)slot * object;
    /* A collector that counts beside the running program may see the span vanish and become
     * another: what is then computed is no block of it, and must at least lie in the heap. */
    if (slot >= head->slots || start + size > slab_address(relaxed_load(&arena.top)))
        return;
    struct block block = {start, size, head, slot};
    v->call(&block, byte, v->data);
}

/* Bit i set: byte i is at least `first`, and not `epoch`. */
static unsigned odd_ones(const void *bytes, __m128i epoch, __m128i first)
{
    __m128i b = _mm_load_si128(bytes);
    __m128i is_epoch = _mm_cmpeq_epi8(_mm_max_epu8(b, first), b);
    __m128i is_current = _mm_cmpeq_epi8(b, epoch);
    return (unsigned)_mm_movemask_epi8(_mm_andnot_si128(is_current, is_epoch));
}

static void visit_dense(const struct visit *v, slot_byte *bytes, uint32_t granules)
{
    __m128i epoch = _mm_set1_epi8((char)v->what.epoch);
    __m128i first = _mm_set1_epi8((char)v->what.least);
    for (uint32_t at = 0; at < granules; at += 16) {
        unsigned odd = odd_ones((const void *)(uintptr_t)(bytes + at), epoch, first);
        for (; odd != 0; odd &= odd - 1) {
            uint32_t granule = at + (uint32_t)__builtin_ctz(odd);
            uint32_t slot = (uint32_t)(((uint64_t)granule * v->head->magic) >> 31);
            visit_slot(v, slot, relaxed_load(bytes + granule));
        }
    }
}

static void visit_sparse(const struct visit *v, slot_byte *bytes)
{
    uint32_t stride = v->head->object_size / GRANULE;
    for (uint32_t slot = 0; slot < v->head->slots; slot++)
        visit_slot(v, slot, relaxed_load(bytes + (size_t)slot * stride));
}

/* From this many granules a slot on, looking at each slot's byte beats looking at all bytes. */
enum { SPARSE_GRANULES = 32 };

void judge_visit(struct slab *head, struct unreached what, judge_visit_fn *call, void *data)
{
    struct visit v = {head, slab_address(slab_index(head)), what, call, data};
    slot_byte *bytes = slot_of(v.start);
    if (slab_kind(head) == SLAB_LARGE || head->object_size >= SPARSE_GRANULES * GRANULE)
        visit_sparse(&v, bytes);
    else
        visit_dense(&v, bytes, slab_span(head) * (SLAB_SIZE / GRANULE));
}

static void judge_slot(const struct block *block, uint8_t value, void *data)
{
    uint32_t *freed = data;
    slot_byte *byte = slot_of(block->start);
    unsigned age = slot_age(relaxed_load(&judge.epoch), value);
    if (judge.reclaim && age >= judge.confirm && !judge_is_newborn(block->start)) {
        if (judge.reclaiming == NULL || judge.reclaiming(block, age))
            *freed += turn(byte, value, SLOT_FREE);
        else
            turn(byte, value, SLOT_KEPT);
    } else if (age >= JUDGE_KEEP_AGE) {
        turn(byte, value, SLOT_KEPT);
    }
}

uint32_t judge_span(struct slab *head)
{
    uint32_t freed = 0;
    struct unreached what = {relaxed_load(&judge.epoch), judge.least};
    judge_visit(head, what, judge_slot, &freed);
    return freed;
}
