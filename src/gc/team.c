#include "gc/team.h"
#include "sys/clock.h"
#include "heap/meta.h"

static struct marker leader;
static _Atomic bool aborted;

bool team_init(void) { worklist_init(&leader.work, arena.mark_stack, arena.mark_stack_size); return true; }
void team_start(unsigned workers, struct pagemap *pagemap) { (void)workers; relaxed_store(&aborted, false); leader.work.count = 0; marker_start(&leader, pagemap); }
struct marker *team_leader(void) { return &leader; }
bool team_drain(uint64_t deadline)
{
    while (!mark_drain_some(&leader)) {
        if (relaxed_load(&aborted) || (deadline != 0 && clock_now_ns() > deadline))
            return false;
    }
    return true;
}
void team_abort(void) { relaxed_store(&aborted, true); }
void team_end(void) { worklist_shrink(&leader.work); }
struct team_totals team_totals(void) { return (struct team_totals){leader.marked_blocks, leader.marked_bytes, leader.scanned_bytes}; }
void team_assist(uint64_t budget_ns) { (void)budget_ns; }
void team_open_guests(void) {}
void team_close_guests(void) {}
void team_after_fork(void) { leader.work.count = 0; }
void team_set_totals(struct team_totals t) { leader.marked_blocks = t.marked_blocks; leader.marked_bytes = t.marked_bytes; leader.scanned_bytes = t.scanned_bytes; }
