/* heap.c -- the heap floor as one. */
#include "heap/heap.h"

#include "heap/central.h"
#include "heap/judge.h"
#include "heap/large.h"
#include "heap/meta.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"
#include "sys/lock.h"

bool heap_init(size_t most, bool past_end)
{
    hot.pad = past_end;
    sweep_init(&(struct sweepers){central_sweep_span, large_sweep});
    return arena_init(most);
}

void heap_lock_all(void)
{
    central_lock_all();
    lock_acquire(page_heap_lock());
}

void heap_unlock_all(void)
{
    lock_release(page_heap_lock());
    central_unlock_all();
}

void heap_unlock_all_in_child(void)
{
    lock_reset(page_heap_lock());
    central_reset_locks();
    bool interrupted = sweep_reset();
    heap_unlock_all();
    if (interrupted && judge_is_silent())
        central_recount();
}

size_t heap_trim(void)
{
    sweep_for(UINT32_MAX / 2);
    central_trim();
    return page_heap_decay(0);
}
