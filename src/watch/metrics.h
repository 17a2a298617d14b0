/* metrics.h -- the figures of a process as OpenMetrics text.
 *
 * Made from what the process shows of itself (stats_page.h), so the process and the gcmalloc
 * command write the same.
 *
 * Thread safety: no state. */
#ifndef GC_METRICS_H
#define GC_METRICS_H

#include "watch/stats_page.h"

/* Of all names, at most. */
enum { METRICS_PREFIX_MAX = 128 };

struct metrics_source {
    const char *prefix;            /* stands where Go's client writes "go" */
    const char *program;           /* at most 64 bytes */
    int pid;
    unsigned processors;           /* that the process may run on */
    const struct stats_page *page; /* a copy: nobody writes to it meanwhile */
};

/* Calls take() with each line in turn, newline included. */
void metrics_each_line(const struct metrics_source *source,
                       void (*take)(const char *line, void *data), void *data);

#endif
