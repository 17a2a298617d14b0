/* team.h -- the markers of a marking phase.
 *
 *     team_hire(workers)                  the program runs
 *     team_start(workers, pagemap)        a new epoch has begun
 *       mark_words(team_leader(), …) …    what the roots hold
 *       team_drain(deadline)              false: not all; again later
 *     team_end()
 *
 * The leader is the thread that calls; workers are threads of ours that help it within team_drain,
 * and sleep otherwise; guests are threads of the program that allocate faster than we mark.
 *
 * Thread safety: one thread at a time leads. team_abort, team_assist: any thread. */
#ifndef GC_TEAM_H
#define GC_TEAM_H

#include "gc/mark.h"

enum { TEAM_MOST = 8, TEAM_GUESTS = 4 }; /* workers, the leader being one of them; guests */

struct team_totals {
    uint64_t marked_blocks, marked_bytes, scanned_bytes;
};

/* After arena_init. Once; later calls do nothing. False: no memory. */
bool team_init(void);
/* The reservation for work lists (arena.mark_stack) has become smaller: divides it again. Between
 * phases. */
void team_divide(void);
/* Starts threads for `workers` markers, the leader included, and returns how many there are now.
 * Takes locks and memory: before the world is stopped. */
unsigned team_hire(unsigned workers);
/* The workers' threads have ended on return. Between phases. */
void team_dismiss(void);
/* Begins a marking phase: hot.epoch has its new value. `workers` markers, the leader included, but
 * no more than were hired. Work left of an earlier phase is dropped. */
void team_start(unsigned workers, struct pagemap *pagemap);
struct marker *team_leader(void);
/* Marks everything reachable from what was fed so far. False: clock_now_ns() passed `deadline`
 * (0: none), or team_abort() was called in this phase; the rest stays for a later call. After false
 * workers may take some 20 us to stop. */
bool team_drain(uint64_t deadline);
void team_abort(void);
/* Some list could not take what it was given in this phase. After a team_drain that returned true:
 * every block that was marked has been read all the same. */
bool team_dropped(void);
/* The phase is over: returns when no worker and no guest marks any more. */
void team_end(void);

/* Sums over all markers; exact after a team_drain that returned true. */
struct team_totals team_totals(void);
/* For a mark whose results shall not count. */
void team_set_totals(struct team_totals totals);

/* A thread of the program marks along, for about `budget_ns`, and not at all if the door is closed,
 * nothing is to be had, or TEAM_GUESTS are there already. Signals blocked, no lock held. */
void team_assist(uint64_t budget_ns);
/* The door is closed at first. Closing it waits for the guests to leave, ~20 us: before the world
 * is stopped, since a stopped guest could not leave. */
void team_open_guests(void);
void team_close_guests(void);

/* In the child of fork: there are no other markers, and no work. */
void team_after_fork(void);

#endif
