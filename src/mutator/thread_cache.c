/* thread_cache.c -- the miss path of the thread cache: whole batches to and from central.
 *
 * A magazine starts small and doubles with each miss up to its class's capacity, so a thread that
 * allocates little holds little; and what all of them may hold is bounded, so that one that uses
 * many sizes holds little of each. An overflowing magazine returns its older half (its bottom), and
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
    /* Bytes a full magazine may hold, and bounds on its blocks: 1,024 of up to 256 bytes. With 64
     * KiB rptest of up to 64,000 bytes took 2.6 times as long; with 256 blocks smartheap took half
     * as long again, batch 5-10 % longer. */
    MAGAZINE_BYTES = 256 << 10,
    MAGAZINE_LEAST = 4,
    MAGAZINE_MOST = CENTRAL_BATCH_MOST,
    /* Capacity after the first miss, whatever the others hold. */
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
    cache->bytes = 0;
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

static void **home_of(const struct thread_cache *cache, const struct magazine *m)
{
    return &cache->thread->items[m->home];
}

static unsigned capacity_of(const struct thread_cache *cache, const struct magazine *m)
{
    return (unsigned)(m->end - home_of(cache, m));
}

static void set_capacity(struct thread_cache *cache, unsigned size_class, unsigned capacity)
{
    struct magazine *m = &cache->magazines[size_class];
    int64_t more = (int64_t)capacity - capacity_of(cache, m);
    m->end = home_of(cache, m) + capacity;
    cache->bytes += more * size_classes[size_class].size;
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

/* Halves the next larger magazine that is not the one for which room is needed. */
static void shrink_another(struct thread_cache *cache, unsigned size_class)
{
    for (unsigned i = 0; i < SIZE_CLASS_COUNT; i++) {
        unsigned class = cache->victim = (uint8_t)((cache->victim + 1) % SIZE_CLASS_COUNT);
        struct magazine *m = &cache->magazines[class];
        unsigned capacity = class == 0 ? 0 : capacity_of(cache, m);
        if (class == size_class || capacity < 2 * MAGAZINE_LEAST)
            continue;
        if (m->bottom != home_of(cache, m))
            move_home(cache, m);
        while (magazine_count(m) > capacity / 2)
            release_half(cache, m, class);
        set_capacity(cache, class, capacity / 2);
        return;
    }
}

/* Twice what it is, from MAGAZINE_START up to the class's capacity, within the thread's budget. */
static unsigned grow(struct thread_cache *cache, unsigned size_class)
{
    unsigned now = capacity_of(cache, &cache->magazines[size_class]);
    unsigned most = magazine_capacity(size_class);
    unsigned capacity = (unsigned)size_min(now == 0 ? MAGAZINE_START : 2 * now, most);
    int64_t more = (int64_t)(capacity - now) * size_classes[size_class].size;
    for (unsigned i = 0; i < SIZE_CLASS_COUNT && cache->bytes + more > CACHE_BYTES; i++)
        shrink_another(cache, size_class);
    if (now == 0 || cache->bytes + more <= CACHE_BYTES)
        set_capacity(cache, size_class, capacity);
    return capacity_of(cache, &cache->magazines[size_class]);
}

bool cache_refill(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    if (magazine_count(m) != 0)
        return true;
    begin_moving(cache);
    void **home = home_of(cache, m);
    m->top = m->bottom = home;
    unsigned want = (unsigned)size_max(grow(cache, size_class) / 2, 1);
    unsigned count = central_fetch(size_class, home, want);
    m->top = home + count;
    end_moving(cache);
    return count != 0;
}

void cache_make_room(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    unsigned count = magazine_count(m);
    if (magazine_room(m) != 0)
        return;
    begin_moving(cache);
    if (m->bottom != home_of(cache, m))
        move_home(cache, m);
    else if (grow(cache, size_class) == count)
        release_half(cache, m, size_class);
    end_moving(cache);
}
