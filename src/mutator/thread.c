/* thread.c -- the registry.
 *
 *   .inv.registered   A thread is in the list if and only if its cache is CACHE_ATTACHED, and if
 *                     and only if it has a place (park.h).
 *
 * struct thread (about 260 KiB of address space, touched as used) is metadata: it is recycled
 * through a free list and never given back. */
#include "mutator/thread.h"

#include "base/check.h"
#include "base/rng.h"
#include "heap/central.h"
#include "mutator/tally.h"
#include "sys/lock.h"
#include "sys/proc_mem.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"

static struct {
    struct lock lock;
    struct thread *first, *spare;
    unsigned count;
    unsigned in_shard[CENTRAL_SHARDS]; /* threads */
} registry = {.lock = LOCK_INIT(REGISTRY)};

static struct thread *take_spare(void)
{
    lock_acquire(&registry.lock);
    struct thread *t = registry.spare;
    if (t != NULL)
        registry.spare = t->next;
    lock_release(&registry.lock);
    return t;
}

/* REGISTRY lock held, here and below. */
static void give_spare(struct thread *t)
{
    t->next = registry.spare;
    registry.spare = t;
}

/* The shard that the fewest share. */
static unsigned emptiest_shard(void)
{
    unsigned best = 0;
    for (unsigned i = 1; i < CENTRAL_SHARDS; i++)
        if (registry.in_shard[i] < registry.in_shard[best])
            best = i;
    return best;
}

static void list_insert(struct thread *t)
{
    t->prev = NULL;
    t->next = registry.first;
    if (t->next != NULL)
        t->next->prev = t;
    registry.first = t;
    registry.count++;
    t->shard = emptiest_shard();
    registry.in_shard[t->shard]++;
}

static void list_remove(struct thread *t)
{
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        registry.first = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
    registry.count--;
    registry.in_shard[t->shard]--;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++)
        relaxed_add(&tally_counters.ended[class], relaxed_load(&t->counted[class]));
    park_leave(t->park);
    give_spare(t);
}

bool thread_attach(uintptr_t stack_hint)
{
    struct thread *t = take_spare();
    if (t == NULL)
        t = meta_alloc(sizeof(*t));
    if (t == NULL)
        return false;
    t->cache = &thread_cache;
    relaxed_store(&t->moves, 0);
    t->rng = mix64((uintptr_t)t ^ stack_hint);
    for (unsigned class = 0; class < SIZE_CLASS_COUNT; class++) {
        t->sample_left[class] = 0;
        t->loaded[class] = 0;
        t->made[class] = 0;
        relaxed_store(&t->counted[class], 0);
        t->seen[class].top = NULL;
    }
    lock_acquire(&registry.lock);
    t->park = park_take(stack_hint);
    if (t->park == NULL)
        give_spare(t);
    else
        list_insert(t);
    lock_release(&registry.lock);
    if (t->park == NULL)
        return false;
    cache_attach(&thread_cache, t);
    park_self = t->park;
    return true;
}

void thread_detach(void)
{
    struct thread *t = thread_cache.thread;
    if (thread_cache.state != CACHE_ATTACHED)
        return;
    cache_flush(&thread_cache);
    lock_acquire(&registry.lock);
    list_remove(t);
    lock_release(&registry.lock);
}

unsigned thread_count(void)
{
    lock_acquire(&registry.lock);
    unsigned count = registry.count;
    lock_release(&registry.lock);
    return count;
}

struct thread *thread_first(void)
{
    return registry.first;
}

static bool cache_is_there(const struct thread *t)
{
    struct thread *owner;
    if (sandbox_on()) /* which may know no such call */
        return true;
    return proc_mem_copy(&owner, (uintptr_t)&t->cache->thread, sizeof owner) && owner == t;
}

void thread_after_fork(void)
{
    struct thread *next;
    for (struct thread *t = registry.first; t != NULL; t = next) {
        next = t->next;
        if (t->cache == &thread_cache) {
            park_renumber();
            continue;
        }
        if (cache_is_there(t)) /* it may have ended without libc */
            cache_flush(t->cache);
        lock_acquire(&registry.lock);
        list_remove(t);
        lock_release(&registry.lock);
    }
    if (thread_cache.state == CACHE_STRANGER)
        thread_cache.state = CACHE_NEW;
}

struct lock *thread_registry_lock(void)
{
    return &registry.lock;
}
