/* veil.h -- what the program believes of its signals, while two of them are the library's.
 *
 * While the veil is drawn, SIGSEGV and SIGSYS have handlers of the library's and are blocked in no
 * task; the program goes on to see, and to change, the actions and masks that are its own. See
 * veil.c.
 *
 * Thread safety: _begin and _end with the world stopped; the others on any task, in a handler that
 * blocks all signals. */
#ifndef GC_VEIL_H
#define GC_VEIL_H

#include "base/base.h"
#include "sys/signal.h"

#include <ucontext.h>

/* The two signals. */
#define VEILED (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGSYS))

typedef void veil_handler_fn(int signal, siginfo_t *info, void *context);

/* Draws the veil: knows the stopped tasks, installs the handlers, and keeps open (shield.h) what
 * the kernel writes of each task by itself. NULL, or why it cannot: a static text. */
const char *veil_begin(veil_handler_fn *on_segv, veil_handler_fn *on_sys);
void veil_end(void);
/* The task leaves a stop, to this context: it comes under the veil, or out of it. False: it is not
 * known, or there is no memory. */
bool veil_enter(ucontext_t *context);
/* False: it was not under it. */
bool veil_leave(ucontext_t *context);
/* The program has no handler for it: sets the default action, so that the process dies of it when
 * it comes again. */
bool veil_dies_of(int signal);
/* The program ignores one of the two: a program that it executes would, too. */
bool veil_ignores(void);
/* The two in this task's mask, as the program believes. */
uint64_t veil_hidden(void);
/* This task is new, and begins with that in its mask. False: there is no memory for it. */
bool veil_born(uint64_t hidden);
/* The task had that hidden when it began to wait, in a handler, for the end of a phase. It goes on
 * in this context, after it, or in the next. */
void veil_resume(ucontext_t *context, uint64_t hidden);
/* In a fork's child: actions, mask and alternate stack are the program's own again; the last two in
 * the context, if there is one. */
void veil_after_fork(ucontext_t *context);

/* The system calls, made here; the kernel's answer. */
long veil_sigaction(int signal, uintptr_t set, uintptr_t old, size_t size);
long veil_sigprocmask(ucontext_t *context, int how, uintptr_t set, uintptr_t old, size_t size);
/* Before sigaltstack(set) and rt_sigreturn are made in this context. */
void veil_before_sigaltstack(ucontext_t *context, uintptr_t set);
void veil_before_sigreturn(ucontext_t *context, uintptr_t (*moved)(uintptr_t pc));
/* A task without an alternate stack, or with a small one, gets one: see .inv.stack. At each signal
 * frame. */
void veil_give_stack(ucontext_t *context);

#endif
