/* leak.h -- the leaks of the process so far, by allocation site, and their report at exit.
 *
 * Thread safety: leak_note from any thread (it is called by the sweeper, under a central lock);
 * leak_report_write when the process exits. */
#ifndef GC_LEAK_H
#define GC_LEAK_H

#include "base/base.h"
#include "heap/slab.h"

/* Adds a judged block to its site. For cycle_settings.judged. */
void leak_note(const struct block *block, unsigned age, bool indirect, bool reclaimed);

/* Counts those that the last mark has not reached and that are still there: reported from then on,
 * until the next count. They must not be judged meanwhile (CYCLE lock). */
void leak_count_present(void);
/* From now on there are none: the last mark's are all judged. */
void leak_end_present(void);

/* Has any leak been noted? */
bool leak_any(void);
/* Copies group `number`, from 0. False: there are not so many. Any thread. */
struct leak_group;
struct symbol_time;
bool leak_group(size_t number, struct leak_group *out);

struct leak_summary {
    const char *destination;      /* "stderr", "off", or a path in which %p is the process id */
    const char *not_collected;    /* why nothing was collected, or NULL */
    uint64_t reachable_blocks, reachable_bytes;
    const char *interlock;        /* why nothing was reclaimed in the end, or NULL */
    uint64_t contradictions;      /* their sites: cycle/probation.h */
    uint64_t written;             /* of these, pages that the barrier saw written */
    uint64_t withheld, touched;   /* blocks, by mode=shakedown */
    unsigned max_groups;          /* 0 = all */
    struct symbol_time *naming;   /* how long functions may be named */
    const char *no_stacks;        /* why none were recorded, or NULL */
};

/* Are there leaks that are not suppressed (suppress.h)? */
bool leak_any_unsuppressed(struct symbol_time *naming);
/* Writes the report. A file that cannot be opened is named on standard error, and the report goes
 * there. */
void leak_report_write(const struct leak_summary *summary);
/* Around fork. */
struct lock *leak_lock(void);

#endif
