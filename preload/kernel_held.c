/* kernel_held.c -- words that the program gives to the kernel, and may keep nowhere else.
 *
 * They are noted after the call has succeeded: gc/kernel_roots.c, .inv.given. What goes through
 * pipes and sockets is found there; only that there is a new one is noted: gc/queues.c. Messages
 * have a file of their own. */
#include "base/base.h"
#include "gc/kernel_roots.h"
#include "gc/queues.h"
#include "real.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

GC_EXPORT int epoll_ctl(int set, int operation, int file, struct epoll_event *event)
{
    real_resolve();
    int result = real.epoll_ctl(set, operation, file, event);
    if (result == 0 && operation != EPOLL_CTL_DEL)
        kernel_roots_shade(KERNEL_ROOTS_EPOLL, (uintptr_t)event->data.ptr);
    return result;
}

/* SIGEV_THREAD's value is kept by libc. */
GC_EXPORT int timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
    real_resolve();
    int result = real.timer_create(clock, event, timer);
    if (result == 0 && event != NULL)
        kernel_roots_shade(KERNEL_ROOTS_TIMERS, (uintptr_t)event->sigev_value.sival_ptr);
    return result;
}

static int noted(int result)
{
    if (result >= 0)
        queues_note_new();
    return result;
}

GC_EXPORT int pipe(int ends[2])
{
    real_resolve();
    return noted(real.pipe(ends));
}

GC_EXPORT int pipe2(int ends[2], int flags)
{
    real_resolve();
    return noted(real.pipe2(ends, flags));
}

GC_EXPORT int socketpair(int domain, int type, int protocol, int ends[2])
{
    real_resolve();
    return noted(real.socketpair(domain, type, protocol, ends));
}

GC_EXPORT int socket(int domain, int type, int protocol)
{
    real_resolve();
    int result = real.socket(domain, type, protocol);
    return domain == AF_UNIX ? noted(result) : result;
}
