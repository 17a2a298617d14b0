/* pins.c -- a table of pinned blocks, by their addresses.
 *
 * Open addressing, linear probing; at most three quarters full. Every mark takes each block in it
 * as reached, at the beginning and again while the world is stopped: O(pins) in the pause, some
 * 10 ns each.
 *
 *   .inv.exact    free() of a pinned block ends its pins. The slab in which it begins is watched
 *                 (slab_watch), so free() of any block there takes the slow path, and asks here if
 *                 the slab still is. The fast path knows nothing of it.
 *   .inv.there    A block that is in the table and stays is found by a walk over it at any
 *                 instruction: the world may be stopped within any of these functions, and the
 *                 walk takes no lock. An entry is complete before its address is stored. When one
 *                 is removed others move up: first to the new place, then away from the old one. A
 *                 larger table is filled before it becomes the table; the old one stays as it is,
 *                 which costs as much again in all.
 *
 * A program that frees a block while another of its threads pins it may leave a pin on whatever
 * comes to lie there: it had no right to that block any more.
 *
 * The table is metadata, which is no root. So it must be walked. */
#include "mutator/pins.h"

#include "base/atomic.h"
#include "base/check.h"
#include "base/rng.h"
#include "heap/slab.h"
#include "sys/lock.h"

enum { ENTRIES_FIRST = 64 };

struct entry {
    _Atomic uintptr_t block; /* 0: empty */
    uint32_t pinned, ignored;
};

struct table {
    size_t size, used;       /* a power of two */
    struct entry entries[];
};

/* WATCHES lock, but for the walk (.inv.there). */
static struct {
    struct lock lock;
    struct table *_Atomic table;
    struct pins_counts counts;
} pins = {.lock = LOCK_INIT(WATCHES)};

struct lock *pins_lock(void)
{
    return &pins.lock;
}

static size_t home_of(const struct table *t, uintptr_t block)
{
    return mix64(block >> GRANULE_SHIFT) & (t->size - 1);
}

/* Its entry, or the empty one where it belongs. */
static struct entry *place_of(struct table *t, uintptr_t block)
{
    size_t at = home_of(t, block);
    for (;; at = (at + 1) & (t->size - 1)) {
        uintptr_t there = relaxed_load(&t->entries[at].block);
        if (there == block || there == 0)
            return &t->entries[at];
    }
}

static struct entry *find(uintptr_t block)
{
    struct table *t = relaxed_load(&pins.table);
    struct entry *e = t == NULL ? NULL : place_of(t, block);
    return e == NULL || relaxed_load(&e->block) == 0 ? NULL : e;
}

static void put(struct table *t, const struct entry *from, uintptr_t block)
{
    struct entry *e = place_of(t, block);
    e->pinned = from->pinned;
    e->ignored = from->ignored;
    release_store(&e->block, block);
    t->used++;
}

/* The table, with room for one more. NULL: no memory. */
static struct table *with_room(void)
{
    struct table *t = relaxed_load(&pins.table);
    if (t != NULL && (t->used + 1) * 4 <= t->size * 3)
        return t;
    size_t size = t == NULL ? ENTRIES_FIRST : 2 * t->size;
    struct table *larger = meta_alloc(sizeof *larger + size * sizeof larger->entries[0]);
    if (larger == NULL)
        return NULL;
    larger->size = size;
    for (size_t i = 0; t != NULL && i < t->size; i++)
        if (relaxed_load(&t->entries[i].block) != 0)
            put(larger, &t->entries[i], relaxed_load(&t->entries[i].block));
    release_store(&pins.table, larger);
    return larger;
}

static struct entry *find_or_make(uintptr_t block)
{
    struct entry *e = find(block);
    struct table *t = e == NULL ? with_room() : NULL;
    if (t == NULL)
        return e;
    put(t, &(struct entry){0}, block);
    if (arena_contains(block))
        slab_watch(block);
    return place_of(t, block);
}

/* May the entry at `from` lie at the empty place `to`, by linear probing? */
static bool may_move(const struct table *t, size_t from, size_t to)
{
    size_t home = home_of(t, relaxed_load(&t->entries[from].block)), mask = t->size - 1;
    return ((from - home) & mask) >= ((from - to) & mask);
}

/* .inv.there */
static void drop(struct entry *e)
{
    struct table *t = relaxed_load(&pins.table);
    size_t mask = t->size - 1, empty = (size_t)(e - t->entries);
    uintptr_t block = relaxed_load(&e->block);
    for (size_t at = (empty + 1) & mask; relaxed_load(&t->entries[at].block) != 0;
         at = (at + 1) & mask) {
        struct entry *from = &t->entries[at], *to = &t->entries[empty];
        if (!may_move(t, at, empty))
            continue;
        to->pinned = from->pinned;
        to->ignored = from->ignored;
        release_store(&to->block, relaxed_load(&from->block));
        empty = at;
    }
    release_store(&t->entries[empty].block, 0);
    t->used--;
    if (arena_contains(block))
        slab_unwatch(block);
}

enum pins_result pins_add(uintptr_t block, enum pins_why why)
{
    enum pins_result result = PINS_FULL;
    lock_acquire(&pins.lock);
    struct entry *e = find_or_make(block);
    if (e != NULL && why == PINS_IGNORED) {
        pins.counts.ignored += !e->ignored;
        e->ignored = 1;
        result = PINS_DONE;
    } else if (e != NULL && e->pinned != UINT32_MAX) {
        pins.counts.pinned += e->pinned++ == 0;
        result = PINS_DONE;
    }
    lock_release(&pins.lock);
    return result;
}

enum pins_result pins_remove(uintptr_t block)
{
    lock_acquire(&pins.lock);
    struct entry *e = find(block);
    bool known = e != NULL && e->pinned != 0;
    if (known && --e->pinned == 0) {
        pins.counts.pinned--;
        if (!e->ignored)
            drop(e);
    }
    lock_release(&pins.lock);
    return known ? PINS_DONE : PINS_UNKNOWN;
}

void pins_end(uintptr_t block)
{
    if (relaxed_load(&pins.table) == NULL) /* watched for something else */
        return;
    lock_acquire(&pins.lock);
    struct entry *e = find(block);
    if (e != NULL) {
        pins.counts.pinned -= e->pinned != 0;
        pins.counts.ignored -= e->ignored;
        drop(e);
    }
    lock_release(&pins.lock);
}

void pins_each(void (*visit)(uintptr_t block, void *data), void *data)
{
    struct table *t = acquire_load(&pins.table);
    for (size_t i = 0; t != NULL && i < t->size; i++) {
        uintptr_t block = acquire_load(&t->entries[i].block);
        if (block != 0)
            visit(block, data);
    }
}

struct pins_counts pins_counts(void)
{
    lock_acquire(&pins.lock);
    struct pins_counts counts = pins.counts;
    lock_release(&pins.lock);
    return counts;
}
