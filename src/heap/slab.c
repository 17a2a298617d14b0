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
        slab->magic = common->magic;
        slab->object_size = common->object_size;
        slab->slots = common->slots;
        slab->head = head;
        release_store(&slab->kind, common->kind);
    }
}

static const struct slab large_common = {.kind = SLAB_LARGE, .slots = 1};

void slab_make_classed(uint32_t head, unsigned size_class, bool traced)
{
    const struct size_class *class = &size_classes[size_class];
    struct slab common = {.kind = SLAB_CLASSED, .size_class = (uint8_t)size_class,
                          .traced = traced, .magic = class->magic, .object_size = class->size,
                          .slots = class->slots};
    bool slow = traced || hot.slow_free;
    uint16_t told = slow ? 0 : (uint16_t)(size_class << SIZE_CLASS_SHIFT); /* to free() */
    struct slab *slab = slab_at(head);
    slab->next = slab->prev = 0;
    slab->free_slots = class->slots;
    slab->cursor = 0;
    slab->listed = 0;
    slab->records = NULL;
    relaxed_store(&slab->swept, relaxed_load(&hot.epoch));
    for (uint32_t i = 0; i < class->slabs; i++)
        hot.slab_class[head + i] = told;
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
    fill(head, old, old + more, &large_common);
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
