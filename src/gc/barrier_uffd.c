/* barrier_uffd.c -- the kernel keeps the list: userfaultfd's asynchronous write protection.
 *
 * Theory: a page is protected by a bit in its page table entry. The first write to it costs a fault
 * in which the kernel clears the bit (1.1-1.8 us), nobody is told, and no system call fails;
 * PAGEMAP_SCAN later walks the page tables, finds the entries without the bit and sets it again, in
 * one step. Mappings are not split. Linux 6.7.
 *
 *   .inv.hole     A page that does not exist when its range is armed is either remembered as
 *                 protected, or reads as written from then on. One that is dropped (MADV_DONTNEED)
 *                 reads as written at once.
 *   .inv.strange  Memory that was mapped anew since it was armed (munmap, mremap, MAP_FIXED) is not
 *                 registered: the scan refuses the whole request, and the range counts as written.
 *                 What the request had protected by then is lost: so the request is the unit.
 *
 *   .inv.answer   What the kernel answers without refusing is exact, for pages that had an entry
 *                 when they were armed: only a write fault clears the bit of a page that stays
 *                 where it is. Swapping, migration and fork keep it; a huge page is split before
 *                 its bit is cleared, and only the page that was written loses it. What else is
 *                 reported has vanished (then it is a hole, or the zero page once it is read), or
 *                 never had an entry, and came as part of a huge page for a neighbour's sake.
 *                 Faults for the whole process (mlockall) and merged pages are the caller's
 *                 business: touched.c.
 *
 *   .inv.stale    A mapping can lose its registration and keep the bits in its page table entries:
 *                 mremap does that to the neighbour with which it joins what it moves. The next
 *                 write makes such a page writable, bit and all, and registered anew it would read
 *                 as clean for ever. So bits are believed from one phase to the next only where the
 *                 registration never ended, which the kernel tells by not refusing the scan, and
 *                 while nothing was moved between that answer and the registration; arming clears
 *                 all others (8 ms a GiB) before it sets them.
 *
 * Protection is left in place when a phase ends: a page that is never written costs nothing, and
 * need not be armed again. Where the program is going to write it is taken away (relax), at 30-80
 * ns a page instead of a fault. The registration ends with the descriptor, which the collector's
 * own table holds.
 *
 * Holes. To remember a hole takes an entry in a page table, and tables for a sparse 64 GiB take 131
 * MB. So where there is no table none is made: such holes read as written, each as one long range,
 * and whoever visits it must ask which pages exist. Only when a range is armed again, short holes
 * get their tables, because that is the kernel's fast path. */
#include "gc/barrier.h"

#include "base/check.h"
#include "sys/mem.h"
#include "sys/syscall.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>

/* linux/userfaultfd.h of 6.7. */
#define FEATURE_WP_ASYNC ((uint64_t)1 << 15)
#define FEATURE_WP_SHARED ((uint64_t)1 << 12)
#define USER_MODE_ONLY 1

enum {
    /* One request: bounds how long the program's mmap waits for us (~1 ms), and how much counts as
     * written if it is refused. */
    PIECE = 64 << 20,
    /* A written range as long as this is taken for a hole. */
    HOLE_LEAST = 4 << 20,
    RANGES = 1024,
};

static struct {
    int fd;
    struct pagemap pagemap;
    bool answered;   /* what is being visited is the kernel's answer: .inv.answer */
} uffd = {.fd = -1, .pagemap = {.fd = -1}};

static void uffd_close(void)
{
    pagemap_close(&uffd.pagemap);
    if (uffd.fd >= 0)
        syscall1(__NR_close, uffd.fd);
    uffd.fd = -1;
}

/* Asks of each mapping in [start, end), 0.2 ms a GiB. */
static bool is_registered(uintptr_t start, uintptr_t end)
{
    struct page_range ranges[RANGES];
    for (uintptr_t at = start; at < end;)
        if (pagemap_take_written(&uffd.pagemap, PAGEMAP_LOOK, at, end, ranges, RANGES, &at) < 0)
            return false;
    return true;
}

static bool uffd_arm(uintptr_t start, uintptr_t end)
{
    struct uffdio_register r = {.range = {start, end - start},
                                .mode = UFFDIO_REGISTER_MODE_WP};
    struct uffdio_writeprotect clear = {.range = r.range};
    uint32_t moved = mem_moves_ended();
    bool believed = is_registered(start, end); /* .inv.stale */
    /* Refused, too, if the program itself has registered it. */
    if (syscall3(__NR_ioctl, uffd.fd, UFFDIO_REGISTER, (long)&r) != 0)
        return false;
    believed = believed && mem_moves_begun() == moved;
    if (!believed && syscall3(__NR_ioctl, uffd.fd, UFFDIO_WRITEPROTECT, (long)&clear) != 0) {
        syscall3(__NR_ioctl, uffd.fd, UFFDIO_UNREGISTER, (long)&r.range); /* clears them, too */
        return false;
    }
    for (uintptr_t at = start, to; at < end; at = to) {
        to = size_min(at + PIECE, end);
        if (!pagemap_protect(&uffd.pagemap, at, to))
            return false;
    }
    return true;
}

/* Is there a long written range in [start, end)? A piece with more than RANGES others is not asked
 * to its end: then tables for a hole may be made in vain. */
static bool has_long_hole(uintptr_t start, uintptr_t end)
{
    uintptr_t next;
    struct page_range ranges[RANGES];
    long count = pagemap_take_written(&uffd.pagemap, PAGEMAP_LOOK, start, end, ranges, RANGES,
                                      &next);
    for (long i = 0; i < count; i++)
        if (ranges[i].end - ranges[i].start >= HOLE_LEAST)
            return true;
    return false;
}

static void take_piece(uintptr_t start, uintptr_t end, bool rearm, pagemap_visit_fn *visit,
                       void *data)
{
    struct page_range ranges[RANGES];
    enum pagemap_take how = !rearm                      ? PAGEMAP_LOOK
                            : has_long_hole(start, end) ? PAGEMAP_PROTECT_PRESENT
                                                        : PAGEMAP_PROTECT;
    for (uintptr_t at = start, next = end; at < end; at = next) {
        long count = pagemap_take_written(&uffd.pagemap, how, at, end, ranges, RANGES, &next);
        uffd.answered = count >= 0;
        if (count < 0) { /* .inv.strange */
            visit(at, end, data);
            return;
        }
        for (long i = 0; i < count; i++)
            visit(ranges[i].start, ranges[i].end, data);
    }
}

static void uffd_take(uintptr_t start, uintptr_t end, bool rearm, pagemap_visit_fn *visit,
                      void *data)
{
    for (uintptr_t at = start, to; at < end; at = to) {
        to = size_min(at + PIECE, end);
        take_piece(at, to, rearm, visit, data);
    }
}

static bool uffd_exact(void)
{
    return uffd.answered;
}

static void uffd_relax(uintptr_t start, uintptr_t end)
{
    for (uintptr_t at = start; at < end; at += PIECE) {
        struct uffdio_writeprotect clear = {.range = {at, size_min(end - at, PIECE)}};
        /* Refused: then the pages stay protected, and are written with a fault each. */
        syscall3(__NR_ioctl, uffd.fd, UFFDIO_WRITEPROTECT, (long)&clear);
    }
}

static void count_pages(uintptr_t start, uintptr_t end, void *data)
{
    *(size_t *)data += (end - start) >> PAGE_SHIFT;
}

static size_t pages_taken(char *pages, bool rearm)
{
    size_t count = 0;
    uintptr_t start = (uintptr_t)pages;
    uffd_take(start, start + 4 * PAGE_SIZE, rearm, count_pages, &count);
    return count;
}

/* Four pages, the last of which does not exist: a write by the program is seen, and one by the
 * kernel, and a new page, each once; a page not written is not. */
static bool works(char *pages)
{
    uintptr_t start = (uintptr_t)pages;
    volatile char *page = pages;
    page[0] = page[PAGE_SIZE] = page[2 * PAGE_SIZE] = 1;
    if (!uffd_arm(start, start + 4 * PAGE_SIZE) || pages_taken(pages, false) != 0)
        return false;
    page[PAGE_SIZE] = 2;
    /* A write by the kernel. */
    long kernel = syscall2(__NR_clock_gettime, 0, (long)(pages + 2 * PAGE_SIZE));
    page[3 * PAGE_SIZE] = 3;
    return kernel == 0 && pages_taken(pages, true) == 3 && pages_taken(pages, false) == 0;
}

static const char *open_and_test(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP_ASYNC | FEATURE_WP_SHARED};
    uffd.fd = (int)syscall1(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
    if (uffd.fd < 0)
        return "userfaultfd is not permitted";
    if (syscall3(__NR_ioctl, uffd.fd, UFFDIO_API, (long)&api) != 0)
        return "userfaultfd has no asynchronous write protection (Linux 6.7)";
    if (!pagemap_open(&uffd.pagemap) || !uffd.pagemap.has_scan)
        return "the page map cannot be scanned";
    char *pages = mem_map(4 * PAGE_SIZE);
    if (pages == NULL)
        return "no memory for the self-test";
    bool ok = works(pages);
    mem_release(pages, 4 * PAGE_SIZE);
    return ok ? NULL : "userfaultfd did not notice a write in the self-test";
}

static const char *uffd_open(void)
{
    const char *reason = open_and_test();
    if (reason != NULL)
        uffd_close();
    return reason;
}

/* The child of fork has no registration, and no descriptor: they were in the collector's table. */
static void uffd_after_fork(void)
{
    uffd.fd = uffd.pagemap.fd = -1;
}

const struct barrier barrier_uffd = {.name = "uffd",
                                     .whole_mappings = true,
                                     .open = uffd_open,
                                     .close = uffd_close,
                                     .arm = uffd_arm,
                                     .take = uffd_take,
                                     .exact = uffd_exact,
                                     .relax = uffd_relax,
                                     .after_fork = uffd_after_fork};
