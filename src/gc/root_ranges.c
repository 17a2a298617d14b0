/* root_ranges.c -- two small sorted tables.
 *
 *   .inv.twin   A table is changed as a copy, which then takes its place by one store. So who reads
 *               while the world is stopped, within whatever instruction of these functions, reads a
 *               table that is whole: nobody runs who could change it. Beside the program the lock
 *               is taken, since two changes one after the other come back to the first copy. */
#include "gc/root_ranges.h"

#include "base/atomic.h"
#include "base/check.h"
#include "sys/lock.h"

#include <string.h>

static struct lock lock = LOCK_INIT(ROOTS);
static struct twin {
    struct root_ranges copies[2];
    _Atomic uint32_t now;
} twins[2] GC_LARGE;

size_t root_ranges_find(const struct root_ranges *r, uintptr_t address)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (r->ranges[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void root_ranges_cut(struct root_ranges *r, size_t index)
{
    GC_ASSERT(index < r->count);
    r->count--;
    memmove(&r->ranges[index], &r->ranges[index + 1],
            (r->count - index) * sizeof r->ranges[0]);
}

static enum root_ranges_result insert(struct root_ranges *r, struct page_range range)
{
    size_t at = root_ranges_find(r, range.start);
    if (at < r->count && r->ranges[at].start < range.end)
        return ROOT_RANGES_OVERLAP;
    if (r->count == ROOT_RANGES_MOST)
        return ROOT_RANGES_FULL;
    memmove(&r->ranges[at + 1], &r->ranges[at], (r->count - at) * sizeof r->ranges[0]);
    r->ranges[at] = range;
    r->count++;
    return ROOT_RANGES_DONE;
}

static enum root_ranges_result remove_one(struct root_ranges *r, struct page_range range)
{
    size_t at = root_ranges_find(r, range.start);
    if (at == r->count || r->ranges[at].start != range.start || r->ranges[at].end != range.end)
        return ROOT_RANGES_UNKNOWN;
    root_ranges_cut(r, at);
    return ROOT_RANGES_DONE;
}

/* .inv.twin */
static enum root_ranges_result change(enum root_ranges_kind kind, struct page_range range,
                                      enum root_ranges_result (*how)(struct root_ranges *r,
                                                                     struct page_range range))
{
    struct twin *t = &twins[kind];
    lock_acquire(&lock);
    uint32_t now = relaxed_load(&t->now);
    t->copies[!now] = t->copies[now];
    enum root_ranges_result result = how(&t->copies[!now], range);
    if (result == ROOT_RANGES_DONE)
        release_store(&t->now, !now);
    lock_release(&lock);
    return result;
}

enum root_ranges_result root_ranges_add(enum root_ranges_kind kind, struct page_range range)
{
    GC_ASSERT(range.start < range.end);
    return change(kind, range, insert);
}

enum root_ranges_result root_ranges_remove(enum root_ranges_kind kind, struct page_range range)
{
    return change(kind, range, remove_one);
}

void root_ranges_read(enum root_ranges_kind kind, struct root_ranges *out, bool stopped)
{
    struct twin *t = &twins[kind];
    if (!stopped)
        lock_acquire(&lock);
    *out = t->copies[acquire_load(&t->now)];
    if (!stopped)
        lock_release(&lock);
}

void root_ranges_after_fork(void)
{
    lock_abandon(&lock);
}
