/* threads.c -- pthread_create: each thread registers itself before its first function runs; and
 * clone.
 *
 * Start routine and argument travel in a block of our heap, to which the new thread's descriptor
 * (a root: it lies in the thread's stack mapping) points until the thread has read it. The
 * registration ends in a destructor of thread-specific data, see runtime.c. */
#include "base/base.h"
#include "mutator/foreign.h"
#include "mutator/park.h"
#include "real.h"
#include "runtime.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

struct start {
    void *(*routine)(void *);
    void *argument;
    bool blocked;
};

static void *begin(void *record)
{
    struct start start = *(struct start *)record;
    runtime_thread_begin();
    signals_inherit(start.blocked);
    free(record);
    return start.routine(start.argument);
}

GC_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                             void *(*routine)(void *), void *argument)
{
    real_resolve();
    foreign_prepare();
    struct start *record = malloc(sizeof(*record));
    if (record == NULL)
        return EAGAIN;
    *record = (struct start){routine, argument, signals_ours_blocked()};
    int result = real.pthread_create(thread, attributes, begin, record);
    if (result != 0)
        free(record);
    return result;
}

/* A task that shares the memory and the thread-local storage of another would park and unpark in
 * its name (mutator/park.h). If the other waits for it, it has no place meanwhile. */
GC_EXPORT int clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    va_list list;
    va_start(list, argument);
    void *parent_tid = va_arg(list, void *), *tls = va_arg(list, void *);
    void *child_tid = va_arg(list, void *);
    va_end(list);
    real_resolve();
    struct park *self = park_self;
    if ((flags & CLONE_VM) && !(flags & CLONE_VFORK))
        foreign_prepare();
    if ((flags & CLONE_VM) && !(flags & CLONE_SETTLS)) {
        if (!(flags & CLONE_VFORK))
            park_forbid();
        else if (self != NULL)
            relaxed_store(&self->away, 1);
        park_self = NULL;
    }
    int result = real.clone(function, stack, flags, argument, parent_tid, tls, child_tid);
    park_self = self;
    if (self != NULL)
        relaxed_store(&self->away, 0);
    return result;
}
