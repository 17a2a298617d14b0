/* pacer.h -- when the next cycle is due, by growth.
 *
 * Thread safety: under the CYCLE lock; pacer_mark_time any thread. */
#ifndef GC_PACER_H
#define GC_PACER_H

#include "base/base.h"

struct pacer_settings {
    int64_t percent;    /* GOGC; below 0: never by growth */
    int64_t min_heap;   /* bytes; smaller heaps are not collected */
    int64_t limit;      /* bytes to stay below; 0: none is known at the start */
};

struct pacer_input {
    int64_t live;       /* bytes in blocks that stay, when the cycle ended; those that are still
                         * to be confirmed do not count */
    int64_t roots;      /* bytes of stacks and other roots that were scanned */
    int64_t found;      /* bytes in blocks that the mark did not reach */
    int64_t marked;     /* bytes in blocks that it did reach */
    int64_t before, now;/* heap_net() when the cycle began and ended */
    int64_t returned;   /* heap_returned() when it ended */
    int64_t room;       /* bytes until a limit of memory; INT64_MAX: there is none */
    uint64_t took;      /* nanoseconds */
};

/* In terms of heap_net(). */
struct pacer_plan {
    int64_t trigger;    /* start the next cycle here … */
    int64_t goal;       /* … so that it ends here: from there on who allocates helps to mark … */
    int64_t hard;       /* … and here waits for its end */
    int64_t growth;     /* what the heap may grow by from one cycle to the next */
    uint64_t rest;      /* nanoseconds that must pass before the next cycle begins */
};

void pacer_start(const struct pacer_settings *settings);
/* Before the first cycle. */
struct pacer_plan pacer_first(void);
/* After a cycle that ended thus. */
struct pacer_plan pacer_next(const struct pacer_input *in);
/* Changes what pacer_start was given; the plan is then made anew by pacer_again. */
void pacer_change(const struct pacer_settings *settings);
/* From what the last cycle was, if there was one, with `room` as it is now. */
struct pacer_plan pacer_again(int64_t room);
/* A cycle was due and could not run. `now`: heap_net(); `live`: heap_used(). */
struct pacer_plan pacer_retry(int64_t now, int64_t live);
/* How long marking a heap of so many bytes takes, and the roots with it, from what the last cycle
 * took. Nanoseconds. */
uint64_t pacer_mark_time(int64_t bytes);

#endif
