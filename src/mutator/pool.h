/* pool.h -- objects that are kept for reuse until the collector empties the pool (Go's sync.Pool).
 *
 * Thread safety: get and put: any thread that holds no lock; pool_turn: whoever ran a cycle, when
 * it has ended, holding no lock; pool_free: when nobody else uses the pool any more. */
#ifndef GC_POOL_H
#define GC_POOL_H

#include "base/base.h"

struct pool;

struct pool_calls {
    void *(*make)(void *data);               /* or NULL: get returns NULL if there is none */
    void (*drop)(void *object, void *data);
    void *data;
};

/* NULL: no memory. */
struct pool *pool_new(const struct pool_calls *calls);
void *pool_get(struct pool *pool);
void pool_put(struct pool *pool, void *object);
/* Drops all that is in it, and the pool. */
void pool_free(struct pool *pool);
/* A cycle has ended. */
void pool_turn(void);
/* The POOLS lock, for fork. */
struct lock *pool_lock(void);

#endif
