/* deputy.h -- a thread of the library's own that has the program's descriptors.
 *
 * The collector's thread has a table of its own, and borrows descriptors of the program's by
 * pidfd_getfd. Where the kernel refuses that, it gives what is to be done with them to this one.
 *
 * Thread safety: hiring and dismissing: the CYCLE lock, or nobody collects. */
#ifndef GC_DEPUTY_H
#define GC_DEPUTY_H

#include "base/base.h"

/* The kernel lends no descriptors: an old one, or a filter of system calls forbids it. */
bool deputy_is_needed(void);
/* It shares the caller's table. False: the kernel refused the thread, or memory is short. */
bool deputy_hire(void);
/* As own_thread_prepare. */
bool deputy_prepare(void);
bool deputy_is_there(void);
/* It has ended on return. Nothing happens if there is none. */
void deputy_dismiss(void);
/* Runs work(data) there, and returns when that is done. There must be one. */
void deputy_do(void (*work)(void *data), void *data);

#endif
