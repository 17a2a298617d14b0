/* metrics.h -- the figures of a process as OpenMetrics text. */
#ifndef GC_CLI_METRICS_H
#define GC_CLI_METRICS_H

#include "cli/process.h"

#include <stdio.h>

/* `prefix` stands where Go's client writes "go". */
void metrics_write(FILE *out, const char *prefix, const struct process *process,
                   const struct stats_page *page);

#endif
