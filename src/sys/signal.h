/* signal.h -- signal actions as the kernel keeps them, without libc.
 *
 * The return from a handler installed here is a system call in our own text: it passes where those
 * of libc are caught (gc/trap.h), and while SIGSYS is blocked. */
#ifndef GC_SIGNAL_H
#define GC_SIGNAL_H

#include "base/base.h"

#include <signal.h>

/* The kernel's struct sigaction. */
struct signal_action {
    void (*handler)(int signal, siginfo_t *info, void *context);
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
};

/* A mask, as the kernel keeps it, with one signal in it. */
#define SIGNAL_BIT(signal) ((uint64_t)1 << ((signal) - 1))
#define SIGNAL_ALL (~(uint64_t)0)

/* Blocks the signals of `set` for this thread, but never SIGSEGV and SIGSYS: while pages are
 * protected a blocked one would end the process, and a barrier changes and restores these two
 * behind our back. Returns those that were not blocked before; signal_unblock takes just these
 * back. */
uint64_t signal_block(uint64_t set);
void signal_unblock(uint64_t blocked);
/* The kernel's answer. Either pointer may be NULL. */
long signal_action(int signal, const struct signal_action *set, struct signal_action *old);
/* The same, for what the program asked libc to set: with a restorer. */
long signal_put(int signal, struct signal_action set);
/* A handler of the library's own: SA_SIGINFO, SA_ONSTACK and `flags`, with `mask` blocked. */
long signal_install(int signal, uint64_t flags, uint64_t mask,
                    void (*handler)(int signal, siginfo_t *info, void *context));

#endif
