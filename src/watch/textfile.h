/* textfile.h -- a file that is whole whenever it is read.
 *
 * It is written under another name beside its own, and renamed: a reader sees the one before or
 * this one. An end in between leaves PATH.PID.new.
 *
 * Thread safety: a textfile belongs to one thread. */
#ifndef GC_TEXTFILE_H
#define GC_TEXTFILE_H

#include "sys/print.h"

struct textfile {
    struct printer out;         /* to be written to */
    struct printer path, fresh; /* its name, and the one it has until it is closed */
};

/* `option` is a path as in destination.h. 0, or -errno; -EEXIST: that is there already, and is no
 * regular file. `path` is set in any case. */
long textfile_open(struct textfile *f, const char *option);
/* 0, or -errno: then the file before is still there. */
long textfile_close(struct textfile *f);

#endif
