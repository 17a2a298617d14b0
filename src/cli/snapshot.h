/* snapshot.h -- a profile of a running process, as a file. */
#ifndef GC_CLI_SNAPSHOT_H
#define GC_CLI_SNAPSHOT_H

#include "cli/process.h"

enum { SNAPSHOT_NAME = 4096 };

/* Copies the profile that the page tells of to `path`, or, if that is NULL, to
 * gcmalloc.PID.N.profile; `name` (SNAPSHOT_NAME bytes) is where it went. On failure a line was
 * printed, and no file remains. */
enum status snapshot_fetch(const struct process *p, const struct stats_page *page, const char *path,
                           bool force, char *name);

#endif
