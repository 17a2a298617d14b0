/* team.h -- the markers of a marking phase. */
#ifndef GC_TEAM_H
#define GC_TEAM_H

#include "gc/mark.h"

struct team_totals {
    uint64_t marked_blocks, marked_bytes, scanned_bytes;
};

bool team_init(void);
void team_start(unsigned workers, struct pagemap *pagemap);
struct marker *team_leader(void);
bool team_drain(uint64_t deadline);
void team_abort(void);
void team_end(void);
struct team_totals team_totals(void);
void team_set_totals(struct team_totals totals);
void team_assist(uint64_t budget_ns);
void team_open_guests(void);
void team_close_guests(void);
void team_after_fork(void);

#endif
