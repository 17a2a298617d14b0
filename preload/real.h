/* real.h -- the functions that the wrappers stand in front of.
 *
 * They are looked up together, when the library is constructed or at the first call of a wrapper,
 * whichever comes first; never inside malloc. */
#ifndef GC_REAL_H
#define GC_REAL_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

struct real {
    int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int (*pthread_sigmask)(int, const sigset_t *, sigset_t *);
    int (*sigprocmask)(int, const sigset_t *, sigset_t *);
    int (*sigaction)(int, const struct sigaction *, struct sigaction *);
    int (*sigwait)(const sigset_t *, int *);
    int (*sigwaitinfo)(const sigset_t *, siginfo_t *);
    int (*sigtimedwait)(const sigset_t *, siginfo_t *, const struct timespec *);
    int (*sigsuspend)(const sigset_t *);
    int (*signalfd)(int, const sigset_t *, int);
    int (*ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
    int (*pselect)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *);
    int (*epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
    void *(*dlopen)(const char *, int);
    int (*dlclose)(void *);
};

extern struct real real;

/* Looks them up; harmless when done. A missing one is fatal: libc is not glibc. */
void real_resolve(void);

#endif
