/* census.c -- counting beside a running program.
 *
 * A span is looked at under its class's lock, so that it stays one. A large block has no lock: its
 * descriptor is read, and counts if it still is one afterwards. What the program allocates and
 * frees meanwhile may be counted or not.
 *
 * Cost: some 5 ns a block. */
#include "heap/census.h"

#include "heap/central.h"
#include "heap/judge.h"

/* Fills what its slot byte says. False: it is not in use. */
static bool look(const struct block *block, struct census_entry *entry)
{
    struct standing s = standing_of(block);
    entry->start = block->start;
    entry->unreached = standing_is_unreached(s);
    entry->age = slot_is_live(s.byte) ? slot_age(s.epoch, s.byte) : 0;
    return slot_is_live(s.byte);
}

static void visit_span(struct slab *span, census_visit_fn *visit, void *data)
{
    struct block b = {.start = slab_address(slab_index(span)), .size = span->object_size,
                      .head = span};
    for (; b.slot < span->slots; b.slot++, b.start += b.size) {
        struct census_entry entry = {.stack = block_stack(&b), .size = span->object_size,
                                     .bytes = block_requested(&b)};
        if (look(&b, &entry))
            visit(&entry, data);
    }
}

static void visit_large(struct slab *slab, uint32_t index, census_visit_fn *visit, void *data)
{
    struct block b = {.start = slab_address(index), .head = slab};
    struct census_entry entry = {.stack = once(slab->stack),
                                 .bytes = once(slab->bytes) - once(slab->slack)};
    bool live = once(slab->head) == index && look(&b, &entry);
    if (live && slab_kind(slab) == SLAB_LARGE)
        visit(&entry, data);
}

void census_take(census_visit_fn *visit, void *data)
{
    for (uint32_t i = 0; i < relaxed_load(&arena.top); i++) {
        uint8_t kind = slab_kind(slab_at(i));
        struct slab *span = kind == SLAB_CLASSED ? central_hold_span(i) : NULL;
        if (span != NULL) {
            visit_span(span, visit, data);
            central_let_go(span);
        } else if (kind == SLAB_LARGE) {
            visit_large(slab_at(i), i, visit, data);
        }
    }
}
