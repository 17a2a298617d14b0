/* protected.c -- a short list, in address order because /proc/self/maps is. */
#include "gc/protected.h"

#include "base/check.h"
#include "sys/pagemap.h"
#include "sys/syscall.h"

/* A program that protects more pieces of its heap than this is only reported on, not collected. */
enum { PROTECTED_MOST = 1024, READERS_MOST = 16 };

static struct {
    struct page_range ranges[PROTECTED_MOST];
    size_t count;
} list;

static struct {
    _Atomic uint32_t careful;   /* callers between forbid and allow */
    _Atomic uint32_t *flags[READERS_MOST];
    unsigned count;
} readers;

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

bool protected_any(void)
{
    return list.count != 0;
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

void protected_add_reader(_Atomic uint32_t *reading)
{
    GC_CHECK(readers.count < READERS_MOST);
    readers.flags[readers.count++] = reading;
}

void protected_forbid_direct_reads(void)
{
    atomic_fetch_add(&readers.careful, 1); /* .inv.bracket */
    for (unsigned i = 0; i < readers.count; i++)
        while (atomic_load(readers.flags[i]) != 0)
            syscall0(__NR_sched_yield);
}

void protected_allow_direct_reads(void)
{
    atomic_fetch_sub(&readers.careful, 1);
}

bool protected_direct_reads_forbidden(void)
{
    return atomic_load(&readers.careful) != 0;
}
