/* guard_report.h -- what is said of a guarded block that was used wrongly (guard=N).
 *
 * Thread safety: any thread, in handlers of a fault too; one text at a time. */
#ifndef GC_GUARD_REPORT_H
#define GC_GUARD_REPORT_H

#include "mutator/guard.h"

/* For guard_start: what happened, and the stacks of it, of the block's free, and its allocation. */
void guard_report_print(const struct guard_error *error);

#endif
