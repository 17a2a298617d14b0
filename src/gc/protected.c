/* protected.c -- a short list, in address order because /proc/thread-self/maps is. */
#include "gc/protected.h"

#include "sys/pagemap.h"

/* A program that protects more pieces of its heap than this is only reported on, not collected. */
enum { PROTECTED_MOST = 1024 };

static struct {
    struct page_range ranges[PROTECTED_MOST];
    size_t count;
} list;

void protected_reset(void)
{
    list.count = 0;
}

bool protected_add(uintptr_t start, uintptr_t end)
{
    if (list.count == PROTECTED_MOST)
        return false;
    list.ranges[list.count++] = (struct page_range){start, end};
    return true;
}

bool protected_overlaps(uintptr_t start, size_t size)
{
    size_t low = 0, high = list.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (list.ranges[middle].end <= start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < list.count && list.ranges[low].start < start + size;
}
