/* own_thread.h -- threads of the library's own, which the program cannot tell.
 *
 * libc does not know them: they are made by clone() with thread-local storage of their own, do not
 * count among the threads that keep the process alive, block all signals, and have a table of file
 * descriptors to themselves (empty but for what they open). They never call malloc, nor anything of
 * libc that could.
 *
 * Thread safety: one starter and joiner at a time. */
#ifndef GC_OWN_THREAD_H
#define GC_OWN_THREAD_H

#include "base/base.h"

struct own_thread {
    _Atomic uint32_t tid;   /* 0: not running. Set and cleared by the kernel; a futex */
    int32_t id;             /* of the task, until it was joined */
    char *memory;           /* stack and thread-local storage, kept for the next start */
    void (*run)(void *data);
    void *data;
    const char *name;
    struct own_thread *next; /* in the list of all that were ever started */
    bool own_files;         /* false: shares the starter's file descriptors */
    _Atomic uint32_t settled; /* has its table; a futex */
};

/* Gets the memory that own_thread_start needs: after that it takes no lock, and may be called while
 * the world is stopped. False: memory is short. */
bool own_thread_prepare(struct own_thread *t);
/* Starts run(data) in a new thread; with own_files, returns when it has its table. False: the
 * kernel refused it, or memory is short. */
bool own_thread_start(struct own_thread *t, const char *name, bool own_files,
                      void (*run)(void *data), void *data);
/* Is the task one of these? */
bool own_thread_has(int32_t tid);
uint32_t own_thread_count(void);
/* Waits until it has ended, and the kernel counts it no more among the process's threads. */
void own_thread_join(struct own_thread *t);
/* In the child of fork: none of them is there. */
void own_thread_after_fork(void);

#endif
