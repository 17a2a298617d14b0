/* procfs.h -- what /proc says of other processes.
 *
 * Any of it may be gone from one call to the next: whatever is missing is a `false` or an empty
 * list, with errno set, and never an end of the command. */
#ifndef GC_CLI_PROCFS_H
#define GC_CLI_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROCFS_PATH_LIKE __attribute__((format(printf, 1, 2)))

/* Opens a file by a path that is formatted; NULL with errno. */
FILE *procfs_open(const char *format, ...) PROCFS_PATH_LIKE;
/* Reads up to size - 1 bytes and ends them with NUL. False: it cannot be read. */
bool procfs_read(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Where a symbolic link leads; the same contract. */
bool procfs_link(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct procfs_numbers {
    int *list;
    size_t count;
};
/* The names of a directory that are numbers (processes, tasks, descriptors), ascending. The caller
 * frees `list`. */
struct procfs_numbers procfs_numbers(const char *format, ...) PROCFS_PATH_LIKE;

/* What stands behind "KEY:\t" in the text of a status file; NULL: no such line. */
const char *procfs_field(const char *status, const char *key);

#endif
