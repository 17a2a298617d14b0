/* thread_cache.c -- the miss path of the thread cache: whole batches to and from central.
 *
 * A magazine starts small and doubles with each miss up to its class's capacity, so a thread that
 * allocates little holds little. An overflowing magazine returns its older half (its bottom), and
 * keeps the blocks that were freed last: they are in the processor's caches. */
#include "mutator/thread_cache.h"

#include "base/check.h"
#include "heap/central.h"
#include "mutator/entry.h"
#include "mutator/thread.h"

#include <string.h>

__thread struct thread_cache thread_cache;
__thread uintptr_t entry_stack;

enum {
    /* Bytes a full magazine may hold, and bounds on its blocks. 256 blocks of up to 256 bytes:
     * a batch of 128 costs central ~10 ns a block; larger gained under 2 % in bench/batch. */
    MAGAZINE_BYTES = 64 << 10,
    MAGAZINE_LEAST = 2,
    MAGAZINE_MOST = CENTRAL_BATCH_MOST,
    /* Capacity after the first miss. */
    MAGAZINE_START = 8,
};

unsigned magazine_capacity(unsigned size_class)
{
    return (unsigned)size_clamp(MAGAZINE_BYTES / size_classes[size_class].size, MAGAZINE_LEAST,
                                MAGAZINE_MOST);
}

void cache_attach(struct thread_cache *cache, struct thread *thread)
{
    unsigned at = 0;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        void **items = &thread->items[at];
        cache->magazines[class] = (struct magazine){items, items, items, 0};
        at += magazine_capacity(class);
    }
    GC_CHECK(at <= THREAD_ITEMS);
    cache->thread = thread;
    cache->state = CACHE_ATTACHED;
}

/* Keeps only what is SLOT_CACHED: see cache_flush. */
static unsigned still_cached(void **items, unsigned count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++)
        if (relaxed_load(slot_of((uintptr_t)items[i])) == SLOT_CACHED)
            items[kept++] = items[i];
    return kept;
}

void cache_flush(struct thread_cache *cache)
{
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        struct magazine *m = &cache->magazines[class];
        void **items = m->bottom;
        unsigned count = still_cached(items, magazine_count(m));
        *m = (struct magazine){0};
        compiler_barrier();
        if (count != 0)
            central_release(class, items, count);
    }
    cache->state = CACHE_STRANGER;
    cache->thread = NULL;
}

static unsigned grown_capacity(unsigned size_class, unsigned now)
{
    unsigned most = magazine_capacity(size_class);
    return now == 0 ? (unsigned)size_min(MAGAZINE_START, most) : (unsigned)size_min(2 * now, most);
}

bool cache_refill(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    if (magazine_count(m) != 0)
        return true;
    unsigned capacity = grown_capacity(size_class, magazine_room(m));
    unsigned count = central_fetch(size_class, m->bottom, (unsigned)size_max(capacity / 2, 1));
    m->top = m->bottom + count;
    m->end = m->bottom + capacity;
    return count != 0;
}

/* Out of the magazine first, then into central, and counted as empty while the rest moves up: if
 * the process forks in between, the child loses some free blocks. Else it would find them twice. */
static void release_half(struct magazine *m, unsigned size_class, unsigned count)
{
    void *batch[MAGAZINE_MOST];
    unsigned half = (count + 1) / 2;
    memcpy(batch, m->bottom, half * sizeof(void *));
    m->top = m->bottom;
    compiler_barrier();
    memmove(m->bottom, m->bottom + half, (count - half) * sizeof(void *));
    compiler_barrier();
    m->top = m->bottom + count - half;
    compiler_barrier();
    central_release(size_class, batch, half);
}

void cache_make_room(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    unsigned count = magazine_count(m);
    if (magazine_room(m) != 0)
        return;
    unsigned capacity = grown_capacity(size_class, count);
    if (capacity == count)
        release_half(m, size_class, count);
    else
        m->end = m->bottom + capacity;
}
