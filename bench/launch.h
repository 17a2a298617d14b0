/* launch.h -- starts programs with and without a preload.
 *
 * The parent shall be small: the time of a spawn grows with the parent that spawns, and Linux
 * counts the parent's pages into the child's ru_maxrss. */
#ifndef BENCH_LAUNCH_H
#define BENCH_LAUNCH_H

#include "bench.h"

#include <spawn.h>

extern char **environ;

enum { ENV_MOST = 512 };

/* environ without any LD_PRELOAD, and with `preload` ("LD_PRELOAD=...") when there is one. */
static inline void environment_make(char **env, char *preload)
{
    size_t n = 0;
    if (preload)
        env[n++] = preload;
    for (char **e = environ; *e && n < ENV_MOST; e++)
        if (strncmp(*e, "LD_PRELOAD=", 11))
            env[n++] = *e;
    env[n] = NULL;
}

#endif
