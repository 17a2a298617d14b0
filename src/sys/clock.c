/* clock.c -- monotonic time. clock_gettime is libc's, which reads the vDSO: no lock, no
 * allocation, no errno on success, and callable from a signal handler. */
#include "sys/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec t = {0, 0};
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct {
    uint64_t monotonic, unix_ns;
} started;

void clock_start(void)
{
    started.monotonic = clock_now_ns();
    started.unix_ns = read_clock(CLOCK_REALTIME);
}

uint64_t clock_uptime_ns(void)
{
    return clock_now_ns() - started.monotonic;
}

uint64_t clock_started_unix_ns(void)
{
    return started.unix_ns;
}

uint64_t clock_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_coarse_ns(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}
