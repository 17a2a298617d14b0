/* api_pool.c -- gcmalloc.h, section 5: object pools (mutator/pool.c). */
#define GCMALLOC_IMPLEMENTATION
#include "gcmalloc.h"

#include "mutator/alloc.h"
#include "mutator/pool.h"
#include "runtime.h"
#include "sys/lock.h"

static void drop_by_free(void *object, void *data)
{
    (void)data;
    alloc_free(object);
}

static struct pool *pool_of(gcmalloc_pool *pool)
{
    return (struct pool *)pool;
}

gcmalloc_pool *gcmalloc_pool_new(void *(*make)(void *data),
                                 void (*drop)(void *object, void *data), void *data)
{
    struct pool_calls calls = {make, drop != NULL ? drop : drop_by_free, data};
    runtime_start();
    struct pool *pool = lock_any_held() ? NULL : pool_new(&calls);
    if (pool == NULL)
        errno = ENOMEM;
    return (gcmalloc_pool *)pool;
}

void *gcmalloc_pool_get(gcmalloc_pool *pool)
{
    return pool == NULL || lock_any_held() ? NULL : pool_get(pool_of(pool));
}

void gcmalloc_pool_put(gcmalloc_pool *pool, void *object)
{
    if (pool != NULL && !lock_any_held())
        pool_put(pool_of(pool), object);
}

void gcmalloc_pool_free(gcmalloc_pool *pool)
{
    if (pool != NULL && !lock_any_held())
        pool_free(pool_of(pool));
}
