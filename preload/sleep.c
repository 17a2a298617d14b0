/* sleep.c -- libc's sleeps, all of them by way of two that tell what is left.
 *
 * A stop of the world that interrupts a sleep must not shorten it (again.c), and sleep() and
 * thrd_sleep() do not tell enough for that: whole seconds; nothing, not even an error number. */
#include "base/base.h"
#include "real.h"

#include <errno.h>
#include <threads.h>
#include <time.h>

/* In blocking.c. `left` is never NULL. */
__typeof__(nanosleep) real_nanosleep;
__typeof__(clock_nanosleep) real_clock_nanosleep;

GC_EXPORT int nanosleep(const struct timespec *time, struct timespec *left)
{
    struct timespec rest;
    int result = real_nanosleep(time, &rest);
    if (result != 0 && errno == EINTR && left != NULL)
        *left = rest;
    return result;
}

static int sleep_on(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    struct timespec rest;
    int result = real_clock_nanosleep(clock, flags, time, &rest);
    if (result == EINTR && left != NULL && !(flags & TIMER_ABSTIME))
        *left = rest;
    return result;
}

GC_EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                              struct timespec *left)
{
    return sleep_on(clock, flags, time, left);
}

/* The rest is rounded down, as glibc does it. */
GC_EXPORT unsigned sleep(unsigned seconds)
{
    struct timespec time = {seconds, 0}, rest;
    return real_nanosleep(&time, &rest) == 0 ? 0 : (unsigned)rest.tv_sec;
}

GC_EXPORT int usleep(useconds_t microseconds)
{
    struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000}, rest;
    return real_nanosleep(&time, &rest);
}

GC_EXPORT int thrd_sleep(const struct timespec *time, struct timespec *left)
{
    int result = sleep_on(CLOCK_REALTIME, 0, time, left);
    return result == 0 ? 0 : result == EINTR ? -1 : -2;
}
