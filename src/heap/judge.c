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
#include <string.h>

struct judge judge = {.epoch = EPOCH_FIRST, .least = EPOCH_FIRST};

static uint32_t newborn_bit(uintptr_t block)
{
    return (uint32_t)(mix64(block >> GRANULE_SHIFT) & (NEWBORN_BITS - 1));
}

void judge_forget_newborn(void)
{
    memset(judge.newborn[!judge.in_force], 0, sizeof(judge.newborn[0]));
    judge.any_noted = false;
}

void judge_note_newborn(uintptr_t block)
{
    uint32_t bit = newborn_bit(block);
    judge.newborn[!judge.in_force][bit / 8] |= (uint8_t)(1u << (bit % 8));
    judge.any_noted = true;
}

void judge_end_newborn(void)
{
    judge.in_force = !judge.in_force;
    judge.any_newborn = judge.any_noted;
}

bool judge_is_newborn(uintptr_t block)
{
    uint32_t bit = newborn_bit(block);
    return (judge.newborn[judge.in_force][bit / 8] >> (bit % 8)) & 1;
}

struct standing standing_of(const struct block *block)
{
    struct standing s;
    do {
        s.epoch = acquire_load(&hot.epoch);
        s.window = acquire_load(&hot.window);
        s.byte = acquire_load(slot_of(block->start));
    } while (s.epoch != acquire_load(&hot.epoch) || s.window != relaxed_load(&hot.window));
    return s;
}

bool standing_is_unreached(struct standing s)
{
    return slot_is_live(s.byte) && slot_age(s.epoch, s.byte) > s.window;
}

void standing_renew(const struct block *block, struct standing s)
{
    atomic_compare_exchange_strong(slot_of(block->start), &s.byte,
                                   s.window == 0 ? s.epoch : epoch_before(s.epoch));
}

static bool turn(slot_byte *byte, uint8_t from, uint8_t to)
{
    return atomic_compare_exchange_strong_explicit(byte, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* How a span's slots lie, read from its descriptor once in each of the functions below: who counts
 * or sweeps beside the running program may see the span, or the large block, vanish and become
 * another, and what it then visits is no block of it, but must lie in the heap, and its bytes in
 * the table; and what it is taken for decides how its bytes are read (.inv.verdict). */
struct layout {
    uintptr_t start;
    size_t size;                    /* of a block */
    const struct size_class *class; /* NULL: it is one large block */
};

static struct layout layout_of(const struct slab *head)
{
    struct layout l = {slab_address(slab_index(head)), 0, NULL};
    if (slab_kind(head) != SLAB_LARGE)
        l.class = &size_classes[once(head->size_class)];
    l.size = l.class != NULL ? l.class->size : once(head->bytes);
    return l;
}

static uint32_t granules_of(struct layout l)
{
    GC_ASSERT(l.class != NULL);
    return (uint32_t)l.class->slabs * (SLAB_SIZE / GRANULE);
}

/* From this many granules a slot on, looking at each slot's byte beats looking at all bytes. */
enum { SPARSE_GRANULES = 32 };

static bool is_sparse(struct layout l)
{
    return l.class == NULL || l.size >= SPARSE_GRANULES * GRANULE;
}

struct visit {
    struct slab *head;
    struct layout layout;
    struct unreached what;
    judge_visit_fn *call;
    void *data;
};

static void visit_slot(const struct visit *v, uint32_t slot, uint8_t byte)
{
    size_t size = v->layout.size;
    uintptr_t start = v->layout.start + slot * size;
    bool there = v->layout.class == NULL || slot < v->layout.class->slots;
    if (!slot_is_unreached(v->what, byte) || !there ||
        size > slab_address(relaxed_load(&arena.top)) - start)
        return;
    struct block block = {start, size, v->head, slot};
    v->call(&block, byte, v->data);
}

/* One load: the compiler must not read the memory twice, for the program may write in between. */
static __m128i load(const slot_byte *bytes)
{
    __m128i b = _mm_load_si128((const __m128i *)(const void *)bytes);
    __asm__ volatile("" : "+x"(b));
    return b;
}

/* Byte i is 255 if it is at least `first`, and not `epoch`; else 0. */
static __m128i odd_ones(__m128i b, __m128i epoch, __m128i first)
{
    __m128i is_epoch = _mm_cmpeq_epi8(_mm_max_epu8(b, first), b);
    __m128i is_current = _mm_cmpeq_epi8(b, epoch);
    return _mm_andnot_si128(is_current, is_epoch);
}

/* How many of the low and of the high eight bytes are 255, the others being 0. Compilers make a
 * call of __builtin_popcount where processors without that instruction must be served. */
struct halves {
    unsigned low, high;
};

static struct halves count_ones(__m128i mask)
{
    __m128i zero = _mm_setzero_si128(), sums = _mm_sad_epu8(_mm_sub_epi8(zero, mask), zero);
    return (struct halves){(unsigned)_mm_cvtsi128_si32(sums),
                           (unsigned)_mm_extract_epi16(sums, 4)};
}

static void visit_dense(const struct visit *v, slot_byte *bytes, uint32_t granules)
{
    __m128i epoch = _mm_set1_epi8((char)v->what.epoch);
    __m128i first = _mm_set1_epi8((char)v->what.least);
    for (uint32_t at = 0; at < granules; at += 16) {
        unsigned odd = (unsigned)_mm_movemask_epi8(odd_ones(load(bytes + at), epoch, first));
        for (; odd != 0; odd &= odd - 1) {
            uint32_t granule = at + (uint32_t)__builtin_ctz(odd);
            uint32_t slot = (uint32_t)(((uint64_t)granule * v->layout.class->magic) >> 31);
            visit_slot(v, slot, relaxed_load(bytes + granule));
        }
    }
}

static void visit_sparse(const struct visit *v, slot_byte *bytes)
{
    size_t stride = v->layout.size / GRANULE;
    uint32_t slots = v->layout.class != NULL ? v->layout.class->slots : 1;
    for (uint32_t slot = 0; slot < slots; slot++)
        visit_slot(v, slot, relaxed_load(bytes + (size_t)slot * stride));
}

static void visit_all(const struct visit *v)
{
    slot_byte *bytes = slot_of(v->layout.start);
    if (is_sparse(v->layout))
        visit_sparse(v, bytes);
    else
        visit_dense(v, bytes, granules_of(v->layout));
}

void judge_visit(struct slab *head, struct unreached what, judge_visit_fn *call, void *data)
{
    visit_all(&(struct visit){head, layout_of(head), what, call, data});
}

struct counting {
    struct judge_counts counts;
    uint8_t epoch;
    unsigned confirm;
};

static void count_slot(const struct block *block, uint8_t byte, void *data)
{
    struct counting *c = data;
    (void)block;
    c->counts.blocks++;
    c->counts.due += slot_age(c->epoch, byte) >= c->confirm;
}

/* Byte i is 255 if it is one of the epochs before the current one that are younger than `confirm`.
 * */
static __m128i young_ones(__m128i bytes, uint8_t epoch, unsigned confirm)
{
    __m128i young = _mm_setzero_si128();
    for (unsigned age = 1; age < confirm; age++) {
        epoch = epoch_before(epoch);
        young = _mm_or_si128(young, _mm_cmpeq_epi8(bytes, _mm_set1_epi8((char)epoch)));
    }
    return young;
}

struct judge_counts judge_count(struct slab *head, struct unreached what, unsigned confirm)
{
    struct counting c = {{0, 0}, what.epoch, confirm};
    struct layout l = layout_of(head);
    if (is_sparse(l)) {
        visit_all(&(struct visit){head, l, what, count_slot, &c});
        return c.counts;
    }
    slot_byte *bytes = slot_of(l.start);
    uint32_t granules = granules_of(l);
    __m128i epoch = _mm_set1_epi8((char)what.epoch), first = _mm_set1_epi8((char)what.least);
    for (uint32_t at = 0; at < granules; at += 16) {
        __m128i group = load(bytes + at);
        __m128i odd = odd_ones(group, epoch, first);
        if (_mm_movemask_epi8(odd) == 0)
            continue;
        __m128i due = _mm_andnot_si128(young_ones(group, what.epoch, confirm), odd);
        struct halves blocks = count_ones(odd), old = count_ones(due);
        c.counts.blocks += blocks.low + blocks.high;
        c.counts.due += old.low + old.high;
    }
    return c.counts;
}

/* Of two, the judge and a free(), one wins (.inv.verdict): true if it was this one. */
static bool reclaim(const struct block *block, uint8_t value)
{
    if (!turn(slot_of(block->start), value, SLOT_FREE))
        return false;
    if (judge.reclaimed != NULL)
        judge.reclaimed(block);
    return true;
}

static void judge_slot(const struct block *block, uint8_t value, void *data)
{
    uint32_t *freed = data;
    slot_byte *byte = slot_of(block->start);
    unsigned age = slot_age(relaxed_load(&judge.epoch), value);
    if (judge.reclaim && age >= judge.confirm && !judge_is_newborn(block->start)) {
        if (judge.reclaiming == NULL || judge.reclaiming(block, age))
            *freed += reclaim(block, value);
        else
            turn(byte, value, SLOT_KEPT);
    } else if (age >= JUDGE_KEEP_AGE) {
        turn(byte, value, SLOT_KEPT);
    }
}

/* Eight bytes, which were `seen`, become `wanted`, in which `count` of them have become 0; returns
 * how many did. At once, if none of the eight has changed meanwhile (on x86 a store of one byte
 * comes whole before or after); else one by one (.inv.verdict). */
static unsigned turn_eight(slot_byte *bytes, uint64_t seen, uint64_t wanted, unsigned count)
{
    uint64_t expected = seen;
    unsigned freed = 0;
    if (seen == wanted)
        return 0;
    if (atomic_compare_exchange_strong((_Atomic uint64_t *)(void *)bytes, &expected, wanted))
        return count;
    for (unsigned i = 0; i < 8; i++)
        if ((uint8_t)(seen >> (8 * i)) != (uint8_t)(wanted >> (8 * i)))
            freed += turn(bytes + i, (uint8_t)(seen >> (8 * i)), SLOT_FREE);
    return freed;
}

/* No block is looked at singly. None is newborn, and all are reclaimed that have the age. */
uint32_t judge_bytes(slot_byte *bytes, uint32_t granules)
{
    struct unreached what = {relaxed_load(&judge.epoch), judge.least};
    uint32_t freed = 0;
    __m128i epoch = _mm_set1_epi8((char)what.epoch), first = _mm_set1_epi8((char)what.least);
    for (uint32_t at = 0; at < granules; at += 16) {
        uint64_t seen[2], wanted[2];
        __m128i group = load(bytes + at), odd = odd_ones(group, epoch, first);
        if (_mm_movemask_epi8(odd) == 0)
            continue;
        __m128i due = _mm_andnot_si128(young_ones(group, what.epoch, judge.confirm), odd);
        struct halves count = count_ones(due);
        _mm_storeu_si128((__m128i *)(void *)seen, group);
        _mm_storeu_si128((__m128i *)(void *)wanted, _mm_andnot_si128(due, group));
        freed += turn_eight(bytes + at, seen[0], wanted[0], count.low);
        freed += turn_eight(bytes + at + 8, seen[1], wanted[1], count.high);
    }
    return freed;
}

bool judge_is_silent(void)
{
    return judge.reclaim && judge.reclaiming == NULL && !judge.any_newborn;
}

static bool needs_bytes_only(struct layout l)
{
    return judge_is_silent() && !is_sparse(l);
}

bool judge_needs_bytes_only(const struct slab *head)
{
    return needs_bytes_only(layout_of(head));
}

uint32_t judge_span(struct slab *head)
{
    uint32_t freed = 0;
    struct unreached what = {relaxed_load(&judge.epoch), judge.least};
    struct layout l = layout_of(head);
    if (needs_bytes_only(l))
        return judge_bytes(slot_of(l.start), granules_of(l));
    visit_all(&(struct visit){head, l, what, judge_slot, &freed});
    return freed;
}
