/* armed.c -- two sorted arrays: the list, and the next one. */
#include "gc/armed.h"

#include "base/check.h"
#include "heap/meta.h"
#include "sys/pagemap.h"

/* Ranges that touch are one. 8,192 mappings apart from each other is more than any program here
 * had; metadata is touched as it is used. */
enum { ARMED_MOST = 8192 };

struct list {
    struct page_range *ranges;
    size_t count;
};

static struct list now, next;

bool armed_init(void)
{
    if (next.ranges != NULL)
        return true;
    now.ranges = meta_alloc(ARMED_MOST * sizeof(struct page_range));
    if (now.ranges != NULL)
        next.ranges = meta_alloc(ARMED_MOST * sizeof(struct page_range));
    return next.ranges != NULL;
}

void armed_clear(void)
{
    now.count = next.count = 0;
}

void armed_add(uintptr_t start, uintptr_t end)
{
    struct page_range *last = &next.ranges[next.count - 1];
    GC_ASSERT(start < end && (next.count == 0 || start >= last->end));
    if (next.count != 0 && last->end == start)
        last->end = end;
    else if (next.count < ARMED_MOST)
        next.ranges[next.count++] = (struct page_range){start, end};
}

void armed_turn(void)
{
    struct list old = now;
    now = next;
    next = (struct list){old.ranges, 0};
}

bool armed_part(uintptr_t start, uintptr_t end, uintptr_t *to)
{
    size_t low = 0, high = now.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (now.ranges[middle].end <= start)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == now.count || now.ranges[low].start >= end) {
        *to = end;
        return false;
    }
    bool in = now.ranges[low].start <= start;
    *to = in ? size_min(end, now.ranges[low].end) : now.ranges[low].start;
    return in;
}
