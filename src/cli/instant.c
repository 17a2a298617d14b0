/* instant.c -- times in nanoseconds. */
#include "cli/instant.h"

#include <time.h>

static uint64_t read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

uint64_t instant_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t instant_unix(void)
{
    return read_clock(CLOCK_REALTIME);
}
