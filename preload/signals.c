/* signals.c -- the reserved signal is the library's: the program cannot block it or handle it.
 *
 * A thread that blocked it could not be stopped; many programs block all signals in their workers.
 * Nor may it be waited for: sigwait on a full set would take the stop signal away from its handler.
 * What the program sets for that signal is remembered and shown to it again, without effect. */
#include "base/base.h"
#include "gc/world.h"
#include "real.h"
#include "runtime.h"

#include <stddef.h>
#include <sys/signalfd.h>

static struct sigaction program_action;

static const sigset_t *without_ours(const sigset_t *set, sigset_t *copy)
{
    if (set == NULL || world_signal() == 0)
        return set;
    *copy = *set;
    sigdelset(copy, world_signal());
    return copy;
}

GC_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t copy;
    real_resolve();
    return real.pthread_sigmask(how, without_ours(set, &copy), old);
}

GC_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t copy;
    real_resolve();
    return real.sigprocmask(how, without_ours(set, &copy), old);
}

GC_EXPORT int sigaction(int signal, const struct sigaction *act, struct sigaction *old)
{
    real_resolve();
    if (signal == world_signal() && signal != 0) {
        struct sigaction before = program_action;
        if (act != NULL)
            program_action = *act;
        if (old != NULL)
            *old = before;
        return 0;
    }
    if (act == NULL)
        return real.sigaction(signal, NULL, old);
    struct sigaction copy = *act;
    without_ours(&act->sa_mask, &copy.sa_mask);
    return real.sigaction(signal, &copy, old);
}

GC_EXPORT int sigwait(const sigset_t *set, int *signal)
{
    sigset_t copy;
    real_resolve();
    return real.sigwait(without_ours(set, &copy), signal);
}

GC_EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    sigset_t copy;
    real_resolve();
    return real.sigwaitinfo(without_ours(set, &copy), info);
}

GC_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    sigset_t copy;
    real_resolve();
    return real.sigtimedwait(without_ours(set, &copy), info, timeout);
}

GC_EXPORT int sigsuspend(const sigset_t *mask)
{
    sigset_t copy;
    real_resolve();
    return real.sigsuspend(without_ours(mask, &copy));
}

GC_EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
    sigset_t copy;
    real_resolve();
    return real.signalfd(fd, without_ours(mask, &copy), flags);
}

GC_EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                    const sigset_t *mask)
{
    sigset_t copy;
    real_resolve();
    return real.ppoll(fds, count, timeout, without_ours(mask, &copy));
}

GC_EXPORT int pselect(int count, fd_set *read, fd_set *write, fd_set *except,
                      const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;
    real_resolve();
    return real.pselect(count, read, write, except, timeout, without_ours(mask, &copy));
}

GC_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int most, int timeout,
                          const sigset_t *mask)
{
    sigset_t copy;
    real_resolve();
    return real.epoll_pwait(fd, events, most, timeout, without_ours(mask, &copy));
}
