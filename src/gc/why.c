/* why.c -- the shortest way from a root to a block.
 *
 * Theory: a mark of its own, breadth first, that notes of each block by which other one it was
 * found. The work list of the leader is the queue, of which nothing is taken off; `parents` has a
 * number for each of its items. It ends as soon as the block is marked. Then the roots are read a
 * second time for the one that holds the first block of the way: so the first time nothing need be
 * remembered of them, and no mark pays for it.
 *
 * The other choice was to search backwards, with one scan of the whole heap a step: less memory,
 * but a list of a thousand nodes would take a thousand scans.
 *
 *   .inv.epoch    It marks with the epoch after the current one, which no byte has (oracle.c knows
 *                 why), and puts those bytes back that have it, to what they were. Other bytes are
 *                 none of its business: the collector's thread may be giving free blocks back. No
 *                 sweep is open, so nobody else changes a live byte.
 *   .inv.stacks   What the calling thread's own stack holds comes last: it asks for the block, so
 *                 most often it is the block's address.
 *
 * Cost: a mark by one thread, without the shortcuts of mark_loop.h, some 100 ns a block, and twice
 * the roots; memory for a byte a granule, and 20 bytes a block. */
#include "gc/why.h"

#include "base/check.h"
#include "gc/protected.h"
#include "gc/team.h"
#include "heap/slab.h"
#include "mutator/park.h"
#include "sys/mem.h"

#include <string.h>

static struct {
    struct marker *m;
    struct pagemap *pagemap;
    uintptr_t block;
    uint8_t *saved;          /* slot bytes, a granule each */
    size_t granules;
    uint32_t *parents;       /* by items of the work list: index + 1, 0 = a root */
    size_t parents_size;
} search;

static bool is_marked(uintptr_t block)
{
    return relaxed_load(slot_of(block)) == search.m->epoch;
}

static bool get_memory(void)
{
    size_t blocks = search.m->work.most;
    search.granules = (size_t)relaxed_load(&arena.top) * (SLAB_SIZE / GRANULE);
    blocks = size_min(blocks, search.granules);
    search.parents_size = align_up((blocks + 1) * sizeof search.parents[0], PAGE_SIZE);
    search.saved = mem_map(search.granules);
    search.parents = mem_map(search.parents_size);
    return search.saved != NULL && search.parents != NULL;
}

static void release_memory(void)
{
    if (search.saved != NULL)
        mem_release(search.saved, search.granules);
    if (search.parents != NULL)
        mem_release(search.parents, search.parents_size);
}

/* .inv.epoch */
static void restore_bytes(void)
{
    for (size_t i = 0; i < search.granules; i++)
        if (relaxed_load(&hot.slots[i]) == search.m->epoch)
            relaxed_store(&hot.slots[i], search.saved[i]);
}

static void read_pages(uintptr_t start, uintptr_t end, void *data)
{
    const uintptr_t *block_end = data;
    end = size_min(end, *block_end);
    mark_words(search.m, (const uintptr_t *)start, (end - start) / WORD_SIZE);
}

static void read_item(struct work item)
{
    uintptr_t start = item.start - (item.size >= SPARSE_LEAST ? item.start % GRANULE : 0);
    uintptr_t end = start + item.size;
    if (protected_direct_reads_forbidden() || protected_overlaps(start, item.size))
        search.m->read_carefully(search.m, (struct work){start, item.size});
    else if (item.size < SPARSE_LEAST ||
             !pagemap_each(search.pagemap, PAGEMAP_POPULATED, start, align_up(end, PAGE_SIZE),
                           read_pages, &end))
        read_pages(start, end, &end);
    mark_flush(search.m);
}

/* From the items that there are on. Index + 1 of the one that refers to the block; 0: a root does,
 * or nobody. *at: where it goes on another time. */
static uint32_t spread(size_t *at)
{
    struct worklist *queue = &search.m->work;
    while (!is_marked(search.block) && *at < queue->count) {
        size_t before = queue->count;
        uint32_t parent = (uint32_t)++*at;
        read_item(queue->items[parent - 1]);
        for (size_t i = before; i < queue->count; i++)
            search.parents[i] = parent;
        if (is_marked(search.block))
            return parent;
    }
    return 0;
}

/* .inv.stacks. False: the roots could not be read. */
static bool search_from(const struct roots_request *all, bool own_stack, size_t *at,
                        uint32_t *parent)
{
    struct roots_request request = *all;
    struct roots_stats stats;
    if (!own_stack && (park_self == NULL || park_self->stack_hint <= all->self.low))
        return true;
    if (!own_stack)
        request.self.low = park_self->stack_hint;
    const char *reason = roots_scan(search.m, &request, &stats);
    mark_flush(search.m);
    if (reason == NULL)
        *parent = spread(at);
    return reason == NULL && !search.m->work.overflowed;
}

static uintptr_t item_start(uint32_t item)
{
    return align_down(search.m->work.items[item - 1].start, GRANULE);
}

static struct why_step step_of(uintptr_t start)
{
    struct block b;
    if (!block_find(start, &b))
        return (struct why_step){start, 0, 0};
    return (struct why_step){b.start, block_requested(&b), block_stack(&b)};
}

/* Root first; the block itself is the last, and in the list or not. */
static void note_steps(struct why *why, uint32_t parent)
{
    size_t depth = 1;
    for (uint32_t item = parent; item != 0; item = search.parents[item - 1])
        depth++;
    why->count = size_min(depth, WHY_STEPS);
    why->skipped = depth - why->count;
    size_t at = depth - 1;
    for (uint32_t item = parent; item != 0; item = search.parents[item - 1])
        if (--at < why->count - 1)
            why->steps[at] = step_of(item_start(item));
    why->steps[why->count - 1] = step_of(search.block);
}

/* The first block of the way. */
static uintptr_t first_step(uint32_t parent)
{
    uintptr_t first = search.block;
    for (uint32_t item = parent; item != 0; item = search.parents[item - 1])
        first = item_start(item);
    return first;
}

/* Once more, for the one root. No step is noted yet: `why` lies in a mapping, like any root. */
static void find_place(const struct roots_request *all, uintptr_t first, struct why *why)
{
    struct block b;
    struct roots_stats stats;
    struct roots_request request = *all;
    if (!block_find(first, &b))
        return;
    struct roots_seek seek = {.start = b.start, .size = b.size};
    slot_byte *byte = slot_of(b.start);
    relaxed_store(byte, search.saved[byte - hot.slots]);
    request.seek = &seek;
    roots_scan(search.m, &request, &stats);
    why->place = seek.place;
    why->complete = seek.found;
}

static void find_way(const struct roots_request *all, struct why *why)
{
    uint32_t parent = 0;
    size_t at = 0;
    marker_start(search.m, search.pagemap);
    search.m->epoch = epoch_next(search.m->epoch);
    why->complete = search_from(all, false, &at, &parent);
    bool own_stack = why->complete && !is_marked(search.block);
    if (own_stack)
        why->complete = search_from(all, true, &at, &parent);
    why->reached = is_marked(search.block);
    if (!why->complete || !why->reached)
        return;
    struct roots_request again = *all;
    if (!own_stack && park_self != NULL)
        again.self.low = size_max(again.self.low, park_self->stack_hint);
    find_place(&again, first_step(parent), why);
    note_steps(why, parent);
}

void why_find(const struct roots_request *all, uintptr_t block, struct why *why)
{
    search.m = team_leader();
    search.pagemap = &all->files->pagemap;
    search.block = block;
    why->complete = why->reached = false;
    if (get_memory()) {
        memcpy(search.saved, (const void *)(uintptr_t)hot.slots, search.granules);
        find_way(all, why);
        restore_bytes();
    }
    search.m->work.count = 0;
    worklist_shrink(&search.m->work);
    release_memory();
}
