/* executable.h -- the file that a program's name stands for, and whether the library can be loaded
 * into it. */
#ifndef GC_CLI_EXECUTABLE_H
#define GC_CLI_EXECUTABLE_H

#include <limits.h>

/* As a shell ends if it cannot run a program. */
enum {
    EXECUTABLE_DENIED = 126,
    EXECUTABLE_MISSING = 127,
};

/* Looks a name up as execvp does. 0, or one of the above, said. */
int executable_find(const char *name, char path[PATH_MAX]);
/* NULL, or why the loader would not load the library into it: "it is statically linked". For a
 * script the same of its interpreter. */
const char *executable_unfit(const char *path);

#endif
