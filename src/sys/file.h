/* file.h -- a small file as bytes, without libc.
 *
 * Thread safety: no state. */
#ifndef GC_FILE_H
#define GC_FILE_H

#include "base/base.h"

/* Reads up to `capacity` bytes; returns how many, or -errno. Needs a descriptor for a moment; does
 * not wait for a writer. */
long file_read(const char *path, char *to, size_t capacity);

#endif
