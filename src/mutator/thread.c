/* thread.c -- the registry.
 *
 *   .inv.registered   A thread is in the list if and only if its cache is CACHE_ATTACHED.
 *
 * struct thread (about 66 KiB of address space, touched as used) is metadata: it is recycled
 * through a free list and never given back. */
#include "mutator/thread.h"

#include "base/check.h"
#include "sys/lock.h"
#include "sys/syscall.h"

static struct {
    struct lock lock;
    struct thread *first, *spare;
    unsigned count;
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

static void list_insert(struct thread *t)
{
    lock_acquire(&registry.lock);
    t->prev = NULL;
    t->next = registry.first;
    if (t->next != NULL)
        t->next->prev = t;
    registry.first = t;
    registry.count++;
    lock_release(&registry.lock);
}

/* REGISTRY lock held. */
static void list_remove(struct thread *t)
{
    if (t->prev != NULL)
        t->prev->next = t->next;
    else
        registry.first = t->next;
    if (t->next != NULL)
        t->next->prev = t->prev;
    registry.count--;
    t->next = registry.spare;
    registry.spare = t;
}

bool thread_attach(uintptr_t stack_hint)
{
    struct thread *t = take_spare();
    if (t == NULL)
        t = meta_alloc(sizeof(*t));
    if (t == NULL)
        return false;
    t->tid = (int32_t)syscall0(__NR_gettid);
    t->stack_hint = stack_hint;
    t->stack_low = 0;
    t->cache = &thread_cache;
    t->rng = (uint64_t)t->tid * 0x9e3779b97f4a7c15u;
    for (unsigned class = 0; class < SIZE_CLASS_COUNT; class++) {
        t->sample_left[class] = 0;
        t->loaded[class] = 0;
    }
    cache_attach(&thread_cache, t);
    list_insert(t);
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

void thread_each_locked(void (*visit)(struct thread *thread, void *data), void *data)
{
    GC_ASSERT(lock_held(LOCK_REGISTRY));
    for (struct thread *t = registry.first; t != NULL; t = t->next)
        visit(t, data);
}

unsigned thread_count(void)
{
    lock_acquire(&registry.lock);
    unsigned count = registry.count;
    lock_release(&registry.lock);
    return count;
}

void thread_after_fork(void)
{
    struct thread *next;
    for (struct thread *t = registry.first; t != NULL; t = next) {
        next = t->next;
        if (t->cache == &thread_cache) {
            t->tid = (int32_t)syscall0(__NR_gettid);
            continue;
        }
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
