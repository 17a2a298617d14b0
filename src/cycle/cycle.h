/* cycle.h -- one collection, from the decision to the open sweep.
 *
 * A cycle runs on the thread that needed it, on a stack of its own, with the world stopped while it
 * marks. Thread safety: cycle_run and the hooks from any thread, holding no lock. */
#ifndef GC_CYCLE_H
#define GC_CYCLE_H

#include "base/base.h"
#include "heap/slab.h"

enum cycle_reason {
    CYCLE_GROWTH,  /* the heap has reached its trigger */
    CYCLE_STRESS,  /* every N allocations */
    CYCLE_MEMORY,  /* memory ran out */
    CYCLE_EXIT,    /* the last one: what is unreached now are the program's leaks */
};

#define CYCLE_PHASES(X) \
    X(IDLE)   /* no cycle; a sweep may be open */ \
    X(PREPARE) /* the last sweep is finished, roots are opened */ \
    X(MARK)   /* the world is stopped */ \
    X(SWEEP)  /* the judge's terms are set; mutators sweep on demand */

enum cycle_phase {
#define CYCLE_PHASE(name) CYCLE_##name##_PHASE,
    CYCLE_PHASES(CYCLE_PHASE)
#undef CYCLE_PHASE
};

/* What is known of a finished cycle. Times in nanoseconds, sizes in bytes. */
struct cycle_record {
    uint32_t number;
    enum cycle_reason reason;
    uint64_t begun;            /* since the library started */
    uint64_t stopping, marking, resuming; /* the pause, in three parts */
    uint64_t total;            /* collector time of all cycles so far */
    int64_t heap_before, live, goal;
    uint64_t stack_bytes, root_bytes;
    uint64_t marked_blocks, marked_bytes;
    uint64_t unreached_blocks, unreached_bytes;
    uint64_t due_blocks, due_bytes;
    bool reclaiming;
};

struct cycle_settings {
    int mode;                  /* MODE_OFF, MODE_REPORT, MODE_COLLECT */
    unsigned confirm;
    uint64_t stop_timeout_ns;
    int64_t min_heap;
    bool classify;             /* direct or indirect: for the report */
    /* Observers, set once; may be NULL. */
    void (*finished)(const struct cycle_record *record);
    /* A block was judged for good: reclaimed, or (at exit) left. A central lock is held. */
    void (*judged)(const struct block *block, unsigned age, bool indirect, bool reclaimed);
    /* For the pacer. */
    void (*set_trigger)(int64_t net_bytes);
};

/* False: no memory for the collector; nothing will ever be collected. */
bool cycle_start(const struct cycle_settings *settings);
/* Runs a cycle, unless another thread just did. False: it could not run. */
bool cycle_run(enum cycle_reason reason);
/* For alloc_hooks. */
void cycle_on_pressure(size_t upcoming);
void cycle_on_stress(void);
bool cycle_on_exhausted(size_t size);
/* Why the last attempt could not run, or why none ever can; NULL if all is well. */
const char *cycle_reason_not_run(void);
void cycle_disable(const char *reason);
/* Totals of the last finished cycle. */
struct cycle_record cycle_last(void);

/* Around fork. */
void cycle_lock_for_fork(void);
void cycle_unlock_after_fork(void);
void cycle_after_fork_in_child(void);

#endif
