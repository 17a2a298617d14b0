/* pacer.h -- when the next cycle is due, by growth.
 *
 * Thread safety: under the CYCLE lock. */
#ifndef GC_PACER_H
#define GC_PACER_H

#include "base/base.h"

struct pacer_settings {
    int64_t percent;    /* GOGC; below 0: never by growth */
    int64_t min_heap;   /* bytes; smaller heaps are not collected */
};

struct pacer_input {
    int64_t live;       /* bytes in blocks that stay, when the cycle ended; those that are still
                         * to be confirmed do not count */
    int64_t roots;      /* bytes of stacks and other roots that were scanned */
    int64_t found;      /* bytes in blocks that the mark did not reach */
};

void pacer_start(const struct pacer_settings *settings);
/* Bytes by which the heap may grow before the first cycle, or after a cycle that ended thus. */
int64_t pacer_first(void);
int64_t pacer_next(const struct pacer_input *in);
/* A cycle was due and could not run: growth until the next attempt. */
int64_t pacer_retry(int64_t live);

#endif
