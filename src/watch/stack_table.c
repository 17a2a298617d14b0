/* stack_table.c -- every distinct stack once, by a small number.
 *
 * A hash table whose chains only grow at the head. Records are cut from chunks by adding to a
 * cursor, and never move or go away, so a number can be kept in a block's record for the life of
 * the process, and read by the leak report without any agreement.
 *
 * A number is the record's place in units of 16 bytes, counted over all chunks: number / 4096 is
 * the chunk, number % 4096 the place in it. So a lookup is two loads, and no directory of stacks is
 * needed.
 *
 *   .inv.once    One record per stack: a record is linked by a compare-and-swap on its bucket, and
 *                after a failed one the records that came in between are looked at first.
 *   .inv.whole   A record is complete before its number is in a bucket (release), and numbers are
 *                only got from buckets (acquire) or from the thread that made the record.
 *   .inv.chunk   No record crosses a chunk. A cursor that would is moved on; the rest is lost.
 *
 * Lost: the end of a chunk (at most 584 of 65,536 bytes), a record whose stack another thread
 * linked first, a chunk of two that were made at once. All bounded by events that are rare.
 *
 * Cost: 256 KiB for the buckets at the first stack; 72 bytes and 8 a frame for each; 12-14 ns to
 * find a stack of 10 frames, 30-35 ns for 30, hashing included (2026-11, one core, all in
 * cache). */
#include "watch/stack_table.h"

#include "base/atomic.h"
#include "base/check.h"
#include "base/rng.h"
#include "heap/meta.h"
#include "sys/clock.h"

#include <string.h>

enum {
    UNIT = 16,
    CHUNK_SHIFT = 12,
    CHUNK_UNITS = 1 << CHUNK_SHIFT, /* 64 KiB: 200-700 stacks; little for a program with one leak */
    CHUNKS = 1 << 12,               /* 256 MiB of stacks, about a million of 32 frames: then none */
    BUCKETS = 1 << 16,              /* 256 KiB; chains of 1 in a program with 65,536 stacks */
};

struct record {
    uint32_t next; /* the record behind this one in its bucket, or 0 */
    uint32_t hash;
    uint32_t depth;
    uint32_t tenants;
    uint64_t time;
    struct stack_account account;
    uintptr_t pcs[];
};

static _Atomic(_Atomic uint32_t *) buckets;
static GC_LARGE _Atomic(char *) chunks[CHUNKS];
static _Atomic uint32_t cursor = 1; /* in units; place 0 stays empty, so that 0 is no number */
static _Atomic uint64_t stacks, bytes, dropped;

static struct record *record_at(uint32_t number)
{
    char *chunk = number >> CHUNK_SHIFT < CHUNKS ? acquire_load(&chunks[number >> CHUNK_SHIFT]) : 0;
    return chunk ? (struct record *)(void *)(chunk + (number % CHUNK_UNITS) * UNIT) : NULL;
}

static uint32_t hash_of(const uintptr_t *pcs, unsigned depth, uint32_t tenants)
{
    uint64_t h = (uint64_t)tenants << 32 | depth;
    for (unsigned i = 0; i < depth; i++)
        h = (h ^ pcs[i]) * 0x9e3779b97f4a7c15u + (h >> 32);
    return (uint32_t)(mix64(h) >> 32);
}

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

static _Atomic uint32_t *bucket_of(uint32_t hash)
{
    _Atomic uint32_t *all = acquire_load(&buckets), *made;
    if (GC_UNLIKELY(!all)) {
        made = meta_alloc(BUCKETS * sizeof *made);
        if (made && atomic_compare_exchange_strong(&buckets, &all, made))
            all = made;
    }
    return all ? &all[hash % BUCKETS] : NULL;
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

static uint32_t units_of(unsigned depth)
{
    return (uint32_t)(align_up(sizeof(struct record) + depth * sizeof(uintptr_t), UNIT) / UNIT);
}

/* What tells it from others. */
struct key {
    const uintptr_t *pcs;
    unsigned depth;
    uint32_t tenants, hash;
};

static uint32_t record_new(const struct key *key)
{
    uint32_t units = units_of(key->depth), number = cut(units);
    if (number == 0)
        return 0;
    struct record *r = record_at(number);
    GC_ASSERT(r && r->depth == 0 && number % CHUNK_UNITS + units <= CHUNK_UNITS);
    r->hash = key->hash;
    r->depth = key->depth;
    r->tenants = key->tenants;
    r->time = clock_uptime_ns();
    memcpy(r->pcs, key->pcs, key->depth * sizeof *key->pcs);
    relaxed_add(&bytes, (uint64_t)units * UNIT);
    return number;
}

/* Looks through a chain from `number` up to, not including, `end`. */
static uint32_t find(uint32_t number, uint32_t end, const struct key *key)
{
    while (number != end) {
        const struct record *r = record_at(number);
        if (r->hash == key->hash && r->depth == key->depth && r->tenants == key->tenants &&
            !memcmp(r->pcs, key->pcs, key->depth * sizeof *key->pcs))
            return number;
        number = r->next;
    }
    return 0;
}

static uint32_t drop(void)
{
    relaxed_add(&dropped, 1);
    return 0;
}

uint32_t stack_table_intern(const uintptr_t *pcs, unsigned depth, uint32_t tenants)
{
    depth = depth < STACK_DEPTH_MAX ? depth : STACK_DEPTH_MAX;
    if (depth == 0)
        return 0;
    struct key key = {pcs, depth, tenants, hash_of(pcs, depth, tenants)};
    _Atomic uint32_t *bucket = bucket_of(key.hash);
    if (!bucket)
        return drop();
    uint32_t head = acquire_load(bucket), seen, made, twin;
    if ((twin = find(head, 0, &key)) != 0)
        return twin;
    if ((made = record_new(&key)) == 0)
        return drop();
    struct record *r = record_at(made);
    for (seen = head;; seen = head) {
        r->next = head;
        if (atomic_compare_exchange_strong_explicit(bucket, &head, made, memory_order_release,
                                                    memory_order_acquire))
            break;
        if ((twin = find(head, seen, &key)) != 0) /* .inv.once */
            return twin;
    }
    relaxed_add(&stacks, 1);
    return made;
}

unsigned stack_table_get(uint32_t stack, const uintptr_t **pcs)
{
    const struct record *r = stack < relaxed_load(&cursor) ? record_at(stack) : NULL;
    if (stack == 0 || !r || r->depth > STACK_DEPTH_MAX)
        return 0;
    *pcs = r->pcs;
    return r->depth;
}

bool stack_table_has(uint32_t stack)
{
    if (stack == 0 || stack >= relaxed_load(&cursor))
        return false;
    const struct record *r = record_at(stack);
    return r && r->depth != 0 && r->depth <= STACK_DEPTH_MAX &&
           stack % CHUNK_UNITS + units_of(r->depth) <= CHUNK_UNITS &&
           r->hash == hash_of(r->pcs, r->depth, r->tenants);
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
    for (unsigned b = 0; all && b < BUCKETS; b++)
        for (uint32_t at = acquire_load(&all[b]); at != 0; at = record_at(at)->next)
            visit(at, data);
}

struct stack_table_stats stack_table_stats(void)
{
    return (struct stack_table_stats){relaxed_load(&stacks), relaxed_load(&bytes),
                                      relaxed_load(&dropped)};
}
