/* directory.h -- the names in a directory, without libc.
 *
 * Thread safety: no state. */
#ifndef GC_DIRECTORY_H
#define GC_DIRECTORY_H

#include "base/base.h"

/* Calls visit for each name, "." and ".." too, until one returns false. False: that, or the
 * directory cannot be read to its end. */
bool directory_each(const char *path, bool (*visit)(const char *name, void *data), void *data);

#endif
