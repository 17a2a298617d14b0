/* threads.c -- pthread_create: each thread registers itself before its first function runs.
 *
 * Start routine and argument travel in a block of our heap, to which the new thread's descriptor
 * (a root: it lies in the thread's stack mapping) points until the thread has read it. The
 * registration ends in a destructor of thread-specific data, see runtime.c. */
#include "base/base.h"
#include "real.h"
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>

struct start {
    void *(*routine)(void *);
    void *argument;
};

static void *begin(void *record)
{
    struct start start = *(struct start *)record;
    free(record);
    runtime_thread_begin();
    return start.routine(start.argument);
}

GC_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                             void *(*routine)(void *), void *argument)
{
    real_resolve();
    struct start *record = malloc(sizeof(*record));
    if (record == NULL)
        return EAGAIN;
    *record = (struct start){routine, argument};
    int result = real.pthread_create(thread, attributes, begin, record);
    if (result != 0)
        free(record);
    return result;
}
