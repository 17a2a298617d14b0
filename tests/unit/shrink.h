/* shrink.h -- arena_shrink() with the locks that it wants. */
#ifndef UNIT_SHRINK_H
#define UNIT_SHRINK_H

#include "heap/meta.h"
#include "heap/page_heap.h"
#include "sys/lock.h"

static inline bool shrink(size_t most)
{
    lock_acquire(page_heap_lock());
    lock_acquire(meta_lock());
    bool shrunk = arena_shrink(most);
    lock_release(meta_lock());
    lock_release(page_heap_lock());
    return shrunk;
}

#endif
