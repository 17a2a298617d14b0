/* large.c -- one block a run of slabs.
 *
 * The usable size is the request rounded up to 16 bytes, as for reports; pages behind it in the
 * last slab are not touched, so they cost address space only. */
#include "heap/large.h"

#include "base/check.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"

struct heap_stats heap_stats;

static uint32_t slabs_for(size_t bytes)
{
    return (uint32_t)((bytes + SLAB_SIZE - 1) >> SLAB_SHIFT);
}

static void note_added(int64_t bytes)
{
    heap_note_used(bytes);
    relaxed_add(&heap_stats.large, bytes);
    if (bytes > 0)
        relaxed_add(&heap_stats.large_bytes_made, bytes);
}

static uint32_t take_run(uint32_t slabs, uint32_t alignment, bool *zeroed)
{
    if (!page_heap_has(slabs))
        sweep_for(slabs);
    return page_heap_alloc(slabs, alignment, zeroed);
}

void *large_alloc(size_t size, size_t alignment, bool *zeroed)
{
    size_t room = arena_size();
    if (size > room || alignment > room)
        return NULL;
    size_t bytes = align_up(size_max(size, 1), GRANULE);
    uint32_t slabs = slabs_for(bytes);
    uint32_t head = take_run(slabs, slabs_for(alignment), zeroed);
    if (head == NO_SLAB)
        return NULL;
    slab_make_large(head, slabs, bytes);
    slab_at(head)->slack = (uint32_t)(bytes - size);
    note_added((int64_t)bytes);
    relaxed_add(&heap_stats.large_count, 1);
    relaxed_add(&heap_stats.large_made, 1);
    uintptr_t start = slab_address(head);
    relaxed_store(slot_of(start), SLOT_CACHED);
    return (void *)start;
}

static void release(struct slab *head)
{
    uint32_t index = slab_index(head), slabs = head->slabs;
    GC_ASSERT(relaxed_load(slot_of(slab_address(index))) == SLOT_FREE);
    relaxed_add(&heap_stats.large, -(int64_t)head->bytes);
    relaxed_add(&heap_stats.large_count, (uint64_t)-1);
    slab_unmake(index, slabs);
    page_heap_free(index, slabs);
}

void large_free(struct slab *head)
{
    heap_note_returned((int64_t)head->bytes);
    release(head);
}

static void shrink(struct slab *head, uint32_t slabs)
{
    uint32_t index = slab_index(head), tail = head->slabs - slabs;
    head->slabs = slabs;
    slab_unmake(index + slabs, tail);
    page_heap_free(index + slabs, tail);
}

static bool grow(struct slab *head, uint32_t slabs)
{
    uint32_t index = slab_index(head), more = slabs - head->slabs;
    if (!page_heap_extend(index + head->slabs, more))
        return false;
    slab_extend_large(index, head->slabs, more);
    head->slabs = slabs;
    return true;
}

bool large_resize(struct slab *head, size_t size)
{
    if (size > arena_size())
        return false;
    size_t bytes = align_up(size, GRANULE);
    uint32_t slabs = slabs_for(bytes);
    if (slabs > head->slabs && !grow(head, slabs))
        return false;
    note_added((int64_t)bytes - (int64_t)head->bytes);
    head->bytes = bytes;
    head->slack = (uint32_t)(bytes - size);
    if (slabs < head->slabs)
        shrink(head, slabs);
    return true;
}

void large_sweep(uint32_t index)
{
    struct slab *head = slab_at(index);
    if (slab_kind(head) != SLAB_LARGE || head->head != index || judge_span(head) == 0)
        return;
    heap_note_reclaimed(1, head->bytes);
    release(head);
}
