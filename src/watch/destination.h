/* destination.h -- files that options name: where reports and profiles go.
 *
 * Thread safety: any thread. */
#ifndef GC_DESTINATION_H
#define GC_DESTINATION_H

#include "base/base.h"

/* "stderr" is standard error; else a path, in which %p becomes the process id, %n the number of the
 * files opened so far, from 1, and %% a %. An existing file is replaced. If it cannot be opened,
 * that is said, and `what` goes to standard error; with `or_error` false: -1. */
int destination_open(const char *option, const char *what, bool or_error);
void destination_close(int fd);

#endif
