/* trap.h -- the program's system calls, caught while pages are shielded.
 *
 * Thread safety: _begin and _end with the world stopped; the rest on any task, in a handler that
 * blocks all signals. */
#ifndef GC_TRAP_H
#define GC_TRAP_H

#include "base/base.h"

#include <signal.h>
#include <ucontext.h>

/* NULL, or why system calls cannot be caught: a static text. */
const char *trap_open(void);
/* From now on calls of tasks that trap_enter()ed are caught, until trap_end. */
void trap_begin(void);
void trap_end(void);
/* This task's calls are caught, or no longer. False: the kernel refused. */
bool trap_enter(void);
void trap_leave(void);
/* The handler of SIGSYS. */
void trap_on_signal(int signal, siginfo_t *info, void *context);
/* In a handler: breaks the shield, and waits until the phase has ended; then the context is the
 * program's again, with nothing between it and the kernel. */
void trap_await_end(ucontext_t *context);
/* The signal, which was sent, is sent again to this task. */
void trap_send_again(int signal, siginfo_t *info);
/* The place in the program that our copy of its system call stands for; other places as they are.
 * A call that begins anew must be caught anew. */
uintptr_t trap_original(uintptr_t pc);
/* The program catches its system calls by itself: there is no place for two. */
bool trap_is_taken(void);
/* Set once: what a fork's child does first of all, in the handler of its fork. */
void trap_on_fork(void (*in_child)(ucontext_t *context));
void trap_after_fork(void);

#endif
