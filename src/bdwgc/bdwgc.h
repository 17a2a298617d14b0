/* bdwgc.h -- what the files behind gc.h have in common.
 *
 * Thread safety: all functions of gc.h may be called by any thread. What is shared is under one
 * recursive lock, the allocator lock of gc.h: the collector never waits for it. */
#ifndef GC_BDWGC_H
#define GC_BDWGC_H

/* The variables of gc.h are read and written here. */
#define GC_BDWGC
#include "bdwgc/gc.h"
#include "gcmalloc.h"

#include <stdatomic.h>
#include <stdbool.h>

#define BDWGC_EXPORT __attribute__((visibility("default")))
/* GC_set_name and GC_get_name of a variable, at file scope. */
#define BDWGC_SETTING(type, name, place) \
    BDWGC_EXPORT void GC_set_##name(type value) \
    { \
        place = value; \
    } \
    BDWGC_EXPORT type GC_get_##name(void) \
    { \
        return place; \
    }

/* The first call of any function that may have something collected. Later ones cost a test. */
void bdwgc_start_once(void);
extern atomic_bool bdwgc_started;
static inline void bdwgc_start(void)
{
    if (!atomic_load_explicit(&bdwgc_started, memory_order_acquire))
        bdwgc_start_once();
}

/* The allocator lock, without what it means for links. */
void bdwgc_lock(void);
void bdwgc_unlock(void);
void bdwgc_lock_anew(void); /* instead, in fork's child */
/* The calling thread holds it. */
bool bdwgc_locked(void);

/* Finalizers that are due are called, or the notifier is. Between two allocations. */
void bdwgc_finalize_due(void);

/* What is registered for the block, or NULL; and: it has been freed, or has moved. Its links are
 * cleared. */
struct object;
struct object *bdwgc_object_of(void *block);
void bdwgc_object_ended(struct object *object);

#endif
