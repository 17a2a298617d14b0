/* api_weak.c -- gcmalloc.h, section 3: weak references, as the program calls them. They need no
 * collector: with mode=off only free() clears them. */
#define GCMALLOC_IMPLEMENTATION
#include "gcmalloc.h"

#include "cycle/finalizer.h"
#include "mutator/alloc.h"
#include "sys/lock.h"

#include <errno.h>

static gcmalloc_weak *new_weak(const void *block, bool is_long)
{
    bool held = lock_any_held(); /* a signal handler on top of the allocator */
    if (held || alloc_use(block) != ALLOC_BLOCK) {
        errno = held ? EAGAIN : EINVAL;
        return NULL;
    }
    struct registration *weak = finalizer_weak_new((uintptr_t)block, is_long);
    if (weak == NULL)
        errno = ENOMEM;
    return (gcmalloc_weak *)weak;
}

gcmalloc_weak *gcmalloc_weak_new(void *block)
{
    return new_weak(block, false);
}

gcmalloc_weak *gcmalloc_weak_new_long(void *block)
{
    return new_weak(block, true);
}

void *gcmalloc_weak_get(gcmalloc_weak *weak)
{
    void *block;
    if (!finalizer_weak_get(weak, &block))
        errno = EINVAL;
    return block;
}

uint64_t gcmalloc_weak_hold(void)
{
    return finalizer_weak_hold();
}

void gcmalloc_weak_release(void)
{
    finalizer_weak_release();
}

void gcmalloc_weak_drop(gcmalloc_weak *weak)
{
    if (weak != NULL && !lock_any_held() && !finalizer_weak_drop(weak))
        errno = EINVAL;
}
