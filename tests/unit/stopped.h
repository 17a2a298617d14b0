/* stopped.h -- the world, stopped as a cycle stops it: under the registry's lock. */
#ifndef UNIT_STOPPED_H
#define UNIT_STOPPED_H

#include "gc/world.h"
#include "mutator/thread.h"
#include "sys/lock.h"

static inline enum world_result stop_world(enum world_who who, uint64_t timeout_ns)
{
    lock_acquire(thread_registry_lock());
    enum world_result result = world_stop(who, timeout_ns);
    if (result != WORLD_STOPPED)
        lock_release(thread_registry_lock());
    return result;
}

static inline void resume_world(void)
{
    world_start();
    lock_release(thread_registry_lock());
}

#endif
