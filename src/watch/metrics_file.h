/* metrics_file.h -- the figures of this process in the file that metrics=PATH names.
 *
 * Thread safety: the collector's thread, which has descriptors of its own; metrics_file_wanted on
 * any. */
#ifndef GC_METRICS_FILE_H
#define GC_METRICS_FILE_H

#include "watch/stats_page.h"

#include <stdbool.h>

/* Once; and in fork's child. */
void metrics_file_start(void);
void metrics_file_after_fork(void);
/* Is metrics_file_write to be called now and then? */
bool metrics_file_wanted(void);
/* Nothing happens in a child of fork whose parent's file it is. A file that cannot be written is
 * told of, once. */
void metrics_file_write(const struct stats_page *page);

#endif
