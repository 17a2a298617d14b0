/* history.h -- cycles and moments of the process's life, for those who draw it.
 *
 * Thread safety: each function takes the HISTORY lock. */
#ifndef GC_HISTORY_H
#define GC_HISTORY_H

#include "cycle/cycle.h"
#include "watch/stats_page.h"

/* A cycle has ended. `resident`: memory of the process now; 0: not known. */
void history_add_cycle(const struct cycle_record *record, uint64_t resident);
/* One more moment, if the last one is long enough ago. */
void history_add_moment(uint64_t resident);

/* What all cycles together were, and the last one. */
struct history_sums {
    uint64_t forced, pause_total, pause_longest;
    uint64_t collector_time;
    uint64_t live, unreached;   /* bytes, by the last mark */
    struct stats_cycle last;    /* number 0: there was none */
};
struct history_sums history_sums(void);
/* How long each of the last cycles stopped the program, and when it ended (ns since the start):
 * those of cycle n at [(n + STATS_CYCLES - 1) % STATS_CYCLES], as in Go's PauseNs. */
void history_pauses(uint64_t paused_out[STATS_CYCLES], uint64_t ended_out[STATS_CYCLES]);
/* Copies what is kept, oldest first; returns how many there are. */
uint32_t history_cycles(struct stats_cycle out[STATS_CYCLES]);
uint32_t history_moments(struct stats_moment out[STATS_HISTORY]);

struct lock *history_lock(void);

#endif
