/* destination.h -- files that options name: where reports and profiles go.
 *
 * Thread safety: any thread. */
#ifndef GC_DESTINATION_H
#define GC_DESTINATION_H

#include "base/base.h"

struct destination {
    int fd;         /* negative: there is none */
    bool is_stderr;
};

/* "stderr" is standard error, if it still is what it was; else a path, in which %p becomes the
 * process id, %n the number of the files opened so far, from 1, and %% a %. An existing file is
 * replaced. If it cannot be opened that is said, and with `or_error` `what` goes to standard
 * error. */
struct destination destination_open(const char *option, const char *what, bool or_error);
void destination_close(struct destination d);

/* The path that `option` is, as above, without opening or counting anything; `path` has failed if
 * it was too long. */
struct printer;
void destination_name(struct printer *path, const char *option);
/* Is the process id in it? */
bool destination_names_process(const char *option);

#endif
