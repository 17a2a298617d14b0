/* scavenge.c -- an idle thread's cache is given back.
 *
 * Theory: a magazine that has the same top, and has counted the same allocations, as a look before,
 * was not used in between. A thread that sleeps cannot give it back itself, and hundreds of such
 * blocks, each alone in its slab, keep hundreds of slabs resident. So they are taken out while the
 * world is stopped, and given to central when it runs again, since a stopped thread may hold one of
 * central's locks.
 *
 *   .inv.bottom  A thread may be stopped anywhere, in the middle of malloc or free, too. Both read
 *                `top` once, use the block below it or the place at it, and store the new `top`. So
 *                the top block and `top` stay: blocks are taken from `bottom` up, which rises. The
 *                thread goes on as if it had used them up.
 *   .inv.there   A thread that ended without libc (a raw exit, a filter that kills threads) stays
 *                registered, and its thread-local storage may be gone, or be anything. So that is
 *                copied by the kernel, and believed only if it names the thread; while the world is
 *                stopped nobody can take it away.
 *   .inv.busy    The miss path moves whole magazines: while it does, `busy` is set, and the thread
 *                is passed over. It may lie beneath a handler of the program's that sleeps. */
#include "mutator/scavenge.h"

#include "base/check.h"
#include "heap/central.h"
#include "heap/meta.h"
#include "heap/slab.h"
#include "mutator/thread.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/proc_mem.h"

enum {
    /* Bytes for which the world is stopped, ~50 us; less waits. */
    SCAVENGE_LEAST = 256 << 10,
    /* Blocks taken in one stop: some 30 us of it. The rest comes with the next. */
    SCAVENGE_MOST = 32 << 10,
};

static struct {
    void **items; /* SCAVENGE_MOST, in metadata */
    uint32_t count;
} taken;

static struct thread_cache copy; /* of the thread that is looked at */

/* .inv.there, .inv.busy */
static bool copy_cache(const struct thread *t)
{
    return proc_mem_copy(&copy, (uintptr_t)t->cache, sizeof copy) && copy.thread == t &&
           copy.state == CACHE_ATTACHED && !copy.busy;
}

/* Blocks that may be taken out of the copied magazine. */
static uint32_t idle_blocks(const struct thread *t, unsigned class)
{
    const struct magazine *m = &copy.magazines[class];
    bool idle = m->top == t->seen[class].top && m->until == t->seen[class].until;
    return idle && m->top > m->bottom + 1 ? magazine_count(m) - 1 : 0;
}

static size_t look_at(struct thread *t)
{
    size_t bytes = 0;
    if (!copy_cache(t))
        return 0;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        const struct magazine *m = &copy.magazines[class];
        bytes += (size_t)idle_blocks(t, class) * size_classes[class].size;
        t->seen[class].top = m->top;
        t->seen[class].until = m->until;
    }
    return bytes;
}

bool scavenge_look(void)
{
    size_t bytes = 0;
    GC_ASSERT(lock_held(LOCK_REGISTRY));
    for (struct thread *t = thread_first(); t != NULL; t = t->next)
        bytes += look_at(t);
    if (bytes >= SCAVENGE_LEAST && taken.items == NULL)
        taken.items = meta_alloc(SCAVENGE_MOST * sizeof *taken.items);
    return bytes >= SCAVENGE_LEAST && taken.items != NULL;
}

static void take_from(struct thread *t)
{
    if (!copy_cache(t))
        return;
    for (unsigned class = 1; class < SIZE_CLASS_COUNT; class++) {
        struct magazine *m = &t->cache->magazines[class];
        uint32_t count = (uint32_t)size_min(idle_blocks(t, class), SCAVENGE_MOST - taken.count);
        for (uint32_t i = 0; i < count; i++)
            taken.items[taken.count++] = m->bottom[i];
        m->bottom += count; /* .inv.bottom */
    }
}

bool scavenge_take(void)
{
    uint32_t before = taken.count;
    for (struct thread *t = thread_first(); t != NULL; t = t->next)
        take_from(t);
    return taken.count != before;
}

static unsigned class_of(const void *block)
{
    return slab_at(slab_index_of((uintptr_t)block))->size_class;
}

/* It is 256 KiB itself, and rarely needed. */
static void discard_list(uint32_t used)
{
    uintptr_t start = align_up((uintptr_t)taken.items, PAGE_SIZE);
    uintptr_t end = align_down((uintptr_t)&taken.items[used], PAGE_SIZE);
    if (start < end)
        mem_discard((void *)start, end - start);
}

/* Off the list first, then into central: the program may fork in between. What the child has on its
 * list is in nobody's hands there either, and given back the next time. */
void scavenge_give(void)
{
    uint32_t most = taken.count;
    while (taken.count != 0) {
        uint32_t to = taken.count, from = to - 1;
        unsigned class = class_of(taken.items[from]);
        while (from != 0 && class_of(taken.items[from - 1]) == class)
            from--;
        taken.count = from;
        compiler_barrier();
        central_return(class, taken.items + from, to - from);
    }
    if (most != 0)
        discard_list(most);
}
