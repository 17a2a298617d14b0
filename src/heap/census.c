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

/* Live, and not given up by the last mark. */
static bool counts(const struct block *block)
{
    struct standing s = standing_of(block);
    return slot_is_live(s.byte) && !standing_is_unreached(s);
}

static void visit_span(struct slab *span, census_visit_fn *visit, void *data)
{
    struct block b = {.start = slab_address(slab_index(span)), .size = span->object_size,
                      .head = span};
    for (; b.slot < span->slots; b.slot++, b.start += b.size) {
        struct census_entry entry = {block_stack(&b), span->object_size, block_requested(&b)};
        if (counts(&b))
            visit(&entry, data);
    }
}

static void visit_large(struct slab *slab, uint32_t index, census_visit_fn *visit, void *data)
{
    struct block b = {.start = slab_address(index), .head = slab};
    struct census_entry entry = {once(slab->stack), 0, once(slab->bytes) - once(slab->slack)};
    bool live = once(slab->head) == index && counts(&b);
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
