/* touched.c -- a page is written on which no block is known to be in use.
 *
 * Theory: a program that hides its pointers is found out when it frees or resizes a block that the
 * last mark did not reach. One that only writes to such a block would not be noticed. But the
 * barrier tells which pages were written, and a page that is covered by unreached blocks alone can
 * only have been written through a pointer that we did not see.
 *
 * A mistake here ends all reclaiming for good, so what could be anything else is left out:
 *
 *   .inv.old      Every byte of the page belongs to blocks that carried an epoch before the last
 *                 mark's when this mark began, and carry it still when it ends. New blocks are
 *                 born with one of the last two epochs, a freed one has none, and what the last
 *                 mark reached (the program may have dropped it since, after a last write) carries
 *                 that mark's. The one way to a late old epoch is a thread held up within malloc:
 *                 it was held up in the last stop, or is in this one, and `newborn` knows.
 *   .inv.known    The page had been armed: a look right after arming did not report its slab. So
 *                 it does not read as written because it never existed (barrier.h).
 *   .inv.exact    The barrier says that it does not guess, and when it reports the page, the page
 *                 is there by itself: dropped pages, zero pages that were only read, and parts of a
 *                 huge page which came for a neighbour are no proof.
 *   .inv.end      What was a pointer in flight in the last mark may be found by this one. So pages
 *                 are remembered while the mark is under way, and judged when it has ended.
 *   .inv.nobody   The kernel can make all pages look written: mlockall faults each of them in for
 *                 writing. Then it does the same to a page of our own, which nobody writes, and
 *                 nothing is believed. Nor is it where the kernel merges equal pages (ksm.h).
 *   .inv.renewed  Which of a page's blocks was written is not known: all count as reached, by this
 *                 mark, so that the sweep after it leaves them alone.
 *
 * What is missed: writes between marks, to pages that a used block shares, to the last part of a
 * page in large blocks, to blocks reclaimed after one cycle (confirm=1), and with back ends that
 * guess: mprotect reports 64 KiB at a time, opens them also for system calls that might write, and
 * whole mappings when it runs out of them.
 *
 * Cost: one look at the barrier per mark (0.2 ms a GiB, beside the program) and a slot byte per
 * written page, both only if the last mark has left something unreached. */
#include "gc/touched.h"

#include "base/check.h"
#include "heap/judge.h"
#include "sys/ksm.h"

#include <string.h>

/* Pages remembered in a mark. More would not make the proof better. */
enum { PAGES_MOST = 256 };

static struct {
    const struct barrier *barrier; /* NULL: off */
    struct pagemap *pagemap;
    uintptr_t end;                 /* of what was armed when the mark began */
    uint8_t *unknown;              /* a bit a slab: .inv.known */
    char *witness;                 /* a page: .inv.nobody */
    uintptr_t pages[PAGES_MOST];
    size_t count;
} touched;

/* Once. False: no memory. */
static bool prepare(void)
{
    if (touched.unknown != NULL)
        return true;
    uint8_t *unknown = meta_alloc(arena.slab_count / 8 + 1);
    char *room = meta_alloc(2 * PAGE_SIZE);
    if (unknown == NULL || room == NULL)
        return false;
    touched.witness = (char *)align_up((uintptr_t)room, PAGE_SIZE);
    touched.unknown = unknown;
    return true;
}

static void note_unknown(uintptr_t start, uintptr_t end, void *data)
{
    (void)data;
    for (uint32_t i = slab_index_of(start); i <= slab_index_of(end - 1); i++)
        touched.unknown[i / 8] |= (uint8_t)(1u << (i % 8));
}

static bool is_known(uintptr_t page)
{
    uint32_t i = slab_index_of(page);
    return page < touched.end && !(touched.unknown[i / 8] & 1u << (i % 8));
}

static void note_any(uintptr_t start, uintptr_t end, void *data)
{
    *(bool *)data = true;
    GC_ASSERT(start < end);
}

static bool witness_is_written(void)
{
    bool written = false;
    uintptr_t page = (uintptr_t)touched.witness;
    touched.barrier->take(page, page + PAGE_SIZE, false, note_any, &written);
    return written;
}

/* It exists; then it is armed. */
static bool arm_witness(const struct barrier *barrier)
{
    uintptr_t page = (uintptr_t)touched.witness;
    *(volatile char *)touched.witness = 1;
    return barrier->arm(page, page + PAGE_SIZE);
}

void touched_off(void)
{
    touched.barrier = NULL;
    touched.count = 0;
}

void touched_begin(const struct barrier *barrier, struct pagemap *pagemap, uintptr_t armed_end)
{
    touched_off();
    if (barrier->exact == NULL || !pagemap->has_scan || armed_end == arena.base || !prepare() ||
        !arm_witness(barrier))
        return;
    touched.barrier = barrier;
    touched.pagemap = pagemap;
    touched.end = armed_end;
    memset(touched.unknown, 0, ((armed_end - arena.base) >> SLAB_SHIFT) / 8 + 1);
    barrier->take(arena.base, armed_end, false, note_unknown, NULL);
}

/* The block that covers the address, and the address behind it. The program may free it meanwhile
 * and make others of its slab: what is found then is no block, and young when the mark ends. */
static bool block_at(uintptr_t *at, struct block *b)
{
    if (!block_find(*at, b) || *at - b->start >= b->size)
        return false;
    *at = b->start + b->size;
    return true;
}

/* .inv.old: while this mark is under way, or just over, the last one's epoch is of age 1. */
static bool is_old(uintptr_t block)
{
    uint8_t byte = acquire_load(slot_of(block));
    return slot_is_epoch(byte) && epoch_age(relaxed_load(&hot.epoch), byte) > 1 &&
           !judge_is_newborn(block);
}

static bool is_unused(uintptr_t page)
{
    struct block b;
    for (uintptr_t at = page; at < page + PAGE_SIZE;)
        if (!block_at(&at, &b) || !is_old(b.start))
            return false;
    return true;
}

/* .inv.exact */
static bool is_single(uintptr_t page)
{
    struct page_range range;
    uintptr_t next;
    return pagemap_scan(touched.pagemap, PAGEMAP_SINGLE, page, page + PAGE_SIZE, &range, 1,
                        &next) == 1;
}

static bool is_noted(uintptr_t page)
{
    for (size_t i = 0; i < touched.count; i++)
        if (touched.pages[i] == page)
            return true;
    return false;
}

void touched_note(uintptr_t start, uintptr_t end)
{
    if (touched.barrier == NULL || !touched.barrier->exact())
        return;
    for (uintptr_t page = start; page < end && touched.count < PAGES_MOST; page += PAGE_SIZE)
        if (is_known(page) && is_unused(page) && !is_noted(page) && is_single(page))
            touched.pages[touched.count++] = page;
}

/* .inv.end */
static void forget_used(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < touched.count; i++)
        if (is_unused(touched.pages[i]))
            touched.pages[kept++] = touched.pages[i];
    touched.count = kept;
}

static void tell(uintptr_t page, touched_fn *told)
{
    struct block b;
    bool first = true;
    for (uintptr_t at = page; at < page + PAGE_SIZE && block_at(&at, &b);) {
        if (!is_old(b.start)) /* it began on another page, and was told of with that */
            continue;
        told(&b, first);
        first = false;
        standing_renew(&b, standing_of(&b));
    }
}

void touched_end(touched_fn *told)
{
    GC_ASSERT(relaxed_load(&hot.window) == 0);
    forget_used();
    if (touched.count != 0 && !witness_is_written() && !ksm_looks_at_us()) /* .inv.nobody */
        for (size_t i = 0; i < touched.count; i++)
            tell(touched.pages[i], told);
    touched_off();
}
