/* worklist.c -- growing and shrinking the work list. */
#include "gc/worklist.h"

#include "base/check.h"
#include "sys/mem.h"

/* Bytes committed at first; doubled from then on. 64 KiB hold 4,096 blocks: a depth-first mark
 * seldom needs more. */
enum { WORKLIST_STEP = 64 << 10 };

void worklist_init(struct worklist *list, void *memory, size_t bytes)
{
    *list = (struct worklist){.items = memory, .most = bytes / sizeof(struct work)};
}

bool worklist_grow(struct worklist *list)
{
    size_t have = list->committed * sizeof(struct work);
    size_t want = size_min(have == 0 ? WORKLIST_STEP : 2 * have,
                           align_down(list->most * sizeof(struct work), PAGE_SIZE));
    if (want > have && mem_commit((char *)list->items + have, want - have)) {
        list->committed = want / sizeof(struct work);
        return true;
    }
    list->overflowed = list->dropped = true;
    return false;
}

void worklist_shrink(struct worklist *list)
{
    size_t have = list->committed * sizeof(struct work);
    GC_ASSERT(list->count == 0);
    if (have > WORKLIST_STEP)
        mem_discard((char *)list->items + WORKLIST_STEP, have - WORKLIST_STEP);
}
