/* worklist.h -- marked blocks whose words have not been looked at yet.
 *
 * A stack in its own part of the reservation (heap/meta.h), committed as it grows. When it cannot
 * grow, the block is dropped and `overflowed` set: the marker then finds marked blocks by walking
 * the slabs. Thread safety: one owner. */
#ifndef GC_WORKLIST_H
#define GC_WORKLIST_H

#include "base/base.h"

struct work {
    uintptr_t start;
    size_t size;
};

struct worklist {
    struct work *items;
    size_t count, committed, most; /* in items */
    bool overflowed;
    bool dropped;                  /* it was, in this phase */
};

/* Uses [memory, memory + bytes), which is reserved, and holds nothing. */
void worklist_init(struct worklist *list, void *memory, size_t bytes);
/* The slow part of worklist_push: more room, or `overflowed`. */
bool worklist_grow(struct worklist *list);
/* Gives memory beyond a small rest back to the kernel; the list is empty. */
void worklist_shrink(struct worklist *list);

GC_INLINE void worklist_push(struct worklist *list, struct work work)
{
    if (GC_UNLIKELY(list->count == list->committed) && !worklist_grow(list))
        return;
    list->items[list->count++] = work;
}

#endif
