/* real.c -- looking up what the wrappers wrap: the next definition after ours. */
#include "real.h"

#include "sys/print.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

struct real real;

static void look_up(void *slot, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        print_fatal("libc has no function %s", name);
    memcpy(slot, &found, sizeof(found));
}

void real_resolve(void)
{
    if (real.dlclose != NULL)
        return;
    look_up(&real.pthread_create, "pthread_create");
    look_up(&real.pthread_sigmask, "pthread_sigmask");
    look_up(&real.sigprocmask, "sigprocmask");
    look_up(&real.sigaction, "sigaction");
    look_up(&real.sigwait, "sigwait");
    look_up(&real.sigwaitinfo, "sigwaitinfo");
    look_up(&real.sigtimedwait, "sigtimedwait");
    look_up(&real.sigsuspend, "sigsuspend");
    look_up(&real.signalfd, "signalfd");
    look_up(&real.ppoll, "ppoll");
    look_up(&real.pselect, "pselect");
    look_up(&real.epoll_pwait, "epoll_pwait");
    look_up(&real.dlopen, "dlopen");
    look_up(&real.dlclose, "dlclose");
}
