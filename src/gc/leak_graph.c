/* leak_graph.c -- direct and indirect leaks.
 *
 * Theory (LeakSanitizer's): a leaked block to which another leaked block points is indirect. Done
 * that way a ring has no direct member at all, and its head would be missing from the report; so
 * the graph is flooded from the direct blocks, and whatever indirect block no flood reached is in,
 * or behind, a pure cycle: the first such block in address order becomes the direct head of all
 * that it reaches.
 *
 * Two bits per granule, in mappings that exist from the mark to the end of its sweep only, and only
 * if anything was unreached. Cost: three passes over the unreached blocks, none over others. */
#include "gc/leak_graph.h"

#include "base/check.h"
#include "gc/mark.h"
#include "gc/protected.h"
#include "gc/scan.h"
#include "heap/judge.h"
#include "sys/mem.h"

static struct {
    uint8_t *indirect, *flooded;  /* a bit per granule of slabs [0, slabs) */
    size_t bytes;                 /* of each */
    uint32_t slabs;
    struct unreached what;
    scan_filter_fn *filter;
    struct pagemap *pagemap;      /* or NULL: large blocks are read whole */
    _Atomic uint32_t reading;     /* see protected.h */
    bool known;                   /* to protected.h */
} graph;

static bool bit(const uint8_t *bits, uintptr_t block)
{
    size_t granule = (block - arena.base) >> GRANULE_SHIFT;
    return (bits[granule / 8] >> (granule % 8)) & 1;
}

static void set_bit(uint8_t *bits, uintptr_t block, bool value)
{
    size_t granule = (block - arena.base) >> GRANULE_SHIFT;
    uint8_t mask = (uint8_t)(1u << (granule % 8));
    bits[granule / 8] = (uint8_t)(value ? bits[granule / 8] | mask : bits[granule / 8] & ~mask);
}

static void visit_all(judge_visit_fn *visit, void *data)
{
    uint32_t top = relaxed_load(&arena.top);
    for (uint32_t i = 0; i < top; i++) {
        struct slab *slab = slab_at(i);
        if (slab_kind(slab) >= SLAB_CLASSED && slab->head == i)
            judge_visit(slab, graph.what, visit, data);
    }
}

struct leak_counts leak_graph_count(unsigned confirm, bool kept_too)
{
    struct leak_counts counts = {0};
    uint32_t top = relaxed_load(&arena.top);
    graph.what.epoch = relaxed_load(&hot.epoch);
    graph.what.least = kept_too ? SLOT_KEPT : EPOCH_FIRST;
    for (uint32_t i = 0; i < top; i++) {
        struct slab *head = slab_at(i);
        if (slab_kind(head) < SLAB_CLASSED || head->head != i)
            continue;
        uint64_t size = head->object_size != 0 ? head->object_size : head->bytes;
        struct judge_counts c = judge_count(head, graph.what, confirm);
        counts.blocks += c.blocks;
        counts.bytes += c.blocks * size;
        counts.due_blocks += c.due;
        counts.due_bytes += c.due * size;
    }
    return counts;
}

typedef void target_fn(const struct block *target, void *data);

struct targets {
    uintptr_t from;          /* the block whose words are looked at */
    target_fn *call;
    void *data;
};

/* `words` may begin in the middle of a word. */
static void targets_in(const uintptr_t *words, size_t count, const struct targets *t)
{
    uintptr_t hits[SCAN_MOST];
    struct block target;
    size_t extent = (size_t)graph.slabs << SLAB_SHIFT;
    size_t found = graph.filter(words, count, arena.base, extent, hits);
    for (size_t i = 0; i < found; i++)
        if (block_find(hits[i], &target) && target.start != t->from &&
            slot_is_unreached(graph.what, relaxed_load(slot_of(target.start))))
            t->call(&target, t->data);
}

static void targets_in_range(uintptr_t start, uintptr_t end, void *data)
{
    const uintptr_t *words = (const uintptr_t *)start;
    const uintptr_t *halves = (const uintptr_t *)(start + WORD_SIZE / 2);
    size_t count = (end - start) / WORD_SIZE;
    for (size_t at = 0; at < count; at += SCAN_MOST)
        targets_in(words + at, size_min(count - at, SCAN_MOST), data);
    for (size_t at = 0; mark_overlap() != 0 && at + 1 < count; at += SCAN_MOST)
        targets_in(halves + at, size_min(count - 1 - at, SCAN_MOST), data);
}

/* The program may run: see protected.h. What cannot be read leads nowhere. */
static bool begin_reading(uintptr_t start, size_t size)
{
    atomic_store(&graph.reading, 1);
    if (!protected_direct_reads_forbidden() && !protected_overlaps(start, size))
        return true;
    atomic_store(&graph.reading, 0);
    return false;
}

/* Calls for each unreached block that a word of [start, start + size) points to, but for itself. A
 * large block is read only where it holds pages. */
static void each_target(uintptr_t start, size_t size, target_fn *call, void *data)
{
    struct targets t = {start, call, data};
    if (size >= PAGE_SIZE && !begin_reading(start, size))
        return;
    uintptr_t end = align_up(start + size, PAGE_SIZE);
    if (size < SPARSE_LEAST || graph.pagemap == NULL ||
        !pagemap_each(graph.pagemap, PAGEMAP_POPULATED, start, end, targets_in_range, &t))
        targets_in_range(start, start + size, &t);
    relaxed_store(&graph.reading, 0);
}

static void tag_indirect(const struct block *target, void *data)
{
    (void)data;
    set_bit(graph.indirect, target->start, true);
}

static void tag_targets(const struct block *b, uint8_t byte, void *data)
{
    (void)byte;
    if (!b->head->leaf)
        each_target(b->start, b->size, tag_indirect, data);
}

static void flood_push(const struct block *b, void *data)
{
    if (bit(graph.flooded, b->start))
        return;
    set_bit(graph.flooded, b->start, true);
    if (!b->head->leaf)
        worklist_push(data, (struct work){b->start, b->size});
}

static void flood(struct worklist *work, const struct block *head)
{
    flood_push(head, work);
    while (work->count != 0) {
        struct work item = work->items[--work->count];
        each_target(item.start, item.size, flood_push, work);
    }
}

static void flood_direct(const struct block *b, uint8_t byte, void *data)
{
    (void)byte;
    if (!bit(graph.indirect, b->start))
        flood(data, b);
}

/* Reached by no flood: the head of a pure cycle. */
static void flood_cycle(const struct block *b, uint8_t byte, void *data)
{
    (void)byte;
    if (bit(graph.flooded, b->start))
        return;
    set_bit(graph.indirect, b->start, false);
    flood(data, b);
}

void leak_graph_build(struct worklist *work, struct pagemap *pagemap)
{
    GC_ASSERT(graph.indirect == NULL && work->count == 0);
    if (!graph.known)
        protected_add_reader(&graph.reading);
    graph.known = true;
    graph.slabs = relaxed_load(&arena.top);
    graph.filter = scan_filter_best();
    graph.pagemap = pagemap;
    graph.bytes = (size_t)graph.slabs * (SLAB_SIZE / GRANULE / 8);
    uint8_t *bits = mem_map(align_up(2 * graph.bytes, PAGE_SIZE));
    if (bits == NULL)
        return;
    graph.indirect = bits;
    graph.flooded = bits + graph.bytes;
    visit_all(tag_targets, NULL);
    visit_all(flood_direct, work);
    visit_all(flood_cycle, work);
}

bool leak_graph_is_indirect(uintptr_t block)
{
    return graph.indirect != NULL && slab_index_of(block) < graph.slabs &&
           bit(graph.indirect, block);
}

void leak_graph_drop(void)
{
    if (graph.indirect != NULL)
        mem_release(graph.indirect, align_up(2 * graph.bytes, PAGE_SIZE));
    graph.indirect = graph.flooded = NULL;
}
