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
 * the call is made when there is something to be had. A write, or a read of all, that was broken
 * off in the middle goes on (single buffers only: of a vector the program gets what there is). */
#include "again.h"

#include "base/check.h"
#include "gc/withheld.h"
#include "mutator/park.h"
#include "sys/clock.h"
#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

enum timeout {
    TIMEOUT_MILLISECONDS, /* an int; negative: for ever */
    TIMEOUT_TIMESPEC,     /* a pointer; NULL: for ever */
    TIMEOUT_SLEEP,        /* a pointer, and behind it where the kernel has put what is left */
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
    {"sigtimedwait", TIMEOUT_TIMESPEC, 2},
    {"semtimedop", TIMEOUT_TIMESPEC, 3},
    {"aio_suspend", TIMEOUT_TIMESPEC, 2},
    {"aio_suspend64", TIMEOUT_TIMESPEC, 2},
    {"nanosleep", TIMEOUT_SLEEP, 0},
    {"clock_nanosleep", TIMEOUT_SLEEP, 2},
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
    const struct blocking_target *target;
    const struct again *again;    /* NULL: called again as it is */
    long arguments[7];
    uint64_t elapsed_ns;
    struct timespec left;
};

/* When the call began. */
static __thread int errno_before;

static uint64_t ns_of(const struct timespec *t)
{
    const uint64_t second = 1000000000u;
    if ((uint64_t)t->tv_sec > UINT64_MAX / second - 1)
        return UINT64_MAX;
    return (uint64_t)t->tv_sec * second + (uint64_t)t->tv_nsec;
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
}

static uint64_t minus(uint64_t ns, uint64_t elapsed)
{
    return ns > elapsed ? ns - elapsed : 0;
}

/* An invalid time is for the kernel to refuse. */
static void shorten_timespec(struct call *c, long *argument)
{
    const struct timespec *asked = (const struct timespec *)*argument;
    if (asked == NULL || asked->tv_sec < 0 || (unsigned long)asked->tv_nsec >= 1000000000u)
        return;
    c->left = timespec_of(minus(ns_of(asked), c->elapsed_ns));
    *argument = (long)&c->left;
}

static bool is(const struct call *c, const char *name)
{
    return strcmp(c->target->name, name) == 0;
}

/* What the kernel has left, less the time that the stop itself took, on clocks that go on by
 * then. */
static void shorten_sleep(struct call *c, long *argument)
{
    uint64_t left = ns_of((const struct timespec *)argument[1]);
    bool has_clock = is(c, "clock_nanosleep");
    if (has_clock && (c->arguments[1] & TIMER_ABSTIME))
        return;
    clockid_t clock = has_clock ? (clockid_t)c->arguments[0] : CLOCK_REALTIME;
    if (clock >= 0 && clock != CLOCK_PROCESS_CPUTIME_ID && clock != CLOCK_THREAD_CPUTIME_ID)
        left = size_min(left, minus(ns_of((const struct timespec *)argument[0]), c->elapsed_ns));
    c->left = timespec_of(left);
    argument[0] = (long)&c->left;
}

static uint64_t ns_of_socket(int fd, int option)
{
    struct timeval asked = {0};
    socklen_t size = sizeof asked;
    if (syscall6(__NR_getsockopt, fd, SOL_SOCKET, option, (long)&asked, (long)&size, 0) != 0)
        return 0;
    return (uint64_t)asked.tv_sec * 1000000000u + (uint64_t)asked.tv_usec * 1000u;
}

/* Waits for what is left of the socket's timeout. False: it has passed. */
static bool await_socket(const struct call *c, int fd)
{
    bool receive = c->again->timeout == TIMEOUT_RECEIVE;
    uint64_t ns = ns_of_socket(fd, receive ? SO_RCVTIMEO : SO_SNDTIMEO);
    if (ns == 0)
        return true;
    struct timespec t = timespec_of(minus(ns, c->elapsed_ns));
    struct pollfd p = {.fd = fd, .events = receive ? POLLIN : POLLOUT};
    return syscall6(__NR_ppoll, (long)&p, 1, (long)&t, 0, sizeof(uint64_t), 0) != 0;
}

/* False: there is nothing left to wait for, and errno says so. */
static bool shorten(struct call *c)
{
    if (c->again == NULL)
        return true;
    long *argument = &c->arguments[c->again->argument];
    switch (c->again->timeout) {
    case TIMEOUT_MILLISECONDS:
        if ((int)*argument > 0) {
            uint64_t ns = minus((uint64_t)(uint32_t)*argument * 1000000u, c->elapsed_ns);
            *argument = (long)((ns + 999999) / 1000000u);
        }
        break;
    case TIMEOUT_TIMESPEC:
        shorten_timespec(c, argument);
        break;
    case TIMEOUT_SLEEP:
        shorten_sleep(c, argument);
        break;
    case TIMEOUT_FUTEX:
        if ((c->arguments[2] & FUTEX_CMD_MASK) == FUTEX_WAIT)
            shorten_timespec(c, argument);
        break;
    case TIMEOUT_RECEIVE:
    case TIMEOUT_SEND:
        if (await_socket(c, (int)*argument))
            break;
        errno = strcmp(c->again->name, "connect") == 0 ? EINPROGRESS : EAGAIN;
        return false;
    }
    return true;
}

static bool was_interrupted(const struct call *c, long result)
{
    if (is(c, "clock_nanosleep"))
        return (int)result == EINTR;
    return (int)result == -1 && errno == EINTR;
}

static long make(const struct call *c)
{
    const long *a = c->arguments;
    long (*function)(long, long, long, long, long, long, long);
    memcpy(&function, &c->target->function, sizeof function);
    return function(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
}

/* ---- a part of what was asked for ---- */

/* Does the call take a buffer and a length, and all of it unless it is interrupted? */
static bool takes_all(const struct call *c)
{
    const long *a = c->arguments;
    bool sends = is(c, "send") || is(c, "sendto");
    bool receives = is(c, "recv") || is(c, "recvfrom");
    bool whole = sends || (a[3] & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL;
    if (sends || receives)
        return whole && !(a[3] & MSG_DONTWAIT);
    return is(c, "write");
}

static bool blocks(int fd)
{
    long flags = syscall2(__NR_fcntl, fd, F_GETFL);
    return flags >= 0 && !(flags & O_NONBLOCK);
}

/* Goes on with the rest. What it comes to is a success in any case: a part was written. */
static long make_rest(struct call *c, long result)
{
    struct park *self = park_self;
    long all = c->arguments[2];
    if (!takes_all(c) || result <= 0 || result >= all || !blocks((int)c->arguments[0]))
        return result;
    while (relaxed_load(&self->woken) && !self->handled && result < all) {
        relaxed_store(&self->woken, 0);
        c->arguments[1] += result;
        c->arguments[2] = all - result;
        long more = make(c);
        c->arguments[1] -= result;
        if (more <= 0 && !(more < 0 && errno == EINTR))
            break;
        result += more > 0 ? more : 0;
    }
    return result;
}

/* ---- arguments that are withheld (gc/withheld.h) ---- */

/* What a bad address holds is for the kernel to complain of. */
static bool copy(void *to, long from, size_t size)
{
    struct iovec theirs = {(void *)from, size}, ours = {to, size};
    return syscall6(__NR_process_vm_readv, syscall0(__NR_getpid), (long)&ours, 1, (long)&theirs, 1,
                    0) == (long)size;
}

static void tell_of_parts(long parts, size_t count)
{
    struct iovec part;
    for (size_t i = 0; i < count && i < IOV_MAX; i++)
        if (copy(&part, parts + (long)(i * sizeof part), sizeof part))
            withheld_argument((uintptr_t)part.iov_base);
}

static void tell_of(const struct blocking_target *t, const long *a)
{
    struct msghdr m;
    for (size_t i = 0; i < 6; i++)
        withheld_argument((uintptr_t)a[i]);
    if (strstr(t->name, "readv") != NULL || strstr(t->name, "writev") != NULL)
        tell_of_parts(a[1], (size_t)a[2]);
    else if (strstr(t->name, "msg") != NULL && copy(&m, a[1], sizeof m))
        tell_of_parts((long)m.msg_iov, m.msg_iovlen);
}

/* ---- */

static const struct again *find(const char *name)
{
    for (size_t i = 0; i < GC_COUNT(agains); i++)
        if (strcmp(agains[i].name, name) == 0)
            return &agains[i];
    return NULL;
}

void again_begin(long rdi, long rsi, long rdx, long rcx, long r8, long r9,
                 const struct blocking_target *t)
{
    park_self->begun_ns = clock_now_ns();
    errno_before = errno;
    if (withheld_on())
        tell_of(t, (const long[]){rdi, rsi, rdx, rcx, r8, r9});
}

long again_if_woken(const struct blocking_target *t, const struct blocking_arguments *a,
                    long result)
{
    struct park *self = park_self;
    const long original[] = {a->rdi, a->rsi, a->rdx, a->rcx, a->r8, a->r9, a->stacked};
    struct call c = {.target = t, .again = find(t->name)};
    while (relaxed_load(&self->woken) && !self->handled && was_interrupted(&c, result)) {
        memcpy(c.arguments, original, sizeof original);
        if (self->begun_ns == 0) /* .inv.time: it counts from here */
            self->begun_ns = clock_now_ns();
        relaxed_store(&self->woken, 0);
        c.elapsed_ns = clock_now_ns() - self->begun_ns;
        if (!shorten(&c) || self->handled)
            return result;
        errno = errno_before;
        result = make(&c);
    }
    memcpy(c.arguments, original, sizeof original);
    return make_rest(&c, result);
}
