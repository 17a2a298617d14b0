/* real.h -- the functions that the wrappers stand in front of.
 *
 * They are looked up together, when the library is constructed or at the first call of a wrapper,
 * whichever comes first; never inside malloc. */
#ifndef GC_REAL_H
#define GC_REAL_H

#include <pthread.h>
#include <signal.h>

struct real {
    int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int (*pthread_sigmask)(int, const sigset_t *, sigset_t *);
    int (*sigprocmask)(int, const sigset_t *, sigset_t *);
    int (*sigaction)(int, const struct sigaction *, struct sigaction *);
    void *(*dlopen)(const char *, int);
    int (*dlclose)(void *);
};

extern struct real real;

/* Looks them up; harmless when done. A missing one is fatal: libc is not glibc. */
void real_resolve(void);

#endif
