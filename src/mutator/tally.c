/* tally.c -- adding up what magazines, central and the slow paths know.
 *
 * Theory: a block of a class is in a span, in a transfer cache, in a magazine, or the program's.
 * Central knows how many have left the spans; less those that lie in caches, these are live.
 * A thread's allocations of a class are those before its last event, and what `until` has gone down
 * by since. What was allocated and is not live has been freed, by whomever.
 *
 *   .inv.moves   `thread.moves` is odd while its thread changes what must be read together. Another
 *                thread's cache is copied between two looks at it. A thread that is never at rest,
 *                or whose cache cannot be read (scavenge.c, .inv.there; a sandbox), counts with
 *                what it had allocated when it was last on a slow path, and with an empty cache.
 *   .inv.rises   What was told once is never taken back, though a thread that was seen in the
 *                middle of malloc has a block too many, in its magazine and in its count. So each
 *                reader has figures of its own: the program's thread, which sees itself at rest,
 *                must not meet what the collector's thread saw of it.
 *
 * The copies lie here because stacks may be small; they are guarded by the REGISTRY lock. */
#include "mutator/tally.h"

#include "base/check.h"
#include "heap/central.h"
#include "heap/heap_stats.h"
#include "mutator/thread.h"
#include "sys/lock.h"
#include "sys/proc_mem.h"
#include "sys/sandbox.h"

#include <string.h>

/* Looks at a thread that is busy with its magazines, each some 1 us later. */
enum { TRIES = 3 };

struct tally_counters tally_counters;

/* REGISTRY lock. */
static struct {
    struct thread_cache cache;
    uint64_t made[SIZE_CLASS_COUNT];
    int32_t loaded[SIZE_CLASS_COUNT];
} copy;
static uint64_t made[SIZE_CLASS_COUNT];
static int64_t cached[SIZE_CLASS_COUNT];
static struct {
    uint64_t mallocs[SIZE_CLASS_COUNT], frees[SIZE_CLASS_COUNT];
} told[TALLY_READERS]; /* .inv.rises */

bool tally_can_read(void)
{
    bool moving = thread_cache.thread != NULL && thread_is_moving(thread_cache.thread);
    return !lock_any_held() && !thread_cache.busy && !moving;
}

static void add_cache(const struct thread_cache *cache, const uint64_t *before,
                      const int32_t *loaded)
{
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        const struct magazine *m = &cache->magazines[class];
        made[class] += before[class] + thread_loaded_less(loaded[class], m->until);
        cached[class] += m->top - m->bottom;
    }
}

/* .inv.moves */
static bool copy_other(const struct thread *t)
{
    uint32_t moves = acquire_load(&t->moves);
    if (moves % 2 != 0 || !proc_mem_copy(&copy.cache, (uintptr_t)t->cache, sizeof copy.cache))
        return false;
    memcpy(copy.made, t->made, sizeof copy.made);
    memcpy(copy.loaded, t->loaded, sizeof copy.loaded);
    atomic_thread_fence(memory_order_acquire);
    return relaxed_load(&t->moves) == moves && copy.cache.thread == t &&
           copy.cache.state == CACHE_ATTACHED;
}

static void add_other(const struct thread *t)
{
    for (int i = 0; i < TRIES && !sandbox_on(); i++)
        if (copy_other(t)) {
            add_cache(&copy.cache, copy.made, copy.loaded);
            return;
        }
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++)
        made[class] += relaxed_load(&t->counted[class]);
}

static void add_threads(void)
{
    for (const struct thread *t = thread_first(); t != NULL; t = t->next)
        if (t == thread_cache.thread)
            add_cache(&thread_cache, t->made, t->loaded);
        else
            add_other(t);
}

static void add_slow_paths(void)
{
    for (unsigned class = 0; class < SIZE_CLASS_COUNT; class++) {
        made[class] = relaxed_load(&tally_counters.uncached[class]) +
                      relaxed_load(&tally_counters.ended[class]);
        cached[class] = 0;
    }
}

static uint64_t risen(uint64_t *last, uint64_t now)
{
    if ((int64_t)(now - *last) > 0)
        *last = now;
    return *last;
}

static void add_class(struct tally *out, enum tally_reader reader, unsigned class)
{
    struct central_count c = central_count(class);
    uint64_t size = size_classes[class].size;
    int64_t live = (int64_t)c.taken - c.transfer - cached[class];
    uint64_t mallocs = out->mallocs[class] = risen(&told[reader].mallocs[class], made[class]);
    uint64_t frees = out->frees[class] =
        risen(&told[reader].frees[class], made[class] - (uint64_t)(live > 0 ? live : 0));
    out->allocated_bytes += mallocs * size;
    out->live_bytes += (mallocs > frees ? mallocs - frees : 0) * size;
    out->cached_bytes += (uint64_t)(cached[class] + c.transfer) * size;
}

static void add_classless(struct tally *out, enum tally_reader reader)
{
    uint64_t guarded = relaxed_load(&tally_counters.guarded);
    uint64_t guarded_freed = relaxed_load(&tally_counters.guarded_freed);
    uint64_t large = relaxed_load(&heap_stats.large_made);
    uint64_t freed = large - relaxed_load(&heap_stats.large_count) + guarded_freed;
    out->mallocs[0] = risen(&told[reader].mallocs[0], large + guarded);
    out->frees[0] = risen(&told[reader].frees[0], freed);
    out->allocated_bytes +=
        (uint64_t)relaxed_load(&heap_stats.large_bytes_made) + guarded * PAGE_SIZE;
    out->live_bytes +=
        (uint64_t)relaxed_load(&heap_stats.large) + (guarded - guarded_freed) * PAGE_SIZE;
}

void tally_read(struct tally *out, enum tally_reader reader)
{
    GC_ASSERT(!thread_cache.busy);
    memset(out, 0, sizeof *out);
    out->threads = thread_count();
    lock_acquire(thread_registry_lock());
    add_slow_paths();
    add_threads();
    add_classless(out, reader);
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++)
        add_class(out, reader, class);
    lock_release(thread_registry_lock());
}

uint64_t tally_sum(const uint64_t counts[SIZE_CLASS_COUNT])
{
    uint64_t sum = 0;
    for (unsigned class = 0; class < SIZE_CLASS_COUNT; class++)
        sum += counts[class];
    return sum;
}
