/* thread_cache.c -- the miss path of the thread cache: whole batches to and from central.
 *
 * A magazine starts small and doubles with each miss up to its class's capacity, so a thread that
 * allocates little holds little. An overflowing magazine returns its older half (its bottom), and
 * keeps the blocks that were freed last: they are in the processor's caches. What a thread does not
 * use is taken from its magazines' bottoms (scavenge.c), so that an array begins at `home`, and its
 * blocks at `bottom`. */
#include "mutator/thread_cache.h"

#include "base/check.h"
#include "heap/central.h"
#include "mutator/entry.h"
#include "mutator/thread.h"

#include <string.h>

__thread struct thread_cache thread_cache;
__thread uintptr_t entry_stack;

enum {
    /* Bytes a full magazine may hold, and bounds on its blocks: 1,024 of up to 64 bytes. With 256
     * bench/smartheap took half as long again, batch 5-10 % longer, others the same. */
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

static void begin_moving(struct thread_cache *cache)
{
    cache->busy = 1;
    compiler_barrier();
}

static void end_moving(struct thread_cache *cache)
{
    compiler_barrier();
    cache->busy = 0;
}

void cache_attach(struct thread_cache *cache, struct thread *thread)
{
    unsigned at = 0;
    begin_moving(cache);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        void **items = &thread->items[at];
        cache->magazines[class] = (struct magazine){items, items, items, 0, at};
        at += magazine_capacity(class);
    }
    GC_CHECK(at <= THREAD_ITEMS);
    cache->thread = thread;
    cache->state = CACHE_ATTACHED;
    end_moving(cache);
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
    begin_moving(cache);
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
    end_moving(cache);
}

static unsigned grown_capacity(unsigned size_class, unsigned now)
{
    unsigned most = magazine_capacity(size_class);
    return now == 0 ? (unsigned)size_min(MAGAZINE_START, most) : (unsigned)size_min(2 * now, most);
}

static void **home_of(const struct thread_cache *cache, const struct magazine *m)
{
    return &cache->thread->items[m->home];
}

bool cache_refill(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    if (magazine_count(m) != 0)
        return true;
    begin_moving(cache);
    void **home = home_of(cache, m);
    unsigned capacity = grown_capacity(size_class, (unsigned)(m->end - home));
    m->top = m->bottom = home;
    m->end = home + capacity;
    unsigned count = central_fetch(size_class, home, (unsigned)size_max(capacity / 2, 1));
    m->top = home + count;
    end_moving(cache);
    return count != 0;
}

/* Down over what was taken from below. Counted as empty meanwhile, for the same reason as below. */
static void move_home(struct thread_cache *cache, struct magazine *m)
{
    void **home = home_of(cache, m), **bottom = m->bottom;
    unsigned count = magazine_count(m);
    m->top = bottom;
    compiler_barrier();
    memmove(home, bottom, count * sizeof(void *));
    compiler_barrier();
    m->bottom = m->top = home;
    compiler_barrier();
    m->top = home + count;
}

/* Out of the magazine first, then into central: if the process forks in between, the child loses
 * some free blocks. Else it would find them twice. */
static void release_half(struct thread_cache *cache, struct magazine *m, unsigned size_class)
{
    void **oldest = m->bottom;
    unsigned half = (magazine_count(m) + 1) / 2;
    m->bottom = oldest + half;
    compiler_barrier();
    central_release(size_class, oldest, half);
    move_home(cache, m);
}

void cache_make_room(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    unsigned count = magazine_count(m);
    if (magazine_room(m) != 0)
        return;
    begin_moving(cache);
    unsigned capacity = grown_capacity(size_class, count);
    if (m->bottom != home_of(cache, m))
        move_home(cache, m);
    else if (capacity == count)
        release_half(cache, m, size_class);
    else
        m->end = m->bottom + capacity;
    end_moving(cache);
}
