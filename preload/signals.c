/* signals.c -- the program's signals: one of them is the library's, and handlers have thunks.
 *
 * A thread that blocked the reserved signal could not be stopped; many programs block all signals
 * in their workers. Nor may it be waited for: sigwait on a full set would take the stop signal away
 * from its handler. What the program sets for that signal, in its mask too, is remembered and shown
 * to it again, without effect.
 *
 * The kernel is given a thunk for each handler (mutator/handler.h), and the program is shown the
 * handler again, whichever function it asks by.
 *
 * With guard=N a fault is looked at first: those of SIGSEGV have thunks of another kind, one of
 * which stands for SIG_DFL, and it is blocked nowhere, for then a fault ends the process without a
 * word. The calls are libc's, so that a barrier which has the signal to itself catches them. */
#include "base/base.h"
#include "gc/withheld.h"
#include "gc/world.h"
#include "mutator/handler.h"
#include "mutator/park.h"
#include "real.h"
#include "runtime.h"
#include "sys/signal.h"

#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>

/* In blocking.c: libc's, made by a parked thread. */
__typeof__(ppoll) real_ppoll;
__typeof__(pselect) real_pselect;
__typeof__(epoll_pwait) real_epoll_pwait;
__typeof__(epoll_pwait2) real_epoll_pwait2;
__typeof__(sigsuspend) real_sigsuspend;
__typeof__(sigwait) real_sigwait;
__typeof__(sigwaitinfo) real_sigwaitinfo;
__typeof__(sigtimedwait) real_sigtimedwait;
int real___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                     const sigset_t *mask, size_t size);

static struct sigaction program_action;
/* For which signals the program's action has ours in its mask: a bit each. */
static _Atomic uint64_t ours_in_masks;

static const sigset_t *without_ours(const sigset_t *set, sigset_t *copy)
{
    bool faults = withheld_on() || handler_watched();
    if (set == NULL || (world_signal() == 0 && !faults))
        return set;
    *copy = *set;
    if (world_signal() != 0)
        sigdelset(copy, world_signal());
    if (faults) /* a fault while it is blocked ends the process */
        sigdelset(copy, SIGSEGV);
    return copy;
}

/* Does the thread believe that ours is blocked? */
static __thread bool ours_blocked;

/* Its mask was changed: shows the old one, and remembers the new one. */
static void note_mask(int how, const sigset_t *set, sigset_t *old)
{
    int ours = world_signal();
    bool in_set = set != NULL && ours != 0 && sigismember(set, ours) == 1;
    if (old != NULL && ours_blocked)
        sigaddset(old, ours);
    if (how == SIG_SETMASK && set != NULL)
        ours_blocked = in_set;
    else if (in_set)
        ours_blocked = how == SIG_BLOCK;
}

/* `set` is read first: it may be `old`. */
static int change_mask(__typeof__(pthread_sigmask) *change, int how, const sigset_t *set,
                       sigset_t *old)
{
    sigset_t asked, copy;
    if (set != NULL)
        asked = *set;
    int result = change(how, without_ours(set, &copy), old);
    if (result == 0)
        note_mask(how, set == NULL ? NULL : &asked, old);
    return result;
}

GC_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    real_resolve();
    return change_mask(real.pthread_sigmask, how, set, old);
}

GC_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    real_resolve();
    return change_mask(real.sigprocmask, how, set, old);
}

bool signals_ours_blocked(void)
{
    return ours_blocked;
}

void signals_inherit(bool blocked)
{
    ours_blocked = blocked;
}

static bool is_ours(int signal)
{
    return signal != 0 && signal == world_signal();
}

static bool is_watched(int signal)
{
    return signal == SIGSEGV && handler_watched();
}

static __sighandler_t wrapped(int signal, __sighandler_t handler)
{
    if (is_watched(signal) && handler != SIG_DFL)
        return (__sighandler_t)handler_wrap_watched((uintptr_t)handler);
    return (__sighandler_t)handler_wrap((uintptr_t)handler);
}

static __sighandler_t unwrapped(__sighandler_t handler)
{
    return (__sighandler_t)handler_unwrap((uintptr_t)handler);
}

static void swap_ours(const struct sigaction *act, struct sigaction *old)
{
    struct sigaction before = program_action;
    if (act != NULL)
        program_action = *act;
    if (old != NULL)
        *old = before;
}

/* withheld.h */
static bool is_withheld(int signal)
{
    return signal == SIGSEGV && withheld_on();
}

static void swap_withheld(const struct sigaction *act, struct sigaction *old)
{
    struct signal_action set = {0}, before;
    if (act != NULL) {
        struct sigaction copy = *act;
        copy.sa_handler = wrapped(SIGSEGV, act->sa_handler);
        set.handler = copy.sa_sigaction;
        set.flags = (uint64_t)(unsigned)act->sa_flags;
        memcpy(&set.mask, &act->sa_mask, sizeof set.mask);
    }
    withheld_swap_action(act == NULL ? NULL : &set, &before);
    if (old == NULL)
        return;
    *old = (struct sigaction){.sa_flags = (int)before.flags};
    old->sa_sigaction = before.handler;
    old->sa_handler = unwrapped(old->sa_handler);
    memcpy(&old->sa_mask, &before.mask, sizeof before.mask);
}

/* What the program set along with SIG_DFL for SIGSEGV, while it is watched. */
static struct sigaction program_default;

static struct sigaction watched_default(void)
{
    struct sigaction ours = {.sa_flags = SA_SIGINFO};
    ours.sa_handler = (__sighandler_t)handler_wrap_watched((uintptr_t)SIG_DFL);
    sigfillset(&ours.sa_mask);
    return ours;
}

static bool is_watched_default(const struct sigaction *action)
{
    return action->sa_handler == watched_default().sa_handler;
}

GC_EXPORT int sigaction(int signal, const struct sigaction *act, struct sigaction *old)
{
    struct sigaction copy = {0}, shown = program_default;
    real_resolve();
    if (is_ours(signal)) {
        swap_ours(act, old);
        return 0;
    }
    if (is_withheld(signal)) {
        swap_withheld(act, old);
        return 0;
    }
    if (act != NULL) {
        copy = *act;
        without_ours(&act->sa_mask, &copy.sa_mask);
        copy.sa_handler = wrapped(signal, act->sa_handler);
    }
    bool to_default = act != NULL && is_watched(signal) && act->sa_handler == SIG_DFL;
    /* `old` may be where `act` is. */
    bool sets = act != NULL, ours = sets && sigismember(&act->sa_mask, world_signal()) == 1;
    struct sigaction asked = copy;
    if (to_default)
        copy = watched_default();
    int result = real.sigaction(signal, act == NULL ? NULL : &copy, old);
    if (result != 0)
        return result;
    if (to_default)
        program_default = asked;
    uint64_t bit = SIGNAL_BIT(signal), before = relaxed_load(&ours_in_masks);
    if (ours)
        atomic_fetch_or(&ours_in_masks, bit);
    else if (sets)
        atomic_fetch_and(&ours_in_masks, ~bit);
    if (old != NULL) {
        if (is_watched(signal) && is_watched_default(old))
            *old = shown;
        old->sa_handler = unwrapped(old->sa_handler);
        if (before & bit)
            sigaddset(&old->sa_mask, world_signal());
    }
    return result;
}

/* signal() and its kin differ in the flags, which libc sets. */
static __sighandler_t set_handler(__typeof__(signal) *set, int signal, __sighandler_t handler)
{
    if (is_ours(signal)) {
        struct sigaction action = {.sa_handler = handler}, old;
        swap_ours(&action, &old);
        return old.sa_handler;
    }
    if (is_withheld(signal)) {
        struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
        swap_withheld(&action, &old);
        return old.sa_handler;
    }
    __sighandler_t before = unwrapped(set(signal, wrapped(signal, handler)));
    if (is_watched(signal) && handler == SIG_DFL && before != SIG_ERR)
        sigaction(signal, &(struct sigaction){.sa_flags = SA_RESTART}, NULL);
    return before;
}

#define SIGNAL_FUNCTION(name) \
    GC_EXPORT __sighandler_t name(int signal, __sighandler_t handler) \
    { \
        real_resolve(); \
        return set_handler(real.name, signal, handler); \
    }

SIGNAL_FUNCTION(signal)
SIGNAL_FUNCTION(ssignal)
SIGNAL_FUNCTION(sysv_signal)
SIGNAL_FUNCTION(sigset)

/* Names that old binaries have. */
GC_EXPORT __sighandler_t bsd_signal(int signal, __sighandler_t handler);
GC_EXPORT __sighandler_t bsd_signal(int number, __sighandler_t handler)
{
    return signal(number, handler);
}

GC_EXPORT __sighandler_t __sysv_signal(int number, __sighandler_t handler)
{
    return sysv_signal(number, handler);
}

/* The collector keeps a thread's alternate stack, of which only the kernel may know. */
GC_EXPORT int sigaltstack(const stack_t *stack, stack_t *old)
{
    real_resolve();
    int result = real.sigaltstack(stack, old);
    if (result == 0 && stack != NULL)
        park_note_alternate(stack->ss_flags & SS_DISABLE ? 0 : (uintptr_t)stack->ss_sp,
                            stack->ss_size);
    return result;
}

GC_EXPORT int sigwait(const sigset_t *set, int *signal)
{
    sigset_t copy;
    return real_sigwait(without_ours(set, &copy), signal);
}

GC_EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    sigset_t copy;
    return real_sigwaitinfo(without_ours(set, &copy), info);
}

GC_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    sigset_t copy;
    return real_sigtimedwait(without_ours(set, &copy), info, timeout);
}

GC_EXPORT int sigsuspend(const sigset_t *mask)
{
    sigset_t copy;
    return real_sigsuspend(without_ours(mask, &copy));
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
    return real_ppoll(fds, count, timeout, without_ours(mask, &copy));
}

GC_EXPORT int pselect(int count, fd_set *read, fd_set *write, fd_set *except,
                      const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;
    return real_pselect(count, read, write, except, timeout, without_ours(mask, &copy));
}

GC_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int most, int timeout,
                          const sigset_t *mask)
{
    sigset_t copy;
    return real_epoll_pwait(fd, events, most, timeout, without_ours(mask, &copy));
}

GC_EXPORT int epoll_pwait2(int fd, struct epoll_event *events, int most,
                           const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;
    return real_epoll_pwait2(fd, events, most, timeout, without_ours(mask, &copy));
}

GC_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                          const sigset_t *mask, size_t size);
GC_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                          const sigset_t *mask, size_t size)
{
    sigset_t copy;
    return real___ppoll_chk(fds, count, timeout, without_ours(mask, &copy), size);
}
