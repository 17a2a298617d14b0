/* report.h -- what is told of the process, where to, and when. */
#ifndef GC_REPORT_H
#define GC_REPORT_H

#include "base/base.h"

/* Are leaks to be told at all: does anybody want sites and stacks? Constant once options are. */
bool report_records(void);
/* The process ends, and the last cycle has run. `not_collected`: why it could not, or NULL. */
void report_at_exit(const char *not_collected);

#endif
