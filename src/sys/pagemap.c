/* pagemap.c -- which pages the program can have written.
 *
 * A root scan that read every mapped page would fault in sparse reservations and read gigabytes of
 * text. The kernel knows better, and says so in two ways: PAGEMAP_SCAN walks the page tables and
 * returns ranges; the older file of 64-bit entries, one a page, says the same less densely. Both
 * answer here through one sink, which joins neighbouring ranges.
 *
 *   .inv.cover    All wanted pages of [start, *next) lie in the ranges returned. When the sink
 *                 fills, *next is the first page it had no room for.
 *   .inv.forward  A call that returns without error has *next > start: callers' loops end.
 *
 *                       PAGEMAP_SCAN                                     entry
 *   populated           (PRESENT or SWAPPED), not PFNZERO                bit 63 or 62
 *   copied              the same, and not FILE                           bit 63 or 62, and not 61
 *   single              PRESENT, none of PFNZERO, FILE, HUGE             cannot be told
 *
 * Shared memory counts as FILE in both, so `copied` must not be asked of it. Entries do not tell
 * the zero page from others (its frame number is hidden without privilege): the fallback
 * over-reports.
 *
 * Traps
 *   - The descriptor belongs to the address space it was opened in: a fork's child must open its
 *     own. With its parent's it gets answers, without an error, about the parent's pages.
 *   - A page of shared memory without a page table entry (swapped out, or dropped by MADV_DONTNEED)
 *     is neither present nor swapped in either source, although its content lives on. See
 *     tests/unit/sys_pagemap.c: whoever scans shared memory must know.
 *   - A page under migration, with a guard or a write-protection marker, counts as swapped: safe.
 *   - The installed <linux/fs.h> may be older than the kernel: the interface is declared here.
 *
 * Thread safety: no state but the descriptor; any number of threads may scan. */
#include "sys/pagemap.h"

#include "base/check.h"
#include "sys/syscall.h"

#include <fcntl.h>
#include <linux/ioctl.h>

/* linux/fs.h of 6.7: struct page_region, struct pm_scan_arg, PAGE_IS_*. */
struct scan_region {
    uint64_t start, end, categories;
};
struct scan_request {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
_Static_assert(sizeof(struct scan_request) == 96, "the kernel's struct pm_scan_arg");

#define SCAN_IOCTL _IOWR('f', 16, struct scan_request)
#define IS_WRITTEN ((uint64_t)1 << 1)
#define IS_FILE ((uint64_t)1 << 2)
#define IS_PRESENT ((uint64_t)1 << 3)
#define IS_SWAPPED ((uint64_t)1 << 4)
#define IS_ZERO_PAGE ((uint64_t)1 << 5)
#define IS_HUGE ((uint64_t)1 << 6)

/* Write protect what matches; refuse memory that is not under asynchronous protection. */
#define PROTECT_MATCHING ((uint64_t)1 << 0)
#define CHECK_PROTECTABLE ((uint64_t)1 << 1)

#define ENTRY_PRESENT ((uint64_t)1 << 63)
#define ENTRY_SWAPPED ((uint64_t)1 << 62)
#define ENTRY_FILE ((uint64_t)1 << 61)

enum {
    /* Regions a system call, on the stack: 3 KiB. A walk costs far more than its call. */
    SCAN_BATCH = 128,
    /* The same where pages are protected: each call stops the other processors for a moment, which
     * must forget what they know of the page tables. 24 KiB. */
    PROTECT_BATCH = 1024,
    /* Entries a system call, on the stack: 4 KiB, which cover 2 MiB, one page table. */
    ENTRY_BATCH = 512,
};

struct sink {
    struct page_range *ranges;
    size_t count, capacity;
};

/* False: no room. */
static bool sink_add(struct sink *s, uintptr_t start, uintptr_t end)
{
    if (s->count > 0 && s->ranges[s->count - 1].end == start) {
        s->ranges[s->count - 1].end = end;
        return true;
    }
    if (s->count == s->capacity)
        return false;
    s->ranges[s->count++] = (struct page_range){start, end};
    return true;
}

/* ---- PAGEMAP_SCAN ---- */

static long scan_once(int fd, enum pagemap_want want, struct scan_request *request)
{
    uint64_t excluded = IS_ZERO_PAGE | (want == PAGEMAP_POPULATED ? 0 : IS_FILE) |
                        (want == PAGEMAP_SINGLE ? IS_HUGE : 0);
    request->size = sizeof *request;
    request->category_mask = excluded | (want == PAGEMAP_SINGLE ? IS_PRESENT : 0);
    request->category_inverted = excluded;
    request->category_anyof_mask = IS_PRESENT | IS_SWAPPED;
    return syscall3(__NR_ioctl, fd, SCAN_IOCTL, (long)request);
}

static bool scan_ranges(int fd, enum pagemap_want want, uintptr_t at, uintptr_t end, struct sink *s,
                        uintptr_t *next)
{
    struct scan_region regions[SCAN_BATCH];
    while (at < end && s->count < s->capacity) {
        struct scan_request request = {
            .start = at,
            .end = end,
            .vec = (uintptr_t)regions,
            .vec_len = size_min(SCAN_BATCH, s->capacity - s->count),
        };
        long found = scan_once(fd, want, &request);
        if (found < 0 || request.walk_end <= at) /* .inv.forward */
            return false;
        for (long i = 0; i < found; i++)
            GC_CHECK(sink_add(s, regions[i].start, regions[i].end));
        at = request.walk_end; /* less than `end` when the vector filled */
    }
    *next = at;
    return true;
}

/* The page of a local variable is present, anonymous and ours: the answer must be that page. A
 * kernel or a filter that knows the number but not the meaning is found out here. */
static bool scan_works(int fd)
{
    struct page_range range;
    struct sink s = {&range, 0, 1};
    uintptr_t page = align_down((uintptr_t)&range, PAGE_SIZE), next = 0;
    return scan_ranges(fd, PAGEMAP_COPIED, page, page + PAGE_SIZE, &s, &next) && s.count == 1 &&
           range.start == page && range.end == page + PAGE_SIZE && next == page + PAGE_SIZE;
}

/* ---- entries ---- */

static bool entry_wanted(uint64_t entry, enum pagemap_want want)
{
    if (!(entry & (ENTRY_PRESENT | ENTRY_SWAPPED)))
        return false;
    return want == PAGEMAP_POPULATED || !(entry & ENTRY_FILE);
}

static bool scan_entries(int fd, enum pagemap_want want, uintptr_t at, uintptr_t end,
                         struct sink *s, uintptr_t *next)
{
    uint64_t entries[ENTRY_BATCH];
    while (at < end) {
        size_t count = size_min(ENTRY_BATCH, (end - at) >> PAGE_SHIFT);
        long got = syscall4(__NR_pread64, fd, (long)entries, (long)(count * sizeof entries[0]),
                            (long)((at >> PAGE_SHIFT) * sizeof entries[0]));
        if (got < (long)sizeof entries[0])
            return false;
        count = (size_t)got / sizeof entries[0];
        for (size_t i = 0; i < count; i++, at += PAGE_SIZE) {
            if (entry_wanted(entries[i], want) && !sink_add(s, at, at + PAGE_SIZE)) {
                *next = at; /* .inv.cover */
                return true;
            }
        }
    }
    *next = at;
    return true;
}

/* ---- the contract ---- */

bool pagemap_open(struct pagemap *p)
{
    p->fd = (int)syscall3(__NR_open, (long)"/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    p->has_scan = p->fd >= 0 && scan_works(p->fd);
    return p->fd >= 0;
}

void pagemap_close(struct pagemap *p)
{
    if (p->fd >= 0)
        syscall1(__NR_close, p->fd);
    p->fd = -1;
    p->has_scan = false;
}

long pagemap_scan(struct pagemap *p, enum pagemap_want want, uintptr_t start, uintptr_t end,
                  struct page_range *ranges, size_t capacity, uintptr_t *next)
{
    GC_CHECK(is_aligned(start | end, PAGE_SIZE) && start <= end && capacity > 0);
    GC_CHECK(p->has_scan || want != PAGEMAP_SINGLE);
    struct sink s = {ranges, 0, capacity};
    bool ok = p->has_scan ? scan_ranges(p->fd, want, start, end, &s, next)
                          : scan_entries(p->fd, want, start, end, &s, next);
    GC_ASSERT(!ok || start == end || *next > start); /* .inv.forward */
    return ok ? (long)s.count : -1;
}

/* Ranges asked of the kernel at a time: 2 KiB of stack. */
enum { EACH_RANGES = 128 };

bool pagemap_each(struct pagemap *p, enum pagemap_want want, uintptr_t start, uintptr_t end,
                  pagemap_visit_fn *visit, void *data)
{
    struct page_range ranges[EACH_RANGES];
    while (start < end) {
        uintptr_t next = end;
        long count = pagemap_scan(p, want, start, end, ranges, EACH_RANGES, &next);
        if (count < 0)
            return false;
        for (long i = 0; i < count; i++)
            visit(ranges[i].start, ranges[i].end, data);
        start = next;
    }
    return true;
}

/* ---- written pages ---- */

/* Asked for nothing but IS_WRITTEN the kernel has a fast path: 0.2 ms a GiB of clean pages, against
 * 5-13 ms with any other question. */
static struct scan_request written_request(enum pagemap_take how, uintptr_t start, uintptr_t end)
{
    return (struct scan_request){
        .size = sizeof(struct scan_request),
        .flags = CHECK_PROTECTABLE | (how == PAGEMAP_LOOK ? 0 : PROTECT_MATCHING),
        .start = start,
        .end = end,
        .category_mask = IS_WRITTEN,
        .category_anyof_mask = how == PAGEMAP_PROTECT_PRESENT ? IS_PRESENT | IS_SWAPPED : 0,
        .return_mask = IS_WRITTEN,
    };
}

long pagemap_take_written(struct pagemap *p, enum pagemap_take how, uintptr_t start, uintptr_t end,
                          struct page_range *ranges, size_t capacity, uintptr_t *next)
{
    struct scan_region regions[PROTECT_BATCH];
    struct sink s = {ranges, 0, capacity};
    uintptr_t at = start;
    GC_CHECK(is_aligned(start | end, PAGE_SIZE) && p->has_scan);
    while (at < end && s.count < s.capacity) {
        struct scan_request request = written_request(how, at, end);
        request.vec = (uintptr_t)regions;
        request.vec_len = size_min(PROTECT_BATCH, s.capacity - s.count);
        long found = syscall3(__NR_ioctl, p->fd, SCAN_IOCTL, (long)&request);
        if (found < 0 || request.walk_end <= at)
            return -1;
        for (long i = 0; i < found; i++)
            GC_CHECK(sink_add(&s, regions[i].start, regions[i].end));
        at = request.walk_end;
    }
    *next = at;
    return (long)s.count;
}

bool pagemap_protect(struct pagemap *p, uintptr_t start, uintptr_t end)
{
    struct scan_request request = written_request(PAGEMAP_PROTECT_PRESENT, start, end);
    request.return_mask = 0;
    return syscall3(__NR_ioctl, p->fd, SCAN_IOCTL, (long)&request) >= 0;
}
