/* movers_slot.c -- blocks, the slots that hold them, and the move from one to another. */
#include "movers.h"

#include <stdlib.h>
#include <string.h>

enum {
    SIZE_BITS = 22,
    LEAST_BITS = 4,      /* blocks have 16 bytes ... */
    MOST_BITS = 20,      /* ... to just below 2 MiB, each power of two as often as any other */
    SMALL_BITS = 9,      /* once the thread holds more than its budget */
    STAMPED = 64,        /* the first bytes are stamped throughout ... */
    STAMP_STRIDE = PAGE, /* ... and of the rest a word a page, and the last */
    WHOLE_IN = 64,
    TRIES = 16,
};

/* Bytes of blocks that a thread holds, before it makes small ones only. */
static const size_t live_budget = 24 << 20;

bool child_of_fork;

/* ---- one block ------------------------------------------------------------------------------- */

/* Never a plausible address: bit 63 is set, bit 62 is not. */
static uint64_t opaque(uint64_t x)
{
    return (x | (uint64_t)1 << 63) & ~((uint64_t)1 << 62);
}

static uint64_t stamp_word(uint64_t tag, size_t offset)
{
    uint64_t x = (tag + offset) * 0x9e3779b97f4a7c15u;
    return opaque(x ^ x >> 29);
}

size_t tag_size(uint64_t tag)
{
    return tag & (((size_t)1 << SIZE_BITS) - 1);
}

static uint64_t tag_make(struct thread *th, size_t size)
{
    uint64_t serial = (uint64_t)(th->life & 0xfff) << 28 | (++th->serial & 0xfffffff);
    return (uint64_t)1 << 63 | serial << SIZE_BITS | size;
}

static _Noreturn void stamp_wrong(const void *p, uint64_t tag, size_t offset)
{
    uint64_t have;
    memcpy(&have, (const char *)p + offset, 8);
    fail(".inv.stamp: word at %zu of block %p (%zu bytes, tag %#jx) is %#jx", offset, p,
         tag_size(tag), (uintmax_t)tag, (uintmax_t)have);
}

static bool stamp_holds(const void *p, uint64_t tag, size_t offset)
{
    uint64_t have;
    memcpy(&have, (const char *)p + offset, 8);
    return have == (offset ? stamp_word(tag, offset) : tag);
}

/* The next stamped word after the one at `offset`; 0 after the last. */
static size_t stamp_next(size_t offset, size_t size)
{
    size_t last = (size & ~(size_t)7) - 8;
    if (offset == last)
        return 0;
    size_t next = offset + 8 < STAMPED ? offset + 8 : (offset / STAMP_STRIDE + 1) * STAMP_STRIDE;
    return next < last ? next : last;
}

static void stamp_put(void *p, uint64_t tag)
{
    size_t size = tag_size(tag);
    memcpy(p, &tag, 8);
    for (size_t at = 8; at; at = stamp_next(at, size)) {
        uint64_t x = stamp_word(tag, at);
        memcpy((char *)p + at, &x, 8);
    }
}

void block_check(const void *p, uint64_t tag, bool whole)
{
    if (!stamp_holds(p, tag, 0))
        stamp_wrong(p, tag, 0);
    if (!stamp_holds(p, tag, 8))
        stamp_wrong(p, tag, 8);
    for (size_t at = 8; whole && at; at = stamp_next(at, tag_size(tag)))
        if (!stamp_holds(p, tag, at))
            stamp_wrong(p, tag, at);
}

void stamp_check(const uint64_t *p)
{
    if (p[1] != stamp_word(p[0], 8))
        fail(".inv.stamp: %p is no block of ours: it begins with %#jx, %#jx", (const void *)p,
             (uintmax_t)p[0], (uintmax_t)p[1]);
}

size_t random_size(struct thread *th)
{
    size_t most = th->live_bytes > live_budget ? SMALL_BITS : MOST_BITS;
    size_t bits = rng_between(&th->rng, LEAST_BITS, most);
    return ((size_t)1 << bits) + rng_below(&th->rng, (size_t)1 << bits);
}

static void enter(struct thread *th, void *p, size_t size)
{
    if (!p)
        fail("no memory for %zu bytes", size);
    if (!shadow_claim(p, size) && !child_of_fork)
        fail(".inv.apart: new block %p of %zu bytes overlaps one in use", p, size);
    th->live_bytes += size;
}

void *block_new(struct thread *th, size_t size, uint64_t *tag)
{
    /* Three of four are zeroed: old words in memory that is used again, and not written, keep
     * garbage, which keeps garbage: with one in eight what was marked grew to ten times what lived.
     * */
    void *p = rng_chance(&th->rng, 4) ? malloc(size) : calloc(1, size);
    enter(th, p, size);
    *tag = tag_make(th, size);
    stamp_put(p, *tag);
    th->counts.births++;
    return p;
}

static void leave(struct thread *th, void *p, size_t size)
{
    if (!shadow_release(p, size) && !child_of_fork)
        fail("the shadow map has lost block %p of %zu bytes", p, size);
    th->live_bytes -= size;
}

void block_leave(struct thread *th, void *p, uint64_t tag, bool by_hand)
{
    size_t size = tag_size(tag);
    leave(th, p, size);
    if (by_hand) {
        th->counts.freed++;
        free(p);
    } else {
        th->counts.leaked++;
        th->counts.leaked_bytes += size;
    }
}

/* ---- one slot -------------------------------------------------------------------------------- */

static const struct ref nothing = {.value = ~(uint64_t)0, .level = LEAF, .holder = -1};

extern pthread_key_t mover_keys[PER_PLACE];

bool slot_is_empty(const struct slot *s)
{
    return !~s->ref.value;
}

void slot_place(struct slot *s, word *at, uint8_t depth)
{
    *s = (struct slot){.at = ~(uintptr_t)at, .ref = nothing, .depth = depth};
}

void *slot_get(const struct slot *s)
{
    return s->at ? *(word *)~s->at : pthread_getspecific(mover_keys[s->key]);
}

void slot_set(const struct slot *s, void *p)
{
    if (s->at)
        *(word *)~s->at = p;
    else
        pthread_setspecific(mover_keys[s->key], p);
}

void ref_check(const struct ref *r, const void *p, bool whole)
{
    if (~(uint64_t)(uintptr_t)p != r->value)
        fail(".inv.book: a slot holds %p instead of %p", p, (void *)(uintptr_t)~r->value);
    if (p)
        block_check((const char *)p - r->offset, r->tag, whole && r->level == LEAF);
}

/* The compiler knows after the check that the pointer is the complement of a word in the books: it
 * must not keep it in that form alone. */
void *slot_load(const struct slot *s)
{
    void *p = slot_get(s);
    ref_check(&s->ref, p, false);
    __asm__ volatile("" : "+r"(p));
    return p;
}

struct slot *slot_random(struct thread *th)
{
    return &th->slots[rng_below(&th->rng, th->slot_count)];
}

bool slot_fits(const struct ref *r, const struct slot *s)
{
    return r->level > s->depth;
}

struct slot *slot_free_for(struct thread *th, const struct ref *r)
{
    for (int i = 0; i < TRIES; i++) {
        struct slot *s = slot_random(th);
        if (!s->busy && slot_is_empty(s) && slot_fits(r, s))
            return s;
    }
    return NULL;
}

/* Somewhere else in the block, or one past its end: often the start, which is what programs do. */
static void *offset_change(struct thread *th, struct ref *r, void *p)
{
    size_t size = tag_size(r->tag), dice = rng_below(&th->rng, 8);
    char *base = (char *)p - r->offset;
    r->offset = dice < 4 ? 0 : dice < 7 ? (uint32_t)rng_below(&th->rng, size) : (uint32_t)size;
    r->value = ~(uint64_t)(uintptr_t)(base + r->offset);
    p = base + r->offset;
    __asm__ volatile("" : "+r"(p));
    return p;
}

/* Four orders of the same loads and stores: what a marker beside us may see differs. */
void slot_swap(struct thread *th, struct slot *a, struct slot *b)
{
    if (a == b || a->busy || b->busy || !slot_fits(&a->ref, b) || !slot_fits(&b->ref, a))
        return;
    struct ref of_a = a->ref, of_b = b->ref;
    unsigned dice = (unsigned)rng_next(&th->rng);
    void *p = slot_load(a);
    if (dice % 4 == 0)
        slot_set(a, NULL);
    void *q = slot_load(b);
    if (dice % 4 == 1)
        slot_set(b, NULL);
    if (p && dice >> 4 & 1)
        p = offset_change(th, &of_a, p);
    if (p && (dice >> 8) % WHOLE_IN == 0)
        ref_check(&of_a, p, true);
    if (dice % 4 == 2) {
        slot_set(a, q);
        slot_set(b, p);
    } else {
        slot_set(b, p);
        slot_set(a, q);
    }
    a->ref = of_b;
    b->ref = of_a;
    th->counts.moves += (p != NULL) + (q != NULL);
}

/* ---- holders --------------------------------------------------------------------------------- */

static void holder_at(struct thread *th, struct holder *h, char *base)
{
    for (unsigned k = 0; k < HOLDER_SLOTS; k++)
        th->slots[h->first + k].at = ~(uintptr_t)(base + h->words_at[k]);
}

/* Words anywhere in the block: `step` words apart, beginning somewhere behind the stamp. */
static void holder_lay_out(struct thread *th, struct holder *h, size_t size)
{
    size_t words = size / 8 - 2, step = words / HOLDER_SLOTS;
    for (unsigned k = 0; k < HOLDER_SLOTS; k++)
        h->words_at[k] = 16 + 8 * (uint32_t)(k * step + rng_below(&th->rng, step));
}

static void put(struct slot *s, void *p, const struct ref *r)
{
    slot_set(s, p);
    s->ref = *r;
}

/* A holder's stamp is its first two words. */
static void holder_stamp(void *p, uint64_t tag)
{
    uint64_t stamp[2] = {tag, stamp_word(tag, 8)};
    memcpy(p, stamp, sizeof stamp);
}

static void holder_make(struct thread *th, struct slot *s, int number)
{
    struct holder *h = &th->holders[number];
    size_t least = 16 + 8 * HOLDER_SLOTS, size = random_size(th) + least;
    if (size >> (MOST_BITS + 1))
        size = least + size / 2;
    char *p = malloc(size);
    enter(th, p, size);
    uint64_t tag = tag_make(th, size);
    holder_stamp(p, tag);
    holder_lay_out(th, h, size);
    for (unsigned k = 0; k < HOLDER_SLOTS; k++) {
        slot_place(&th->slots[h->first + k], (word *)(void *)(p + h->words_at[k]), h->level);
        slot_set(&th->slots[h->first + k], NULL);
    }
    h->exists = true;
    put(s, p, &(struct ref){~(uint64_t)(uintptr_t)p, tag, 0, h->level, (int16_t)number});
    th->counts.births++;
}

void holders_make(struct thread *th)
{
    for (unsigned i = 0; i < th->holder_count; i++) {
        struct slot *s = &th->slots[rng_below(&th->rng, th->slot_count)];
        if (!th->holders[i].exists && !s->busy && slot_is_empty(s) &&
            th->holders[i].level > s->depth)
            holder_make(th, s, (int)i);
    }
}

/* ---- birth, growth and death ----------------------------------------------------------------- */

static void leaf_make(struct thread *th, struct slot *s)
{
    struct ref r = nothing;
    char *p = block_new(th, random_size(th), &r.tag);
    r.value = ~(uint64_t)(uintptr_t)p;
    __asm__ volatile("" : "+r"(p));
    put(s, p, &r);
    th->live_leaves++;
}

/* The whole tree below leaves the shadow before the pointer goes; freed from the leaves up. */
static void ref_leave(struct thread *th, const struct ref *r, bool by_hand)
{
    if (r->holder >= 0) {
        struct holder *h = &th->holders[r->holder];
        for (unsigned k = 0; k < HOLDER_SLOTS; k++) {
            struct slot *s = &th->slots[h->first + k];
            ref_check(&s->ref, slot_get(s), true);
            if (!slot_is_empty(s))
                ref_leave(th, &s->ref, by_hand && !rng_chance(&th->rng, 4));
            s->ref = nothing;
            s->busy = true;
        }
        h->exists = false;
    } else {
        th->live_leaves--;
    }
    block_leave(th, (char *)(uintptr_t)~r->value - r->offset, r->tag, by_hand);
}

/* May a holder be dropped or moved now? Not while somebody up the stack has one of its slots. */
static bool ref_is_idle(const struct thread *th, const struct ref *r)
{
    if (r->holder < 0)
        return true;
    const struct holder *h = &th->holders[r->holder];
    for (unsigned k = 0; k < HOLDER_SLOTS; k++) {
        const struct slot *s = &th->slots[h->first + k];
        if (s->busy || (!slot_is_empty(s) && !ref_is_idle(th, &s->ref)))
            return false;
    }
    return true;
}

void slot_drop(struct thread *th, struct slot *s, bool by_hand)
{
    if (slot_is_empty(s) || s->busy || !ref_is_idle(th, &s->ref))
        return;
    ref_check(&s->ref, slot_get(s), true);
    ref_leave(th, &s->ref, by_hand);
    slot_set(s, NULL);
    s->ref = nothing;
}

/* What realloc must have kept of a block: the stamps in the first `kept` bytes. */
static void kept_check(const void *p, uint64_t tag, size_t kept)
{
    for (size_t at = 0; at + 8 <= kept;) {
        if (!stamp_holds(p, tag, at))
            stamp_wrong(p, tag, at);
        at = at ? stamp_next(at, tag_size(tag)) : 8;
        if (!at)
            return;
    }
}

static void leaf_resize(struct thread *th, struct slot *s)
{
    struct ref r = s->ref;
    size_t old = tag_size(r.tag), size = random_size(th);
    char *p = (char *)slot_load(s) - r.offset;
    block_check(p, r.tag, true);
    leave(th, p, old);
    p = realloc(p, size);
    enter(th, p, size);
    kept_check(p, r.tag, old < size ? old : size);
    r.tag = tag_make(th, size);
    r.offset = 0;
    r.value = ~(uint64_t)(uintptr_t)p;
    stamp_put(p, r.tag);
    __asm__ volatile("" : "+r"(p));
    put(s, p, &r);
}

/* The words move with the block: large ones by mremap, with pages that were armed or scanned. */
static void holder_resize(struct thread *th, struct slot *s)
{
    struct ref r = s->ref;
    struct holder *h = &th->holders[r.holder];
    size_t old = tag_size(r.tag), least = h->words_at[HOLDER_SLOTS - 1] + 8;
    size_t size = least + random_size(th);
    if (size >> SIZE_BITS || !ref_is_idle(th, &r))
        return;
    char *p = (char *)slot_load(s) - r.offset;
    leave(th, p, old);
    p = realloc(p, size);
    enter(th, p, size);
    r.tag = tag_make(th, size);
    r.offset = 0;
    r.value = ~(uint64_t)(uintptr_t)p;
    holder_stamp(p, r.tag);
    __asm__ volatile("" : "+r"(p));
    put(s, p, &r);
    holder_at(th, h, p);
}

void slot_live(struct thread *th, struct slot *s)
{
    const struct settings *o = th->settings;
    size_t dice = rng_below(&th->rng, 16);
    if (s->busy)
        return;
    if (slot_is_empty(s)) {
        if (th->live_leaves < o->live * 3 / 2)
            leaf_make(th, s);
    } else if (dice < 4) {
        s->ref.holder < 0 ? leaf_resize(th, s) : holder_resize(th, s);
    } else if (s->ref.holder < 0 || dice == 15) {
        /* In leaks no more than --leak says; in a holder's case with all that hangs on it. */
        bool may_leak = th->counts.leaked_bytes < th->counts.births * o->leak;
        slot_drop(th, s, !may_leak || rng_chance(&th->rng, 3));
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

void slots_check(struct thread *th)
{
    for (unsigned i = 0; i < th->slot_count; i++)
        if (!th->slots[i].busy)
            ref_check(&th->slots[i].ref, slot_get(&th->slots[i]), true);
}

void slots_drop(struct thread *th)
{
    for (unsigned i = 0; i < th->slot_count; i++)
        if (th->slots[i].depth == 0)
            slot_drop(th, &th->slots[i], !rng_chance(&th->rng, 4));
}
