/* real.h -- the functions that the wrappers stand in front of.
 *
 * They are looked up together, when the library is constructed or at the first call of a wrapper,
 * whichever comes first; never inside malloc. */
#ifndef GC_REAL_H
#define GC_REAL_H

#include <dlfcn.h>
#include <grp.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REAL_FUNCTIONS(X) \
    X(pthread_create) X(clone) X(pthread_sigmask) X(sigprocmask) X(signalfd) \
    X(sigaction) X(signal) X(ssignal) X(sysv_signal) X(sigset) X(sigaltstack) \
    X(execve) X(execv) X(execvp) X(execvpe) X(fexecve) \
    X(setuid) X(setgid) X(seteuid) X(setegid) X(setreuid) X(setregid) X(setresuid) X(setresgid) \
    X(setgroups) X(initgroups) X(unshare) X(setns) X(prctl) X(syscall) \
    X(setrlimit) X(prlimit) \
    X(epoll_ctl) X(timer_create) X(pipe) X(pipe2) X(socketpair) X(socket) \
    X(mq_notify) X(sigqueue) X(pthread_sigqueue) \
    X(mmap) X(munmap) X(mprotect) X(pkey_mprotect) X(mremap) X(shmat) X(shmdt) \
    X(dlopen) X(dlclose)

struct real {
#define REAL_FUNCTION(name) __typeof__(name) *name;
    REAL_FUNCTIONS(REAL_FUNCTION)
#undef REAL_FUNCTION
};

extern struct real real;

/* Looks them up; harmless when done. A missing one is fatal: libc is not glibc. */
void real_resolve(void);
/* In blocking.c: looks up what blocks. */
void blocking_start(void);
/* In signals.c: what a thread believes of the reserved signal in its mask, which its children
 * inherit. */
bool signals_ours_blocked(void);
void signals_inherit(bool blocked);
/* Looks up one more, now. */
void *real_find(const char *name);

#endif
