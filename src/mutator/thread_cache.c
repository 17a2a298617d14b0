/* thread_cache.c -- the miss path of the thread cache: whole batches to and from central.
 *
 * A magazine starts small and doubles with each miss up to its class's capacity, so a thread that
 * allocates little holds little; and what all of them may hold is bounded, so that one that uses
 * many sizes holds little of each. An overflowing magazine returns its older half (its bottom), and
 * keeps the blocks that were freed last: they are in the processor's caches. What a thread does not
 * use is taken from its magazines' bottoms (scavenge.c), so that an array begins at `home`, and its
 * blocks at `bottom`.
 *
 *   .inv.calm    When all that the magazines may hold is given out, one grows at the cost of
 *                another only if that is idle, or more than twice as large. So those that are in
 *                use come to equal shares, and stay there: taking from each other at every miss
 *                cost a program with fifty sizes a tenth of its time.
 *   .inv.moving  While a magazine's blocks are moved it is closed (`until` is 0, `top` is `end`):
 *                malloc and free take the slow path; and `busy` is set, so that they go to central
 *                from there (alloc.c). That is for a handler of the program's that comes on top of
 *                the miss path and uses malloc all the same, wherever it comes. */
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
    /* Capacity after the first miss, whatever the others hold: START blocks; of small ones so many
     * that half of them have a cache line of slot bytes of their own (central.c); of large ones
     * fewer, for the next ones will not be asked for, as a rule: eight threads with blocks of all
     * sizes, few of them large, had 13.3 MB instead of 8.6. */
    MAGAZINE_START = 8,
    START_LINES = 2 * CACHE_LINE * GRANULE,
    START_BYTES = 16 << 10,
    START_LEAST = 2,
    /* Magazines that are looked at in vain, for room for another one, before it stays small. */
    VICTIMS = 8,
    /* A few rounds of all classes. */
    IDLE_GROWTHS = 512,
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
    thread_move(cache->thread);
}

static void end_moving(struct thread_cache *cache)
{
    thread_move(cache->thread);
    compiler_barrier();
    cache->busy = 0;
}

/* From here to reopen() malloc and free pass the magazine by: .inv.moving. Returns its `until`. */
static int32_t close_magazine(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    struct thread *t = cache->thread;
    int32_t until = m->until;
    relaxed_store(&t->counted[size_class],
                  t->made[size_class] + thread_loaded_less(t->loaded[size_class], until));
    m->until = 0;
    compiler_barrier();
    do { /* again, if a handler has freed something in between */
        m->end = m->top;
        compiler_barrier();
    } while (m->end != m->top);
    return until;
}

/* In the child of fork the magazine of a thread that is no more may be half-way. */
static unsigned closed_count(const struct magazine *m)
{
    return m->top > m->bottom ? magazine_count(m) : 0;
}

static void **home_of(const struct thread_cache *cache, const struct magazine *m)
{
    return &cache->thread->items[m->home];
}

/* With items[0..count), which go to the beginning of the array. Meanwhile it counts as empty: if
 * the process forks, the child loses some free blocks. Else it might find them twice. */
static void reopen(struct thread_cache *cache, unsigned size_class, void **items, unsigned count,
                   int32_t until)
{
    struct magazine *m = &cache->magazines[size_class];
    void **home = home_of(cache, m);
    m->bottom = m->top;
    compiler_barrier();
    if (items != home) /* else it would only leave their addresses in registers, which are roots */
        memmove(home, items, count * sizeof(void *));
    compiler_barrier();
    m->top = home + count;
    compiler_barrier();
    m->bottom = home;
    compiler_barrier();
    m->end = home + cache->thread->capacity[size_class];
    compiler_barrier();
    m->until = until;
}

/* Of a closed one; its oldest. Out of the magazine first, then into central: as above. */
static void release_oldest(struct thread_cache *cache, unsigned size_class, unsigned count)
{
    struct magazine *m = &cache->magazines[size_class];
    void **oldest = m->bottom;
    m->bottom += count;
    compiler_barrier();
    central_release(size_class, cache->thread->shard, oldest, count);
}

void cache_attach(struct thread_cache *cache, struct thread *thread)
{
    unsigned at = 0;
    cache->thread = thread;
    begin_moving(cache);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        void **items = &thread->items[at];
        cache->magazines[class] = (struct magazine){items, items, items, 0, at};
        thread->capacity[class] = 0;
        at += magazine_capacity(class);
    }
    GC_CHECK(at <= THREAD_ITEMS);
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

/* The magazines stay closed. */
void cache_flush(struct thread_cache *cache)
{
    bool half_way = thread_is_moving(cache->thread);
    begin_moving(cache);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        struct magazine *m = &cache->magazines[class];
        if (!half_way || m->until != 0) /* else it was closed, and has been counted */
            close_magazine(cache, class);
        void **items = m->bottom;
        unsigned count = still_cached(items, closed_count(m));
        m->bottom = m->top;
        compiler_barrier();
        if (count != 0)
            central_release(class, cache->thread->shard, items, count);
    }
    cache->state = CACHE_STRANGER;
    end_moving(cache);
    cache->thread = NULL;
}

static void set_capacity(struct thread_cache *cache, unsigned size_class, unsigned capacity)
{
    uint16_t *now = &cache->thread->capacity[size_class];
    cache->bytes += ((int64_t)capacity - *now) * size_classes[size_class].size;
    *now = (uint16_t)capacity;
}

static void shrink(struct thread_cache *cache, unsigned size_class, unsigned capacity)
{
    struct magazine *m = &cache->magazines[size_class];
    int32_t until = close_magazine(cache, size_class);
    if (magazine_count(m) > capacity)
        release_oldest(cache, size_class, magazine_count(m) - capacity);
    set_capacity(cache, size_class, capacity);
    reopen(cache, size_class, m->bottom, magazine_count(m), until);
}

static int64_t capacity_bytes(const struct thread_cache *cache, unsigned size_class)
{
    return (int64_t)cache->thread->capacity[size_class] * size_classes[size_class].size;
}

/* Nothing of the class was allocated while magazines grew IDLE_GROWTHS times. */
static bool is_idle(struct thread *t, int32_t until, unsigned size_class)
{
    if (t->in_use[size_class].until == until)
        return t->growths - t->in_use[size_class].growths >= IDLE_GROWTHS;
    t->in_use[size_class].until = until;
    t->in_use[size_class].growths = t->growths;
    return false;
}

/* It is idle, or has more than twice what the one that needs room has. */
static bool may_shrink(struct thread_cache *cache, unsigned victim, unsigned size_class)
{
    bool idle = is_idle(cache->thread, cache->magazines[victim].until, victim);
    return victim != size_class && cache->thread->capacity[victim] >= 2 * MAGAZINE_LEAST &&
           (idle || capacity_bytes(cache, victim) > 2 * capacity_bytes(cache, size_class));
}

/* Halves some other magazine, going round: .inv.calm. False: none of the next ones. */
static bool shrink_another(struct thread_cache *cache, unsigned size_class)
{
    for (unsigned i = 0; i < VICTIMS; i++) {
        unsigned class = cache->victim = (uint8_t)((cache->victim + 1) % SIZE_CLASS_COUNT);
        if (!may_shrink(cache, class, size_class))
            continue;
        shrink(cache, class, cache->thread->capacity[class] / 2);
        return true;
    }
    return false;
}

static unsigned first_capacity(unsigned size_class)
{
    uint32_t size = size_classes[size_class].size;
    size_t most = size_max(START_LINES / size, MAGAZINE_START);
    return (unsigned)size_clamp(START_BYTES / size, START_LEAST, most);
}

/* Twice what it is, from the first one up to the class's capacity, within the thread's budget. Its
 * magazine is closed. Returns the capacity. */
static unsigned grow(struct thread_cache *cache, unsigned size_class)
{
    unsigned now = cache->thread->capacity[size_class], most = magazine_capacity(size_class);
    unsigned capacity = (unsigned)size_min(now == 0 ? first_capacity(size_class) : 2 * now, most);
    cache->thread->growths++;
    int64_t more = (int64_t)(capacity - now) * size_classes[size_class].size;
    while (cache->bytes + more > CACHE_BYTES && shrink_another(cache, size_class))
        continue;
    if (now == 0 || cache->bytes + more <= CACHE_BYTES)
        set_capacity(cache, size_class, capacity);
    return cache->thread->capacity[size_class];
}

bool cache_refill(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    if (magazine_count(m) != 0)
        return true;
    begin_moving(cache);
    int32_t until = close_magazine(cache, size_class);
    void **items = m->bottom;
    unsigned count = magazine_count(m); /* a handler may have freed some */
    if (count == 0) {
        items = home_of(cache, m);
        count = central_fetch(size_class, cache->thread->shard, items,
                              (unsigned)size_max(grow(cache, size_class) / 2, 1));
    }
    reopen(cache, size_class, items, count, until);
    end_moving(cache);
    return count != 0;
}

bool cache_knows(struct thread_cache *cache, unsigned size_class)
{
    bool known = cache->thread->capacity[size_class] != 0;
    if (!known)
        cache_make_room(cache, size_class);
    return known;
}

void cache_make_room(struct thread_cache *cache, unsigned size_class)
{
    struct magazine *m = &cache->magazines[size_class];
    if (magazine_room(m) != 0)
        return;
    begin_moving(cache);
    int32_t until = close_magazine(cache, size_class);
    unsigned count = magazine_count(m);
    if (count >= cache->thread->capacity[size_class] && grow(cache, size_class) <= count)
        release_oldest(cache, size_class, (count + 1) / 2);
    reopen(cache, size_class, m->bottom, magazine_count(m), until);
    end_moving(cache);
}
