/* slab.c -- making and unmaking spans.
 *
 * A marker may read a descriptor at any moment, so a span appears with `kind` stored last
 * (release) in each slab, the head first: an address in a slab whose kind is not yet set is in no
 * block, which is true, since no pointer to the block has been handed out. It disappears with
 * `kind` cleared first. */
#include "heap/slab.h"

#include "base/check.h"

/* Fills the descriptors of slabs [from, to) of the span at `head`. */
static void fill(uint32_t head, uint32_t from, uint32_t to, const struct slab *common)
{
    for (uint32_t i = from; i < to; i++) {
        struct slab *slab = slab_at(head + i);
        GC_ASSERT(slab_kind(slab) == SLAB_TAKEN);
        slab->size_class = common->size_class;
        slab->traced = common->traced;
        slab->leaf = common->leaf;
        slab->magic = common->magic;
        slab->object_size = common->object_size;
        slab->slots = common->slots;
        slab->head = head;
        slab->watched = 0;
        release_store(&slab->kind, common->kind);
    }
}

static const struct slab large_common = {.kind = SLAB_LARGE, .slots = 1};

/* What free() is told of each slab of such a span: the class, or 0 for the slow path. */
static uint16_t told_of(const struct slab *slab)
{
    bool slow = slab->kind != SLAB_CLASSED || slab->traced || slab->leaf || hot.slow_free;
    return slow ? 0 : (uint16_t)(slab->size_class << SIZE_CLASS_SHIFT);
}

void slab_make_classed(uint32_t head, unsigned size_class, bool traced, bool leaf)
{
    const struct size_class *class = &size_classes[size_class];
    struct slab common = {.kind = SLAB_CLASSED, .size_class = (uint8_t)size_class,
                          .traced = traced, .leaf = leaf, .magic = class->magic,
                          .object_size = class->size, .slots = class->slots};
    struct slab *slab = slab_at(head);
    slab->next = slab->prev = 0;
    slab->free_slots = class->slots;
    slab->cursor = 0;
    slab->listed = 0;
    slab->records = NULL;
    relaxed_store(&slab->swept, relaxed_load(&hot.epoch));
    for (uint32_t i = 0; i < class->slabs; i++)
        hot.slab_class[head + i] = told_of(&common);
    fill(head, 0, class->slabs, &common);
}

void slab_make_large(uint32_t head, uint32_t slabs, size_t bytes)
{
    struct slab *slab = slab_at(head);
    slab->bytes = bytes;
    slab->slabs = slabs;
    slab->stack = 0;
    slab->slack = 0;
    fill(head, 0, slabs, &large_common);
}

void slab_extend_large(uint32_t head, uint32_t old, uint32_t more)
{
    struct slab common = large_common;
    common.leaf = slab_at(head)->leaf;
    fill(head, old, old + more, &common);
}

void slab_set_leaf(uint32_t head)
{
    uint32_t slabs = slab_at(head)->slabs;
    for (uint32_t i = 0; i < slabs; i++)
        slab_at(head + i)->leaf = 1;
}

void slab_watch(uintptr_t block)
{
    uint32_t index = slab_index_of(block);
    slab_at(index)->watched++;
    hot.slab_class[index] = 0;
}

void slab_unwatch(uintptr_t block)
{
    uint32_t index = slab_index_of(block);
    struct slab *slab = slab_at(index);
    GC_ASSERT(slab->watched != 0);
    if (--slab->watched == 0)
        hot.slab_class[index] = told_of(slab);
}

void slab_unmake(uint32_t head, uint32_t slabs)
{
    for (uint32_t i = 0; i < slabs; i++) {
        release_store(&slab_at(head + i)->kind, SLAB_TAKEN);
        hot.slab_class[head + i] = 0;
    }
}

uint32_t slab_span(const struct slab *head)
{
    if (slab_kind(head) == SLAB_LARGE)
        return head->slabs;
    return size_classes[head->size_class].slabs;
}
