/* signals.c -- the reserved signal is the library's: the program cannot block it or handle it.
 *
 * A thread that blocked it could not be stopped; many programs block all signals in their workers.
 * What the program sets for that signal is remembered and shown to it again, without effect. */
#include "base/base.h"
#include "gc/world.h"
#include "real.h"
#include "runtime.h"

#include <stddef.h>

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
