/* barrier_softdirty.c -- the kernel's soft-dirty bits: clear_refs "4", and bit 55 of the page map.
 *
 * Theory: writing "4" to /proc/self/clear_refs clears the bit of every page of the process and
 * write protects it; the first write to a page sets it again. Nothing is signalled, nothing fails.
 * What a mapping gets anew has the bit set.
 *
 *   .inv.once   The bits are cleared once in a phase, by begin(), for the clearing knows no ranges:
 *               a second one would lose what was written to ranges that have not been taken. So
 *               arm() has nothing to do, and take(rearm) arms nothing: a page that was written once
 *               is reported by each take() until the phase ends. That over-reports, and makes the
 *               last take() as long as all before it.
 *   .inv.mine   Shared memory that another process writes, or this one through another mapping, is
 *               not noticed: whoever arms must leave it out.
 *   .inv.unread An entry that cannot be read counts as written.
 *
 * Opt-in: another user of the same bits in the process (CRIU, a debugger) clears them under us, and
 * kernels have lost them (when mappings were merged, before 5.18). Kernels without soft-dirty
 * accept the write; hence the probe. The clearing walks all page tables, some 10 ms a GiB of small
 * pages, and needs no stop of the world: a write that comes before it is seen by the scan, which
 * comes after.
 *
 * Both files are opened beside each other at every begin(): a fork's child has its own. */
#include "gc/barrier.h"

#include "base/check.h"
#include "gc/softdirty.h"
#include "sys/mem.h"
#include "sys/syscall.h"

#include <fcntl.h>

enum {
    /* Entries a system call, on the stack: 4 KiB, which cover 2 MiB. */
    ENTRIES = 512,
};
#define SOFT_DIRTY ((uint64_t)1 << 55)

static struct softdirty_source files = {.pagemap = -1, .clear = -1};

static bool read_entries(int fd, uint64_t *entries, size_t count, uintptr_t start)
{
    long bytes = (long)(count * sizeof entries[0]);
    return syscall4(__NR_pread64, fd, (long)entries, bytes,
                    (long)((start >> PAGE_SHIFT) * sizeof entries[0])) == bytes;
}

static bool clear_bits(int fd)
{
    return syscall4(__NR_pwrite64, fd, (long)"4", 1, 0) == 1;
}

static void close_files(void)
{
    if (files.pagemap >= 0)
        syscall1(__NR_close, files.pagemap);
    if (files.clear >= 0)
        syscall1(__NR_close, files.clear);
    files.pagemap = files.clear = -1;
}

static bool open_files(void)
{
    files = (struct softdirty_source){read_entries, clear_bits, -1, -1};
    files.pagemap = (int)syscall3(__NR_open, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    files.clear = (int)syscall3(__NR_open, (long)"/proc/self/clear_refs", O_WRONLY | O_CLOEXEC, 0);
    if (files.pagemap >= 0 && files.clear >= 0)
        return true;
    close_files();
    return false;
}

static bool is_dirty(const struct softdirty_source *s, uintptr_t page)
{
    uint64_t entry = SOFT_DIRTY;
    return !s->read(s->pagemap, &entry, 1, page) || (entry & SOFT_DIRTY) != 0;
}

/* A page of our own: set when written, clear when cleared, set when written again. */
bool softdirty_works(const struct softdirty_source *s, volatile char *page)
{
    page[0] = 1;
    if (!is_dirty(s, (uintptr_t)page) || !s->clear_bits(s->clear) || is_dirty(s, (uintptr_t)page))
        return false;
    page[0] = 2;
    return is_dirty(s, (uintptr_t)page);
}

void softdirty_take(const struct softdirty_source *s, uintptr_t start, uintptr_t end,
                    pagemap_visit_fn *visit, void *data)
{
    uint64_t entries[ENTRIES];
    uintptr_t from = start; /* of the written run that ends at `start` */
    while (start < end) {
        size_t count = size_min(ENTRIES, (end - start) >> PAGE_SHIFT);
        bool known = s->read(s->pagemap, entries, count, start); /* .inv.unread */
        for (size_t i = 0; i < count; i++, start += PAGE_SIZE) {
            if (!known || (entries[i] & SOFT_DIRTY) != 0)
                continue;
            if (from < start)
                visit(from, start, data);
            from = start + PAGE_SIZE;
        }
    }
    if (from < end)
        visit(from, end, data);
}

/* The numbers are the collector's, whose table of descriptors the child need not have. */
static void forget_files(void)
{
    files.pagemap = files.clear = -1;
}

static const char *softdirty_open(void)
{
    const char *why = "/proc/self/clear_refs or pagemap cannot be opened";
    char *page = mem_map(PAGE_SIZE);
    if (page == NULL)
        return "no memory";
    if (open_files()) {
        why = softdirty_works(&files, page) ? NULL : "the kernel has no soft-dirty bits";
        close_files();
    }
    mem_release(page, PAGE_SIZE);
    return why;
}

static void softdirty_nothing(void)
{
}

static const char *softdirty_begin(void)
{
    if (!open_files())
        return "/proc/self/clear_refs or pagemap cannot be opened";
    if (clear_bits(files.clear))
        return NULL;
    close_files();
    return "/proc/self/clear_refs cannot be written";
}

static bool softdirty_arm(uintptr_t start, uintptr_t end)
{
    return start < end;
}

static void softdirty_take_again(uintptr_t start, uintptr_t end, bool rearm,
                                 pagemap_visit_fn *visit, void *data)
{
    (void)rearm; /* .inv.once */
    softdirty_take(&files, start, end, visit, data);
}

const struct barrier barrier_softdirty = {
    .name = "softdirty",
    .open = softdirty_open,
    .close = softdirty_nothing,
    .begin = softdirty_begin,
    .stops = false,
    .arm = softdirty_arm,
    .take = softdirty_take_again,
    .end = close_files,
    .after_fork = forget_files,
};
