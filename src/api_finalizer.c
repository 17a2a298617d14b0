/* api_finalizer.c -- gcmalloc.h, section 3: finalizers and cleanups, as the program calls them. */
#define GCMALLOC_IMPLEMENTATION
#include "gcmalloc.h"

#include "api.h"
#include "cycle/finalizer.h"
#include "final_thread.h"
#include "mutator/alloc.h"
#include "runtime.h"
#include "sys/lock.h"

#include <errno.h>

/* 0, or what is wrong with a call that attaches something to the block. There is a thread first:
 * the one that would make it later may hold a lock of libc's which that takes once (atexit's). */
static int check(const void *block)
{
    if (!runtime_has_collector())
        return ENOSYS;
    if (lock_any_held()) /* a signal handler on top of the allocator */
        return EAGAIN;
    if (alloc_use(block) != ALLOC_BLOCK)
        return EINVAL;
    final_thread_start();
    return 0;
}

int gcmalloc_set_finalizer_as(void *block, gcmalloc_finalizer *finalizer, void *data,
                              enum gcmalloc_order order)
{
    static const enum finalizer_order orders[] = {
        [GCMALLOC_ORDERED] = FINALIZER_ORDERED, [GCMALLOC_IGNORE_SELF] = FINALIZER_IGNORE_SELF,
        [GCMALLOC_NO_ORDER] = FINALIZER_NO_ORDER, [GCMALLOC_LAST] = FINALIZER_LAST};
    int error = (unsigned)order < GC_COUNT(orders) ? check(block) : EINVAL;
    if (error != 0)
        return api_fail(error);
    if (finalizer == NULL)
        finalizer_clear((uintptr_t)block);
    else if (!finalizer_set((uintptr_t)block, (finalizer_call_fn *)finalizer, data, orders[order]))
        return api_fail(ENOMEM);
    return 0;
}

int gcmalloc_set_finalizer(void *block, gcmalloc_finalizer *finalizer, void *data)
{
    return gcmalloc_set_finalizer_as(block, finalizer, data, GCMALLOC_ORDERED);
}

int gcmalloc_get_finalizer(void *block, gcmalloc_finalizer **finalizer, void **data)
{
    finalizer_call_fn *call;
    int error = finalizer == NULL || data == NULL ? EINVAL : check(block);
    if (error == 0 && !finalizer_get((uintptr_t)block, &call, data))
        error = ENOENT;
    if (error != 0)
        return api_fail(error);
    *finalizer = (gcmalloc_finalizer *)call;
    return 0;
}

int gcmalloc_finalizers_by_hand(int on)
{
    return runtime_has_collector() ? final_thread_by_hand(on != 0) : 0;
}

unsigned gcmalloc_finalizers_due(void)
{
    return finalizer_due();
}

unsigned gcmalloc_call_finalizers(void)
{
    return lock_any_held() ? 0 : final_thread_call_all();
}

uint64_t gcmalloc_add_cleanup(void *block, gcmalloc_cleanup *cleanup, void *data)
{
    int error = cleanup == NULL ? EINVAL : check(block);
    uint64_t number = 0;
    if (error == 0) {
        number = finalizer_add_cleanup((uintptr_t)block, (finalizer_call_fn *)cleanup, data);
        error = number == 0 ? ENOMEM : 0;
    }
    if (error != 0)
        errno = error;
    return number;
}

int gcmalloc_remove_cleanup(uint64_t cleanup)
{
    if (!runtime_has_collector())
        return api_fail(ENOSYS);
    if (lock_any_held())
        return api_fail(EAGAIN);
    return finalizer_remove_cleanup(cleanup) ? 0 : api_fail(ENOENT);
}
