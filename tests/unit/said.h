/* said.h -- what is printed on descriptor 2 meanwhile. At most what a pipe holds. */
#ifndef UNIT_SAID_H
#define UNIT_SAID_H

#include "unit.h"

#include <fcntl.h>
#include <unistd.h>

struct said {
    int pipe[2], saved;
};

static inline struct said said_begin(void)
{
    struct said s = {.saved = dup(2)};
    EXPECT(s.saved >= 0 && pipe2(s.pipe, O_NONBLOCK) == 0 && dup2(s.pipe[1], 2) == 2);
    return s;
}

/* Into text[size], with a NUL. */
static inline void said_end(struct said s, char *text, size_t size)
{
    dup2(s.saved, 2);
    close(s.saved);
    ssize_t got = read(s.pipe[0], text, size - 1);
    text[got < 0 ? 0 : got] = '\0';
    close(s.pipe[0]);
    close(s.pipe[1]);
}

#endif
