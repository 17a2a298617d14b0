/* stack_table.c -- every distinct stack once, by a small number; frames that stacks share, once.
 *
 * Stacks of one program begin alike: main and what it calls. So the table is a tree of frames from
 * the outermost inwards, its single edges drawn together (a radix tree, Morrison 1968): a record
 * has the inner frames that no stack before it had, and names the stack, its parent, whose `kept`
 * outermost frames come behind them. Each record is a stack, and each stack has one record.
 *
 *      parent   main  serve  parse  strdup                  kept 0, own 4
 *      child    main  serve  parse  grow  malloc_list       kept 3, own 2
 *      child    main  serve                                 kept 2, own 0
 *
 * Two indexes. By the whole stack: a hash table whose chains only grow at the head; this is what
 * an allocation asks. By (parent, kept, next frame): a binary trie over the hash of the three,
 * whose nodes are the records themselves; this is what a new stack asks, to find the frames that
 * are there. Records are cut from chunks by adding to a cursor, and never move or go away, so a
 * number can be kept in a block's record for the life of the process, and read by the leak report
 * without any agreement.
 *
 * A number is the record's place in units of 8 bytes, counted over all chunks: number / 8192 is
 * the chunk, number % 8192 the place in it. So a lookup is two loads, and no directory of stacks is
 * needed.
 *
 * Stacks are the same if their fingerprints are: 64 bits, made by wyhash's multiplication (Wang Yi
 * 2019). Among a million stacks two different ones have the same with probability 3e-8; the second
 * one's blocks would be counted for the first. Comparing the frames as well would read each of the
 * records that they are spread over. With assertions on they are compared.
 *
 *   .inv.once    One record per stack: a record is linked by a compare-and-swap on its bucket, and
 *                after a failed one the records that came in between are looked at first.
 *   .inv.whole   A record is complete before its number is in a bucket or in the trie (release),
 *                and numbers are only got from there (acquire) or from the thread that made the
 *                record.
 *   .inv.older   A parent is in its bucket before its child is cut, so its number is smaller: who
 *                reads the cursor, and then visits the stacks below it, meets all their parents.
 *   .inv.own     A child's place is among its parent's own frames: parent.kept < kept <=
 *                parent.depth, or both are 0.
 *   .inv.chunk   No record crosses a chunk. A cursor that would is moved on; the rest is lost.
 *
 * Lost: the end of a chunk (at most 616 of 65,536 bytes), a record whose stack another thread
 * linked first, a chunk of two that were made at once; and frames that two threads added at once
 * are there twice. All bounded by events that are rare.
 *
 * Cost: 256 KiB for the buckets at the first stack; 104 bytes and 8 for each frame of its own for
 * each. 10 ns to find a stack of 10 frames, 19 ns for 30, hashing included, 30 ns in a table of
 * 10,000; a new one 0.4-0.8 us (2026-11, one core). Whole stacks with a hash of a multiplication a
 * frame, as it was before: 17, 46 and 62 ns, and 0.25-0.4 us; three times the memory for 10,000
 * stacks that share all but 3 frames. */
#include "watch/stack_table.h"

#include "base/atomic.h"
#include "base/check.h"
#include "base/rng.h"
#include "heap/meta.h"
#include "sys/clock.h"

#include <string.h>

enum {
    UNIT = 8,
    CHUNK_SHIFT = 13,
    CHUNK_UNITS = 1 << CHUNK_SHIFT, /* 64 KiB: 300-600 stacks; little for a program with one leak */
    CHUNKS = 1 << 12,               /* 256 MiB of stacks, about two million: then none */
    BUCKETS = 1 << 16,              /* 256 KiB; chains of 1 in a program with 65,536 stacks */
};

struct record {
    _Atomic uint32_t branch[2]; /* the trie below it */
    uint32_t next;              /* the record behind this one in its bucket, or 0 */
    uint32_t parent;
    uint64_t fingerprint;
    uint32_t tenants;
    uint8_t depth, kept;        /* frames in all, and the outermost ones that are the parent's */
    uint64_t time;
    struct stack_account account;
    uintptr_t pcs[];            /* the other ones, innermost first */
};

/* Frames of a stack up to one of them: `kept` of record `stack`, among its own; 0 of 0: none. */
struct place {
    uint32_t stack;
    unsigned kept;
};

static _Atomic(_Atomic uint32_t *) buckets;
static _Atomic uint32_t trie;
static GC_LARGE _Atomic(char *) chunks[CHUNKS];
static _Atomic uint32_t cursor = 1; /* in units; place 0 stays empty, so that 0 is no number */
static _Atomic uint64_t stacks, bytes, dropped;

static struct record *record_at(uint32_t number)
{
    char *chunk = number >> CHUNK_SHIFT < CHUNKS ? acquire_load(&chunks[number >> CHUNK_SHIFT]) : 0;
    return chunk ? (struct record *)(void *)(chunk + (number % CHUNK_UNITS) * UNIT) : NULL;
}

/* ---- hashes ---- */

/* Larger than any address, so that no factor of fold() is 0 by the frame that is in it. */
static const uint64_t SECRET[4] = {0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3,
                                   0x589965cc75374cc3};

__extension__ typedef unsigned __int128 wide;

GC_INLINE uint64_t fold(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t fingerprint_of(const uintptr_t *pcs, unsigned depth, uint32_t tenants)
{
    uint64_t a = SECRET[2] ^ depth, b = SECRET[3] ^ tenants;
    unsigned i = 0;
    /* Two chains of multiplications, side by side. The factors of one have different secrets: else
     * two frames could change places. */
    for (; i + 4 <= depth; i += 4) {
        a = fold(pcs[i] ^ SECRET[0], pcs[i + 1] ^ a);
        b = fold(pcs[i + 2] ^ SECRET[1], pcs[i + 3] ^ b);
    }
    for (; i < depth; i++)
        a = fold(pcs[i] ^ SECRET[0], a);
    return fold(a ^ SECRET[0], b ^ SECRET[1]);
}

static uint64_t branch_hash(struct place at, uintptr_t pc)
{
    return mix64(((uint64_t)at.stack << 8 | at.kept) * SECRET[3] ^ pc);
}

/* ---- memory ---- */

/* Publishes new memory at *slot, or takes what another thread did. NULL: no memory. */
static void *make_once(_Atomic(char *) *slot, size_t size)
{
    char *there = acquire_load(slot);
    if (GC_LIKELY(there))
        return there;
    char *made = meta_alloc(size);
    if (made && atomic_compare_exchange_strong(slot, &there, made))
        return made;
    return there;
}

static _Atomic uint32_t *bucket_of(uint64_t fingerprint)
{
    _Atomic uint32_t *all = acquire_load(&buckets), *made;
    if (GC_UNLIKELY(!all)) {
        made = meta_alloc(BUCKETS * sizeof *made);
        if (made && atomic_compare_exchange_strong(&buckets, &all, made))
            all = made;
    }
    return all ? &all[fingerprint % BUCKETS] : NULL;
}

/* Room for `units`, as a number; 0 when the table is full or memory short. */
static uint32_t cut(uint32_t units)
{
    uint32_t at = relaxed_load(&cursor), from;
    do {
        from = at % CHUNK_UNITS + units > CHUNK_UNITS ? (uint32_t)align_up(at, CHUNK_UNITS) : at;
        if (from >> CHUNK_SHIFT >= CHUNKS) /* .inv.chunk */
            return 0;
    } while (!atomic_compare_exchange_weak(&cursor, &at, from + units));
    return make_once(&chunks[from >> CHUNK_SHIFT], (size_t)CHUNK_UNITS * UNIT) ? from : 0;
}

static uint32_t units_of(unsigned own)
{
    return (uint32_t)((sizeof(struct record) + own * sizeof(uintptr_t)) / UNIT);
}

/* ---- frames ---- */

static unsigned own_of(const struct record *r)
{
    return r->depth - (unsigned)r->kept;
}

/* Record by record, from the inner end: of each the own frames that are below its child's place. */
static unsigned frames_of(const struct record *r, uintptr_t *pcs)
{
    unsigned n = 0;
    for (unsigned top = r->depth;; r = record_at(r->parent)) {
        memcpy(pcs + n, r->pcs + (r->depth - top), (top - r->kept) * sizeof *pcs);
        n += top - r->kept;
        top = r->kept;
        if (top == 0)
            return n;
    }
}

/* How many frames from `at` on the record has in common with those that end with pcs[left - 1]. */
static unsigned common(const struct record *r, const uintptr_t *pcs, unsigned left)
{
    unsigned own = own_of(r), n = 0;
    while (n < own && n < left && r->pcs[own - 1 - n] == pcs[left - 1 - n])
        n++;
    return n;
}

static bool is_branch(const struct record *r, struct place at, uintptr_t pc)
{
    return r->parent == at.stack && r->kept == at.kept && r->depth != r->kept &&
           r->pcs[own_of(r) - 1] == pc;
}

/* Of the trie, for the hash: the record that goes on from `at` with `pc`, or 0 and the place where
 * it would have to be. */
static uint32_t branch_find(struct place at, uintptr_t pc, _Atomic uint32_t **slot)
{
    uint32_t number;
    *slot = &trie;
    for (uint64_t hash = branch_hash(at, pc); (number = acquire_load(*slot)) != 0; hash <<= 1) {
        struct record *r = record_at(number);
        if (is_branch(r, at, pc))
            return number;
        *slot = &r->branch[hash >> 63];
    }
    return 0;
}

/* Its frames can be shared from now on; not if another thread has just added the same. */
static void branch_add(uint32_t number, const struct record *r)
{
    struct place at = {r->parent, r->kept};
    _Atomic uint32_t *slot;
    uint32_t none;
    do {
        if (own_of(r) == 0 || branch_find(at, r->pcs[own_of(r) - 1], &slot) != 0)
            return;
        none = 0;
    } while (!atomic_compare_exchange_strong_explicit(slot, &none, number, memory_order_release,
                                                      memory_order_relaxed));
}

/* The longest part of a stack, from the outer end, that is there; `left`: how many frames are not.
 */
static struct place place_of(const uintptr_t *pcs, unsigned depth, unsigned *left)
{
    struct place at = {0, 0};
    _Atomic uint32_t *slot;
    uint32_t number;
    *left = depth;
    while (*left != 0 && (number = branch_find(at, pcs[*left - 1], &slot)) != 0) {
        unsigned n = common(record_at(number), pcs, *left);
        at = (struct place){number, at.kept + n};
        *left -= n;
    }
    return at;
}

/* ---- stacks ---- */

/* What tells it from others. */
struct key {
    const uintptr_t *pcs;
    unsigned depth;
    uint32_t tenants;
    uint64_t fingerprint;
};

static bool has_frames(const struct record *r, const struct key *key)
{
    uintptr_t pcs[STACK_DEPTH_MAX];
    return r->depth == key->depth && r->tenants == key->tenants &&
           frames_of(r, pcs) == key->depth && !memcmp(pcs, key->pcs, key->depth * sizeof *pcs);
}

static uint32_t record_new(const struct key *key)
{
    unsigned own;
    struct place at = place_of(key->pcs, key->depth, &own);
    uint32_t units = units_of(own), number = cut(units);
    if (number == 0)
        return 0;
    struct record *r = record_at(number);
    GC_ASSERT(r && r->depth == 0 && number % CHUNK_UNITS + units <= CHUNK_UNITS);
    GC_ASSERT(at.stack < number && at.kept + own == key->depth); /* .inv.older, .inv.own */
    r->fingerprint = key->fingerprint;
    r->parent = at.stack;
    r->depth = (uint8_t)key->depth;
    r->kept = (uint8_t)at.kept;
    r->tenants = key->tenants;
    r->time = clock_uptime_ns();
    memcpy(r->pcs, key->pcs, own * sizeof *key->pcs);
    relaxed_add(&bytes, (uint64_t)units * UNIT);
    return number;
}

/* Looks through a chain from `number` up to, not including, `end`. */
static uint32_t find(uint32_t number, uint32_t end, const struct key *key)
{
    while (number != end) {
        const struct record *r = record_at(number);
        if (r->fingerprint == key->fingerprint) {
            GC_ASSERT(has_frames(r, key));
            return number;
        }
        number = r->next;
    }
    return 0;
}

static uint32_t drop(void)
{
    relaxed_add(&dropped, 1);
    return 0;
}

/* Links it, unless its stack is there meanwhile: .inv.once. */
static uint32_t publish(_Atomic uint32_t *bucket, uint32_t head, uint32_t made,
                        const struct key *key)
{
    struct record *r = record_at(made);
    for (uint32_t seen = head, twin;; seen = head) {
        r->next = head;
        if (atomic_compare_exchange_strong_explicit(bucket, &head, made, memory_order_release,
                                                    memory_order_acquire))
            break;
        if ((twin = find(head, seen, key)) != 0)
            return twin;
    }
    relaxed_add(&stacks, 1);
    branch_add(made, r);
    return made;
}

uint32_t stack_table_intern(const uintptr_t *pcs, unsigned depth, uint32_t tenants)
{
    depth = depth < STACK_DEPTH_MAX ? depth : STACK_DEPTH_MAX;
    if (depth == 0)
        return 0;
    struct key key = {pcs, depth, tenants, fingerprint_of(pcs, depth, tenants)};
    _Atomic uint32_t *bucket = bucket_of(key.fingerprint);
    if (!bucket)
        return drop();
    uint32_t head = acquire_load(bucket), made;
    if ((made = find(head, 0, &key)) != 0)
        return made;
    made = record_new(&key);
    return made != 0 ? publish(bucket, head, made, &key) : drop();
}

static struct record *given_out(uint32_t stack)
{
    return stack != 0 && stack < relaxed_load(&cursor) ? record_at(stack) : NULL;
}

unsigned stack_table_get(uint32_t stack, uintptr_t pcs[STACK_DEPTH_MAX])
{
    const struct record *r = given_out(stack);
    return r ? frames_of(r, pcs) : 0;
}

unsigned stack_table_own(uint32_t stack, struct stack_own *own)
{
    const struct record *r = given_out(stack);
    if (!r)
        return 0;
    *own = (struct stack_own){r->pcs, own_of(r), r->parent, r->kept};
    return r->depth;
}

/* Whatever lies at that place: a record is one if its own bucket knows it. */
bool stack_table_has(uint32_t stack)
{
    const struct record *r = given_out(stack);
    if (!r || stack % CHUNK_UNITS + units_of(0) > CHUNK_UNITS)
        return false;
    uint32_t at = acquire_load(bucket_of(r->fingerprint));
    while (at != 0 && at != stack)
        at = record_at(at)->next;
    return at == stack;
}

struct stack_account *stack_table_account(uint32_t stack)
{
    return &record_at(stack)->account;
}

uint64_t stack_table_time(uint32_t stack)
{
    return record_at(stack)->time;
}

void stack_table_each(void (*visit)(uint32_t stack, void *data), void *data)
{
    _Atomic uint32_t *all = acquire_load(&buckets);
    uint32_t end = atomic_load(&cursor); /* .inv.older */
    for (unsigned b = 0; all && b < BUCKETS; b++)
        for (uint32_t at = acquire_load(&all[b]); at != 0; at = record_at(at)->next)
            if (at < end)
                visit(at, data);
}

struct stack_table_stats stack_table_stats(void)
{
    return (struct stack_table_stats){relaxed_load(&stacks), relaxed_load(&bytes),
                                      relaxed_load(&dropped)};
}
