/* rescan.c -- the heap's dirty pages.
 *
 * Theory (Boehm, Demers and Shenker 1991): a marked block whose page was written since the page was
 * armed may hold pointers that the marker has not seen, so it is read again: the words on that
 * page. Unmarked blocks need not be: if they are reached later they are read then.
 *
 *   .inv.armed_first   The whole heap is armed before the epoch advances. A block that is born
 *                      marked is never read on its own account, so every write into it must be
 *                      seen: it is born after the epoch advanced, so into an armed page, or into a
 *                      page that came after (`armed_end`), which counts as written as a whole.
 *   .inv.twice         Armed again first, read then: what is written in between is reported again.
 *                      */
#include "gc/rescan.h"

#include "base/check.h"
#include "gc/touched.h"
#include "heap/size_class.h"
#include "heap/slab.h"
#include "sys/clock.h"

enum {
    /* Asked of the barrier at a time; the deadline is looked at in between. */
    PIECE = 64 << 20,
    /* A span of which this part of its slots is free will be written to in most of its pages. */
    FILL_SHARE = 8,
    /* Pages read between two looks at the clock: ~20 us. */
    CLOCK_PAGES = 16,
};

static uintptr_t armed_end;

struct pass {
    struct marker *m;
    uint64_t deadline;
    size_t pages, until_clock;
    bool late;
    bool taken;                 /* what is read was reported by the barrier */
};

static uintptr_t heap_end(void)
{
    return slab_address(relaxed_load(&arena.top));
}

static bool arm(const struct barrier *barrier, uintptr_t start, uintptr_t end)
{
    bool armed = true;
    for (uintptr_t at = start, to; at < end && armed; at = to) {
        to = size_min(at + PIECE, end);
        armed = barrier->arm(at, to);
    }
    return armed;
}

uintptr_t rescan_arm(const struct barrier *barrier)
{
    uintptr_t end = heap_end();
    armed_end = arm(barrier, arena.base, end) ? end : arena.base;
    return armed_end;
}

/* Is the program likely to write to much of it soon: a run of used and free slabs, or a span with
 * many free slots? *slabs: that this was about. What is read may be changing: it is a guess. */
static bool is_to_be_filled(uint32_t index, uint32_t *slabs)
{
    struct slab *slab = slab_at(index);
    enum slab_kind kind = (enum slab_kind)slab_kind(slab);
    *slabs = 1;
    if (kind == SLAB_UNUSED)
        return arena.slab_dirty[index] != 0;
    if (kind != SLAB_CLASSED || once(slab->head) != index)
        return false;
    *slabs = (uint32_t)size_max(size_classes[once(slab->size_class)].slabs, 1);
    return once(slab->free_slots) > once(slab->slots) / FILL_SHARE;
}

void rescan_relax(const struct barrier *barrier)
{
    uint32_t top = relaxed_load(&arena.top), from = 0, to = 0, slabs;
    if (barrier->relax == NULL)
        return;
    for (uint32_t i = 0; i < top; i += slabs) {
        if (!is_to_be_filled(i, &slabs))
            continue;
        if (i != to) {
            if (from < to)
                barrier->relax(slab_address(from), slab_address(to));
            from = i;
        }
        to = i + slabs < top ? i + slabs : top;
    }
    if (from < to)
        barrier->relax(slab_address(from), slab_address(to));
}

static void look_at_clock(struct pass *p, size_t pages)
{
    p->pages += pages;
    p->until_clock -= size_min(pages, p->until_clock);
    if (p->until_clock != 0)
        return;
    p->until_clock = CLOCK_PAGES;
    p->late = p->deadline != 0 && clock_now_ns() > p->deadline;
}

static void read_pages(uintptr_t start, uintptr_t end, void *data)
{
    struct pass *p = data;
    for (uintptr_t at = start, to; at < end && !p->late; at = to) {
        to = size_min(at + CLOCK_PAGES * PAGE_SIZE, end);
        if (p->taken)
            touched_note(at, to);
        mark_dirty_range(p->m, at, to);
        look_at_clock(p, (to - at) >> PAGE_SHIFT);
    }
}

/* A long written range is a hole, most likely: only what exists there is read. */
static void on_written(uintptr_t start, uintptr_t end, void *data)
{
    struct pass *p = data;
    bool long_range = end - start >= SPARSE_LEAST && p->m->pagemap != NULL;
    if (!long_range ||
        !pagemap_each(p->m->pagemap, PAGEMAP_POPULATED, start, end, read_pages, data))
        read_pages(start, end, data);
}

static void rescan_range(const struct barrier *barrier, struct pass *p, bool rearm, uintptr_t end)
{
    for (uintptr_t at = arena.base, to; at < end && !p->late; at = to) {
        to = size_min(at + PIECE, end);
        barrier->take(at, to, rearm, on_written, p);
        mark_flush(p->m);
        p->late |= p->deadline != 0 && clock_now_ns() > p->deadline;
    }
}

size_t rescan_heap(const struct barrier *barrier, struct marker *m, bool rearm, uint64_t deadline,
                   bool *complete)
{
    struct pass p = {m, deadline, 0, CLOCK_PAGES, false, true};
    uintptr_t old = armed_end, end = heap_end();
    if (rearm && end > old && arm(barrier, old, end))
        armed_end = end;
    rescan_range(barrier, &p, rearm, old);
    p.taken = false;
    if (!p.late && end > old)
        on_written(old, end, &p);
    mark_flush(m);
    *complete = !p.late;
    return p.pages;
}
