/* pool.c -- is an object pool worth having: get and put against malloc and free, and against a list
 * behind a mutex?
 *
 * An object of 512 bytes is taken, used, and given back, by one thread or by THREADS at a time: the
 * least that any of the three can cost. Only with the library: without it a pool is such a list.
 *
 *     pool [THREADS=1] [ROUNDS=2000000] */
#include "bench.h"
#include "gcmalloc.h"
#include "threads.h"

#include <pthread.h>

enum { SIZE = 512, LISTED = 64 };

static gcmalloc_pool *pool;

static void *make(void *unused)
{
    (void)unused;
    return malloc(SIZE);
}

static struct {
    pthread_mutex_t lock;
    void *objects[LISTED];
    unsigned count;
} list = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *list_get(void)
{
    pthread_mutex_lock(&list.lock);
    void *object = list.count != 0 ? list.objects[--list.count] : NULL;
    pthread_mutex_unlock(&list.lock);
    return object != NULL ? object : malloc(SIZE);
}

static void list_put(void *object)
{
    pthread_mutex_lock(&list.lock);
    if (list.count < LISTED) {
        list.objects[list.count++] = object;
        object = NULL;
    }
    pthread_mutex_unlock(&list.lock);
    free(object);
}

static uint64_t rounds;

static void *by_pool(void *unused)
{
    for (uint64_t i = 0; i < rounds; i++) {
        char *p = gcmalloc_pool_get(pool);
        *p = 1;
        use(p);
        gcmalloc_pool_put(pool, p);
    }
    return unused;
}

static void *by_list(void *unused)
{
    for (uint64_t i = 0; i < rounds; i++) {
        char *p = list_get();
        *p = 1;
        use(p);
        list_put(p);
    }
    return unused;
}

static void *by_malloc(void *unused)
{
    for (uint64_t i = 0; i < rounds; i++) {
        char *p = malloc(SIZE);
        *p = 1;
        use(p);
        free(p);
    }
    return unused;
}

/* ns a round, of each thread. */
static double measure(void *(*way)(void *), unsigned threads)
{
    char none = 0;
    return (double)threads_run(way, &none, 0, threads) / (double)rounds;
}

int main(int argc, char **argv)
{
    unsigned threads = (unsigned)arg_count(argc, argv, 1, 1);
    rounds = arg_count(argc, argv, 2, 2000000);
    pool = gcmalloc_pool_new(make, NULL, NULL);
    if (pool == NULL)
        die("no pool");
    report("pool", "pool", measure(by_pool, threads), "ns");
    report("pool", "malloc", measure(by_malloc, threads), "ns");
    report("pool", "mutex", measure(by_list, threads), "ns");
    gcmalloc_pool_free(pool);
}
