/* oracle.c -- the reference mark.
 *
 * It runs as the mark of the epoch after the current one, over a copy: the slot bytes are saved, all
 * roots are read whole, and every live block that the second mark reached must carry the epoch of the
 * first in the saved bytes. Then they are put back. */
#include "gc/oracle.h"

#include "base/check.h"
#include "gc/team.h"
#include "heap/judge.h"
#include "heap/slab.h"
#include "sys/mem.h"
#include "sys/print.h"

#include <string.h>

static void check_span(struct slab *head, const uint8_t *saved, uint8_t epoch)
{
    uintptr_t start = slab_address(slab_index(head));
    for (uint32_t slot = 0; slot < head->slots; slot++) {
        uintptr_t block = start + (uintptr_t)slot * head->object_size;
        uint8_t before = saved[(block - arena.base) >> GRANULE_SHIFT];
        uint8_t now = relaxed_load(slot_of(block));
        if (now == epoch_next(epoch) && before != epoch && slot_is_live(before))
            print_fatal("oracle: the block at %p of %u bytes (class %u) is reachable, and was not "
                        "marked: its byte is %u, the epoch %u",
                        (void *)block, head->object_size, head->size_class, before, epoch);
    }
}

static void mark_all(const struct own_stack *self, struct roots_files *files)
{
    struct roots_request request = {.pass = ROOTS_ALL, .files = files, .self = *self};
    struct roots_stats stats;
    struct team_totals totals = team_totals();
    team_start(1, &files->pagemap);
    const char *reason = roots_scan(team_leader(), &request, &stats);
    if (reason != NULL)
        print_fatal("oracle: %s", reason);
    team_drain(0);
    team_set_totals(totals);
}

bool oracle_check(const struct own_stack *self, struct roots_files *files)
{
    uint32_t top = relaxed_load(&arena.top);
    size_t bytes = (size_t)top * (SLAB_SIZE / GRANULE);
    uint8_t epoch = relaxed_load(&hot.epoch);
    uint8_t *saved = mem_map(bytes);
    if (saved == NULL)
        return false;
    memcpy(saved, (const void *)(uintptr_t)hot.slots, bytes);
    relaxed_store(&hot.epoch, epoch_next(epoch));
    mark_all(self, files);
    relaxed_store(&hot.epoch, epoch);
    for (uint32_t i = 0; i < top; i++)
        if (slab_kind(slab_at(i)) >= SLAB_CLASSED && slab_at(i)->head == i)
            check_span(slab_at(i), saved, epoch);
    memcpy((void *)(uintptr_t)hot.slots, saved, bytes);
    mem_release(saved, bytes);
    return true;
}
