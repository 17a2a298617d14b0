/* library.h -- where libgcmalloc.so is. */
#ifndef GC_CLI_LIBRARY_H
#define GC_CLI_LIBRARY_H

#include <limits.h>
#include <stdbool.h>

/* Its absolute path: GCMALLOC_LIBRARY, else beside the command in the build tree, else in the lib
 * directories of the prefix that the command is installed in. False, said, if there is none. */
bool library_find(char path[PATH_MAX]);

#endif
