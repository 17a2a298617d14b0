/* cycle.h -- one collection, from arming the heap to the open sweep.
 *
 * Who runs it, where and when, is the collector's business (collector.h). Thread safety: under the
 * CYCLE lock, except as said. */
#ifndef GC_CYCLE_H
#define GC_CYCLE_H

#include "base/base.h"
#include "cycle/pacer.h"
#include "cycle/probation.h"
#include "gc/roots.h"
#include "heap/slab.h"

enum cycle_reason {
    CYCLE_GROWTH,  /* the heap has reached its trigger */
    CYCLE_STRESS,  /* every N allocations */
    CYCLE_MEMORY,  /* memory ran out, or a limit is near */
    CYCLE_EXIT,    /* the last one: what is unreached now are the program's leaks */
    CYCLE_REQUEST, /* somebody asked for it, and wants to know what leaks */
};

#define CYCLE_PHASES(X) \
    X(IDLE)   /* no cycle; a sweep may be open */ \
    X(ARM)    /* the last sweep is finished, the heap is armed */ \
    X(MARK)   /* roots and graph are marked while the program runs */ \
    X(RESCAN) /* what it wrote meanwhile is read again */ \
    X(FINAL)  /* the world is stopped */ \
    X(SWEEP)  /* what was not reached is judged */

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
    uint64_t took;             /* from the beginning to the open sweep */
    uint64_t stopping;         /* of a cycle in one stop: until the world stood still */
    unsigned pauses;
    uint64_t pause, paused;    /* the longest, and all together, the stopping included */
    uint64_t total;            /* collector time of all cycles so far */
    int64_t heap_before, heap_marked, net_before, live, goal;
    uint64_t stack_bytes, root_bytes;
    uint64_t marked_blocks, marked_bytes;
    uint64_t unreached_blocks, unreached_bytes;
    uint64_t due_blocks, due_bytes;
    bool reclaiming;
    const char *interlock;     /* why nothing may be reclaimed, though all was marked; or NULL */
    struct probation_status trust;
};

struct cycle_settings {
    int mode;                  /* MODE_OFF, MODE_REPORT, MODE_COLLECT, MODE_SHAKEDOWN */
    unsigned confirm;
    unsigned workers;
    uint64_t stop_timeout_ns;
    uint64_t pause_ns;         /* a pause that would take longer is broken off */
    int64_t limit;             /* bytes of memory to stay below; 0: the control group's */
    bool classify;             /* direct or indirect: for the report */
    bool oracle;               /* each mark is checked by a second one */
    /* Observers, set once; may be NULL. */
    /* A block was judged for good: reclaimed, or (at exit) left. A central lock is held. */
    void (*judged)(const struct block *block, unsigned age, bool indirect, bool reclaimed);
    /* A block is to be withheld, and not reclaimed. The same. */
    void (*withhold)(const struct block *block);
    /* For the pacer. */
    void (*set_trigger)(int64_t net_bytes);
};

/* How a collection is to be run. */
struct cycle_order {
    enum cycle_reason reason;
    const struct barrier *barrier; /* NULL: in one stop */
    struct roots_files *files; /* open; NULL: they are opened while the world is stopped */
    uintptr_t low;             /* of the caller's stack in use; 0: not the program's thread */
};

/* False: no memory for the collector; nothing will ever be collected. */
bool cycle_start(const struct cycle_settings *settings);
/* Runs a cycle on the calling thread, whose stack below order->low is not scanned. NULL, or why it
 * could not be finished (a static text): then nothing was judged. */
const char *cycle_collect(const struct cycle_order *order);
/* New settings: the next cycle, and when it is due, go by them. */
void cycle_change(const struct pacer_settings *pacing, unsigned confirm);
/* Stops the world, on the terms of a mark in one stop, and calls look with what it takes to scan
 * all roots. The last sweep is finished. NULL, or why that was not possible. */
struct roots_request;
const char *cycle_inspect(const struct cycle_order *order,
                          void (*look)(const struct roots_request *all, void *data), void *data);
/* Any thread: lets a mark that is under way be given up soon, and all others until told otherwise.
 * */
void cycle_abort(bool abort);
/* Any thread: one more, or one less, of the program waits for the end of this cycle. */
void cycle_note_waiting(int change);
/* Any thread: heap_net() from which allocating threads help the cycle, and wait for its end. */
int64_t cycle_goal(void);
int64_t cycle_hard_goal(void);
/* Any thread: no cycle for growth is to begin yet. */
bool cycle_is_resting(void);
/* Any thread: a hint. */
enum cycle_phase cycle_phase(void);
/* Totals of the last cycle. */
struct cycle_record cycle_last(void);
void cycle_after_fork_in_child(void);

#endif
