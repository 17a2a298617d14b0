/* heap_check.c -- what the essays of the heap floor promise, looked at from outside.
 *
 *   .inv.coalesced .inv.tags .inv.dirty        page_heap.c   check_run, check_tree, check_unused
 *   .inv.free_zero                             slot.h        check_unused
 *   .inv.listed .inv.counted                   central.c     check_classed, check_lists
 *   .inv.committed                             meta.c        heap_check
 *
 * Two more hold between calls, though no essay names them: heap_used() is the bytes of all slots
 * that are not free, and a class keeps at most one empty span.
 *
 * The tree's root and the lists' heads are private to their modules, so both are found from
 * the descriptors: the root is the run that is nobody's child, a head the span without `prev`. */
#include "check/heap_check.h"

#include "base/rng.h"
#include "heap/heap_stats.h"
#include "heap/page_heap.h"
#include "heap/slab.h"

#include <stdio.h>

enum { CENTRALS = 4 * SIZE_CLASS_COUNT, GRANULES = SLAB_SIZE / GRANULE, COMPLAINTS_MOST = 20 };

static struct {
    const char *when;
    unsigned bad;
    struct heap_census census;
    uint32_t dirty, roots;
    uint32_t first[CENTRALS], listed[CENTRALS], empty[CENTRALS];
} check;

static void expect(bool good, const char *what, uint32_t slab)
{
    if (!good && check.bad++ < COMPLAINTS_MOST)
        printf("%s: slab %u: %s\n", check.when, slab, what);
}

static uint8_t byte_at(uint32_t slab, uint32_t granule)
{
    return relaxed_load(slot_of(slab_address(slab)) + granule);
}

static bool all_zero(uintptr_t start, size_t bytes)
{
    const uint64_t *words = (const uint64_t *)start;
    uint64_t any = 0;
    for (size_t i = 0; i < bytes / sizeof(*words); i++)
        any |= words[i];
    return any == 0;
}

static void check_clean(uint32_t index)
{
    if (arena.slab_dirty[index] == 0)
        expect(all_zero(slab_address(index), SLAB_SIZE), ".inv.dirty: a clean slab is zero", index);
}

static void check_unused(uint32_t index)
{
    expect(all_zero((uintptr_t)slot_of(slab_address(index)), GRANULES), ".inv.free_zero", index);
    expect(hot.slab_class[index] == 0, "slab_class of a free slab is 0", index);
    check_clean(index);
}

/* ---- free runs ---- */

static uint32_t longest(uint32_t ref)
{
    return ref == 0 ? 0 : slab_at(ref - 1)->longest;
}

static bool is_run_head(uint32_t index)
{
    return index < relaxed_load(&arena.top) && slab_kind(slab_at(index)) == SLAB_UNUSED &&
           (index == 0 || slab_kind(slab_at(index - 1)) != SLAB_UNUSED);
}

/* The subtree at `ref`, whose runs all lie in [low, high): order, priorities, longest. */
static uint32_t check_tree(uint32_t ref, uint32_t low, uint32_t high)
{
    if (ref == 0)
        return 0;
    uint32_t index = ref - 1;
    const struct slab *n = slab_at(index);
    if (index < low || index >= high || !is_run_head(index)) {
        expect(false, "the tree of free runs is in order", index);
        return 0;
    }
    expect(n->longest == size_max(n->run, size_max(longest(n->left), longest(n->right))),
           "longest run of the subtree", index);
    expect((n->left == 0 || mix64(n->left) <= mix64(ref)) &&
           (n->right == 0 || mix64(n->right) <= mix64(ref)), "priorities fall", index);
    return 1 + check_tree(n->left, low, index) + check_tree(n->right, index + 1, high);
}

static bool is_child(uint32_t index, uint32_t top)
{
    for (uint32_t i = 0; i < top; i++)
        if (is_run_head(i) && (slab_at(i)->left == index + 1 || slab_at(i)->right == index + 1))
            return true;
    return false;
}

/* Checks the free run at `index`, a maximal row of unused slabs; returns its length. */
static uint32_t check_run(uint32_t index, uint32_t top)
{
    uint32_t length = 0, dirty = 0;
    for (; index + length < top && slab_kind(slab_at(index + length)) == SLAB_UNUSED; length++) {
        dirty += arena.slab_dirty[index + length];
        check_unused(index + length);
    }
    expect(slab_at(index)->run == length, ".inv.coalesced, .inv.tags: run", index);
    expect(slab_at(index + length - 1)->run_head == index, ".inv.tags: run_head", index);
    expect(slab_at(index)->dirty == dirty, ".inv.dirty: the run counts its dirty slabs", index);
    check.dirty += dirty;
    check.census.unused += length;
    check.census.free_runs++;
    return length;
}

static void check_page_heap(uint32_t top)
{
    struct page_heap_stats stats = page_heap_stats();
    uint32_t reached = 0;
    for (uint32_t i = 0; i < top; i++) {
        if (!is_run_head(i) || is_child(i, top))
            continue;
        check.roots++;
        reached = check_tree(i + 1, 0, top);
    }
    expect(check.roots == (check.census.free_runs != 0), "the tree has one root", 0);
    expect(reached == check.census.free_runs, "the tree holds every free run", 0);
    expect(stats.free_slabs == check.census.unused, "free_slabs", 0);
    expect(stats.dirty_slabs == check.dirty, "dirty_slabs", 0);
    expect(stats.top_slabs == top, "top_slabs", 0);
}

/* ---- spans ---- */

static void count_block(uint8_t byte, size_t bytes)
{
    check.census.live += slot_is_live(byte);
    check.census.cached += byte == SLOT_CACHED;
    check.census.used_bytes += byte == SLOT_FREE ? 0 : bytes;
    expect(byte != 3, "a slot byte is never 3", 0);
}

static void check_common(uint32_t index, const struct slab *head, unsigned class)
{
    const struct slab *slab = slab_at(index);
    expect(slab_kind(slab) == slab_kind(head), "one kind in a span", index);
    expect(slab->head == slab_index(head), "head", index);
    expect(slab->size_class == head->size_class && slab->traced == head->traced &&
           slab->leaf == head->leaf, "class", index);
    expect(slab->magic == size_classes[class].magic && slab->slots == head->slots &&
           slab->object_size == size_classes[class].size, "descriptor of the class", index);
    bool slow = head->traced || head->leaf || slab->watched != 0 || hot.slow_free;
    expect(hot.slab_class[index] == (slow ? 0 : class << SIZE_CLASS_SHIFT), "slab_class", index);
    expect(arena.slab_dirty[index] == 1, "a slab in use counts as dirty", index);
}

/* Counts the free slots; all bytes that belong to no slot are 0. */
static uint32_t check_slots(uint32_t index, const struct slab *head, uint32_t slabs)
{
    uint32_t stride = head->object_size / GRANULE, free = 0;
    for (uint32_t granule = 0; granule < slabs * GRANULES; granule++) {
        uint8_t byte = byte_at(index, granule);
        if (granule % stride == 0 && granule / stride < head->slots) {
            free += byte == SLOT_FREE;
            count_block(byte, head->object_size);
        } else {
            expect(byte == 0, "a byte inside of a block, or behind the last slot, is 0", index);
        }
    }
    return free;
}

static uint32_t central_of(const struct slab *span)
{
    return span->size_class + (span->traced + 2u * span->leaf) * SIZE_CLASS_COUNT;
}

static uint32_t check_classed(uint32_t index)
{
    const struct slab *head = slab_at(index);
    unsigned class = head->size_class;
    if (class == 0 || class >= SIZE_CLASS_COUNT || head->head != index) {
        expect(false, "a span begins with its head, and has a class", index);
        return 1;
    }
    uint32_t slabs = size_classes[class].slabs, central = central_of(head);
    for (uint32_t i = 0; i < slabs; i++)
        check_common(index + i, head, class);
    expect(head->slots == size_classes[class].slots && slab_span(head) == slabs, "size", index);
    expect(head->free_slots == check_slots(index, head, slabs), ".inv.counted", index);
    expect((head->listed != 0) == (head->free_slots != 0), ".inv.listed", index);
    uint32_t stride = head->object_size / GRANULE;
    expect(head->cursor % stride == 0 && head->cursor <= head->slots * stride, "cursor", index);
    expect((head->records != NULL) == (head->traced != 0), "a traced span has records", index);
    check.listed[central] += head->listed;
    check.empty[central] += head->free_slots == head->slots;
    if (head->listed && head->prev == 0) {
        expect(check.first[central] == 0, "a list has one beginning", index);
        check.first[central] = index + 1;
    }
    check.census.empty_spans += head->free_slots == head->slots;
    check.census.spans++;
    check.census.classed += slabs;
    return slabs;
}

static void check_lists(void)
{
    for (uint32_t i = 1; i < CENTRALS; i++) {
        uint32_t count = 0, previous = 0, ref = check.first[i];
        while (ref != 0 && count <= check.listed[i]) {
            const struct slab *span = slab_at(ref - 1);
            expect(span->prev == previous, ".inv.listed: links agree", ref - 1);
            expect(span->listed && slab_kind(span) == SLAB_CLASSED && span->head == ref - 1 &&
                   central_of(span) == i,
                   ".inv.listed: spans of one class", ref - 1);
            previous = ref;
            ref = span->next;
            count++;
        }
        expect(count == check.listed[i], ".inv.listed: the list has all its spans", i);
        expect(check.empty[i] <= 1, "a class keeps at most one empty span", i);
    }
}

static uint32_t check_large(uint32_t index)
{
    const struct slab *head = slab_at(index);
    uint32_t slabs = head->slabs;
    if (head->head != index || slabs == 0) {
        expect(false, "a large block begins with its head", index);
        return 1;
    }
    expect(slabs == (head->bytes + SLAB_SIZE - 1) / SLAB_SIZE, "slabs of a large block", index);
    expect(is_aligned(head->bytes, GRANULE) && head->slots == 1, "size of a large block", index);
    for (uint32_t i = 0; i < slabs; i++) {
        check_common(index + i, head, 0);
        for (uint32_t granule = i == 0; granule < GRANULES; granule++)
            expect(byte_at(index + i, granule) == 0, "a byte inside of a large block", index);
    }
    expect(byte_at(index, 0) != SLOT_FREE, "a large block that is free is gone", index);
    count_block(byte_at(index, 0), head->bytes);
    check.census.large_blocks++;
    check.census.large += slabs;
    return slabs;
}

static uint32_t check_taken(uint32_t index)
{
    expect(hot.slab_class[index] == 0, "slab_class of a taken slab is 0", index);
    check_clean(index);
    check.census.taken++;
    return 1;
}

static uint32_t check_at(uint32_t index, uint32_t top)
{
    switch (slab_kind(slab_at(index))) {
    case SLAB_UNUSED:
        return check_run(index, top);
    case SLAB_TAKEN:
        return check_taken(index);
    case SLAB_CLASSED:
        return check_classed(index);
    case SLAB_LARGE:
        return check_large(index);
    default:
        expect(false, "a kind", index);
        return 1;
    }
}

bool heap_check(const char *when, struct heap_census *census)
{
    uint32_t top = relaxed_load(&arena.top), index = 0;
    __builtin_memset(&check, 0, sizeof(check));
    check.when = when;
    expect(top <= arena.committed && arena.committed <= arena.slab_count, ".inv.committed", top);
    while (index < top)
        index += check_at(index, top);
    expect(index == top, "the last span ends at the top", index);
    for (uint32_t i = top; i < arena.committed; i++)
        expect(slab_kind(slab_at(i)) == SLAB_UNUSED && arena.slab_dirty[i] == 0, "untouched", i);
    check_page_heap(top);
    check_lists();
    expect(heap_used() == (int64_t)check.census.used_bytes, "heap_used() is what is in use", 0);
    expect(relaxed_load(&heap_stats.large_count) == check.census.large_blocks, "large_count", 0);
    if (census != NULL)
        *census = check.census;
    fflush(stdout);
    return check.bad == 0;
}
