/* protected.c -- a short list, in address order because /proc/thread-self/maps is. */
#include "gc/protected.h"

#include "base/check.h"
#include "sys/pagemap.h"
#include "sys/syscall.h"

/* A program that protects more pieces of its heap than this is only reported on, not collected. */
enum { PROTECTED_MOST = 16384, READERS_MOST = 16 };

static struct {
    struct page_range ranges[PROTECTED_MOST];
    size_t count;
} list GC_LARGE;

static struct {
    _Atomic uint32_t forbidden; /* changes begun that no pass has seen the end of */
    _Atomic uint32_t ended;     /* changes ended that no pass has seen */
    uint32_t seen;              /* of these, by the pass under way */
    _Atomic uint32_t *flags[READERS_MOST];
    _Atomic unsigned count;     /* a flag is there before it is counted */
} readers;

void protected_pass_begin(void)
{
    list.count = 0;
    readers.seen = atomic_exchange(&readers.ended, 0);
}

void protected_pass_end(void)
{
    atomic_fetch_sub(&readers.forbidden, readers.seen);
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
    unsigned count = atomic_load(&readers.count);
    GC_CHECK(count < READERS_MOST);
    readers.flags[count] = reading;
    atomic_store(&readers.count, count + 1);
}

void protected_change_begin(void)
{
    atomic_fetch_add(&readers.forbidden, 1); /* .inv.bracket */
    for (unsigned i = 0; i < atomic_load(&readers.count); i++)
        while (atomic_load(readers.flags[i]) != 0)
            syscall0(__NR_sched_yield);
}

void protected_change_end(void)
{
    atomic_fetch_add(&readers.ended, 1);
}

bool protected_direct_reads_forbidden(void)
{
    return atomic_load(&readers.forbidden) != 0;
}
