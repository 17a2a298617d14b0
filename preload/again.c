/* again.c -- a call that returns EINTR because of us does not.
 *
 * Theory: of a call that was interrupted the wrapper knows who did it: a stop (park.woken), or a
 * handler of the program's (park.handled). If it was a stop alone, the program must not see it.
 * Most calls restart by themselves, for the stop's signal has SA_RESTART; those that never do
 * (sleeps, polls, waits for signals, semaphores and messages, sockets with a timeout) are called
 * again here, with what is left of a timeout that is relative. A deadline stays what it is, and so
 * does select's timeout, which libc has shortened itself.
 *
 *   .inv.time   The time that a call takes is never less than asked for. It is more, by what it had
 *               slept before, only if it began before the first stop of this kind: then nobody
 *               knows since when it sleeps.
 *
 * A socket's timeout cannot be told to the call: what is left of it is waited for in poll(), and
 * the call is made when there is something to be had. */
#include "again.h"

#include "base/check.h"
#include "mutator/park.h"
#include "sys/clock.h"
#include "sys/syscall.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum timeout {
    TIMEOUT_NONE,         /* none, or a point in time, or libc has shortened it */
    TIMEOUT_MILLISECONDS, /* an int; negative: for ever */
    TIMEOUT_TIMESPEC,     /* a pointer; NULL: for ever */
    TIMEOUT_CLOCK,        /* the same, unless the flags say that it is a point in time */
    TIMEOUT_MICROSECONDS,
    TIMEOUT_SECONDS,      /* what is left is the result */
    TIMEOUT_RECEIVE,      /* the socket's */
    TIMEOUT_SEND,
    TIMEOUT_FUTEX,        /* a pointer; a point in time for all operations but one */
};

static const struct again {
    const char *name;
    enum timeout timeout;
    unsigned argument;
} agains[] = {
    {"poll", TIMEOUT_MILLISECONDS, 2},
    {"__poll_chk", TIMEOUT_MILLISECONDS, 2},
    {"epoll_wait", TIMEOUT_MILLISECONDS, 3},
    {"epoll_pwait", TIMEOUT_MILLISECONDS, 3},
    {"epoll_pwait2", TIMEOUT_TIMESPEC, 3},
    {"ppoll", TIMEOUT_TIMESPEC, 2},
    {"__ppoll_chk", TIMEOUT_TIMESPEC, 2},
    {"pselect", TIMEOUT_TIMESPEC, 4},
    {"nanosleep", TIMEOUT_TIMESPEC, 0},
    {"thrd_sleep", TIMEOUT_TIMESPEC, 0},
    {"clock_nanosleep", TIMEOUT_CLOCK, 2},
    {"usleep", TIMEOUT_MICROSECONDS, 0},
    {"sleep", TIMEOUT_SECONDS, 0},
    {"sigtimedwait", TIMEOUT_TIMESPEC, 2},
    {"semtimedop", TIMEOUT_TIMESPEC, 3},
    {"aio_suspend", TIMEOUT_TIMESPEC, 2},
    {"aio_suspend64", TIMEOUT_TIMESPEC, 2},
    {"accept", TIMEOUT_RECEIVE, 0},
    {"accept4", TIMEOUT_RECEIVE, 0},
    {"read", TIMEOUT_RECEIVE, 0},
    {"readv", TIMEOUT_RECEIVE, 0},
    {"__read_chk", TIMEOUT_RECEIVE, 0},
    {"recv", TIMEOUT_RECEIVE, 0},
    {"__recv_chk", TIMEOUT_RECEIVE, 0},
    {"recvfrom", TIMEOUT_RECEIVE, 0},
    {"__recvfrom_chk", TIMEOUT_RECEIVE, 0},
    {"recvmsg", TIMEOUT_RECEIVE, 0},
    {"recvmmsg", TIMEOUT_RECEIVE, 0},
    {"connect", TIMEOUT_SEND, 0},
    {"write", TIMEOUT_SEND, 0},
    {"writev", TIMEOUT_SEND, 0},
    {"send", TIMEOUT_SEND, 0},
    {"sendto", TIMEOUT_SEND, 0},
    {"sendmsg", TIMEOUT_SEND, 0},
    {"sendmmsg", TIMEOUT_SEND, 0},
    {"syscall", TIMEOUT_FUTEX, 4},
};

/* One call, and what is left of its time. */
struct call {
    const struct again *again;    /* NULL: called again as it is */
    long arguments[7];
    uint64_t elapsed_ns;
    struct timespec left;
};

static uint64_t ns_of(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

static uint64_t minus(uint64_t ns, uint64_t elapsed)
{
    return ns > elapsed ? ns - elapsed : 0;
}

static void shorten_timespec(struct call *c, long *argument)
{
    const struct timespec *asked = (const struct timespec *)*argument;
    if (asked == NULL)
        return;
    uint64_t left = minus(ns_of(asked), c->elapsed_ns);
    c->left = (struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    *argument = (long)&c->left;
}

/* Waits for what is left of the socket's timeout. False: it has passed. */
static bool await_socket(const struct call *c, int fd)
{
    bool receive = c->again->timeout == TIMEOUT_RECEIVE;
    struct timeval asked = {0};
    socklen_t size = sizeof asked;
    long result = syscall6(__NR_getsockopt, fd, SOL_SOCKET, receive ? SO_RCVTIMEO : SO_SNDTIMEO,
                           (long)&asked, (long)&size, 0);
    uint64_t ns = (uint64_t)asked.tv_sec * 1000000000u + (uint64_t)asked.tv_usec * 1000u;
    if (result != 0 || ns == 0)
        return true;
    uint64_t left = minus(ns, c->elapsed_ns);
    struct timespec t = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    struct pollfd p = {.fd = fd, .events = receive ? POLLIN : POLLOUT};
    return syscall6(__NR_ppoll, (long)&p, 1, (long)&t, 0, sizeof(uint64_t), 0) != 0;
}

/* What a call says whose time is over. */
static long timed_out(const struct call *c)
{
    errno = strcmp(c->again->name, "connect") == 0 ? EINPROGRESS : EAGAIN;
    return -1;
}

/* False: there is nothing left to wait for, and *result says so. */
static bool shorten(struct call *c, long *result)
{
    if (c->again == NULL)
        return true;
    long *argument = &c->arguments[c->again->argument];
    switch (c->again->timeout) {
    case TIMEOUT_NONE:
        return true;
    case TIMEOUT_MILLISECONDS:
        if ((int)*argument > 0)
            *argument =
                (long)((minus((uint64_t)*argument * 1000000u, c->elapsed_ns) + 999999) / 1000000u);
        return true;
    case TIMEOUT_CLOCK:
        if (c->arguments[1] & TIMER_ABSTIME)
            return true;
        shorten_timespec(c, argument);
        return true;
    case TIMEOUT_FUTEX:
        if ((c->arguments[2] & FUTEX_CMD_MASK) != FUTEX_WAIT)
            return true;
        shorten_timespec(c, argument);
        return true;
    case TIMEOUT_TIMESPEC:
        shorten_timespec(c, argument);
        return true;
    case TIMEOUT_MICROSECONDS:
        *argument = (long)((minus((uint64_t)*argument * 1000u, c->elapsed_ns) + 999) / 1000u);
        return true;
    case TIMEOUT_SECONDS:
        return true; /* sleep_again */
    case TIMEOUT_RECEIVE:
    case TIMEOUT_SEND:
        if (await_socket(c, (int)*argument))
            return true;
        *result = timed_out(c);
        return false;
    }
    return true;
}

/* sleep() counts in seconds, and says how many are left: an interrupted one would lose a part of
 * one each time. */
static long sleep_again(const struct call *c)
{
    uint64_t left = minus((uint64_t)(unsigned)c->arguments[0] * 1000000000u, c->elapsed_ns);
    struct timespec t = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)}, rest = {0};
    if (nanosleep(&t, &rest) == 0)
        return 0;
    return (long)rest.tv_sec + (rest.tv_nsec >= 500000000);
}

static bool was_interrupted(const struct call *c, long result)
{
    if (c->again != NULL && c->again->timeout == TIMEOUT_SECONDS)
        return result > 0;
    bool is_error_number = c->again != NULL && c->again->timeout == TIMEOUT_CLOCK;
    return is_error_number ? (int)result == EINTR : (int)result == -1 && errno == EINTR;
}

static const struct again *find(const char *name)
{
    for (size_t i = 0; i < GC_COUNT(agains); i++)
        if (strcmp(agains[i].name, name) == 0)
            return &agains[i];
    return NULL;
}

static long make(const struct blocking_target *t, const long *a)
{
    long (*function)(long, long, long, long, long, long, long);
    memcpy(&function, &t->function, sizeof function);
    return function(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
}

void again_begin(void)
{
    park_self->begun_ns = clock_now_ns();
}

long again_if_woken(const struct blocking_target *t, const struct blocking_arguments *a,
                    long result)
{
    struct park *self = park_self;
    struct call c = {.again = find(t->name)};
    while (self->woken && !self->handled && was_interrupted(&c, result)) {
        const long original[] = {a->rdi, a->rsi, a->rdx, a->rcx, a->r8, a->r9, a->stacked};
        memcpy(c.arguments, original, sizeof original);
        self->woken = 0;
        if (self->begun_ns == 0) /* .inv.time: it counts from here */
            again_begin();
        c.elapsed_ns = clock_now_ns() - self->begun_ns;
        if (!shorten(&c, &result))
            break;
        if (c.again != NULL && c.again->timeout == TIMEOUT_SECONDS)
            result = sleep_again(&c);
        else
            result = make(t, c.arguments);
    }
    return result;
}
