/* mutator_scavenge.c -- blocks taken out of magazines behind their thread's back. */
#include "mutator/scavenge.h"

#include "base/rng.h"
#include "check/heap_check.h"
#include "child.h"
#include "heap/central.h"
#include "heap/heap.h"
#include "mutator/thread.h"
#include "sys/lock.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIRST_CLASS = 20, CLASSES = 10 }; /* 384 bytes to 960: some 64 KiB a full magazine */

static struct magazine *magazine(unsigned class)
{
    return &thread_cache.magazines[class];
}

static uint8_t byte_of(const void *block)
{
    return relaxed_load(slot_of((uintptr_t)block));
}

static void *take(unsigned class)
{
    EXPECT(cache_refill(&thread_cache, class));
    magazine(class)->until = 1;
    return cache_pop(class);
}

static void give(void *block, unsigned class)
{
    cache_make_room(&thread_cache, class);
    EXPECT(cache_push(block));
}

/* Magazines as full as they get. */
static void fill(void)
{
    static void *blocks[2 * CENTRAL_BATCH_MOST];
    for (unsigned class = FIRST_CLASS; class < FIRST_CLASS + CLASSES; class++) {
        unsigned count = magazine_capacity(class);
        for (unsigned round = 0; round < 2; round++) {
            for (unsigned i = 0; i < count; i++)
                blocks[i] = take(class);
            for (unsigned i = 0; i < count; i++)
                give(blocks[i], class);
        }
    }
}

static void start(void)
{
    EXPECT(heap_init(64 * MIB, false) && thread_attach((uintptr_t)__builtin_frame_address(0)));
    fill();
    lock_acquire(thread_registry_lock());
}

static bool look_twice(void)
{
    scavenge_look();
    return scavenge_look();
}

static void take_and_give(void)
{
    scavenge_take();
    lock_release(thread_registry_lock());
    scavenge_give();
    lock_acquire(thread_registry_lock());
}

/* One block stays in each magazine; the rest is in its slab. Then the thread goes on. */
static void idle(void)
{
    struct heap_census before, after;
    start();
    EXPECT(!scavenge_look()); /* seen for the first time */
    EXPECT(scavenge_look() && heap_check("seen", &before));
    take_and_give();
    EXPECT(heap_check("taken", &after) && after.cached < before.cached / 2);
    for (unsigned class = FIRST_CLASS; class < FIRST_CLASS + CLASSES; class++)
        EXPECT(magazine_count(magazine(class)) == 1 && byte_of(magazine(class)->top[-1]) == 1);
    EXPECT(!look_twice()); /* nothing more */
    fill();
    EXPECT(heap_check("filled again", NULL) && look_twice());
    for (unsigned class = FIRST_CLASS; class < FIRST_CLASS + CLASSES; class++) {
        const struct magazine *m = magazine(class);
        EXPECT(m->bottom == &thread_cache.thread->items[m->home]);
        EXPECT(m->end - m->bottom == magazine_capacity(class));
    }
}

/* One that was used in between, or is being moved, is not touched. */
static void in_use(void)
{
    start();
    EXPECT(look_twice());
    void *block = take(FIRST_CLASS);
    magazine(FIRST_CLASS + 1)->until = 6;
    EXPECT(cache_push(cache_pop(FIRST_CLASS + 1))); /* the same top, but an allocation more */
    unsigned counts[] = {magazine_count(magazine(FIRST_CLASS)),
                         magazine_count(magazine(FIRST_CLASS + 1))};
    thread_cache.busy = 1;
    take_and_give();
    EXPECT(magazine_count(magazine(FIRST_CLASS + 2)) > 1);
    thread_cache.busy = 0;
    take_and_give();
    EXPECT(magazine_count(magazine(FIRST_CLASS)) == counts[0]);
    EXPECT(magazine_count(magazine(FIRST_CLASS + 1)) == counts[1]);
    EXPECT(magazine_count(magazine(FIRST_CLASS + 2)) == 1);
    give(block, FIRST_CLASS);
    EXPECT(heap_check("in use", NULL));
}

/* .inv.bottom: the thread was stopped where it had read `top`, and had not stored it yet. */
static void half_way(void)
{
    start();
    EXPECT(look_twice());
    struct magazine *pop = magazine(FIRST_CLASS), *push = magazine(FIRST_CLASS + 1);
    void **pop_top = pop->top, **push_top = --push->top, *freed = push_top[0];
    thread_cache.thread->seen[FIRST_CLASS + 1].top = push_top;
    take_and_give();
    EXPECT(magazine_count(pop) == 1 && magazine_count(push) == 1);
    void *block = pop_top[-1];
    pop->top = pop_top - 1;
    *push_top = freed;
    push->top = push_top + 1;
    EXPECT(byte_of(block) == SLOT_CACHED && magazine_count(pop) == 0);
    EXPECT(magazine_count(push) == 2 && push->top[-1] == freed && push->top <= push->end);
    relaxed_store(slot_of((uintptr_t)block), relaxed_load(&hot.epoch));
    give(block, FIRST_CLASS);
    EXPECT(heap_check("half-way", NULL));
}

/* Each block has one owner, whatever is taken away between two operations. */
static void random_use(void)
{
    enum { HELD = 4000 };
    static struct {
        void *block;
        unsigned class;
    } held[HELD];
    unsigned used = 0, wrong = 0, stops = 0;
    uint64_t rng = 2026;
    start();
    for (unsigned i = 0; i < 200000; i++) {
        if (i % 997 == 0 && look_twice()) {
            take_and_give();
            stops++;
        }
        bool more = rng_next(&rng) % 100 < (i / 20000 % 2 ? 30 : 70);
        if (used == 0 || (more && used < HELD)) {
            unsigned class = FIRST_CLASS + (unsigned)(rng_next(&rng) % CLASSES);
            void *block = take(class);
            *(void **)block = block;
            held[used].block = block;
            held[used++].class = class;
        } else {
            unsigned at = (unsigned)(rng_next(&rng) % used);
            wrong += *(void **)held[at].block != held[at].block;
            *(void **)held[at].block = NULL;
            give(held[at].block, held[at].class);
            held[at] = held[--used];
        }
    }
    struct heap_census census;
    if (!EXPECT(wrong == 0 && stops > 20))
        printf("    seed 2026, %u wrong, %u stops\n", wrong, stops);
    EXPECT(heap_check("random", &census) && census.live == used);
}

/* .inv.there: such a thread stays registered, and its cache is gone with its stack. */
static void *end_without_libc(void *unused)
{
    EXPECT(thread_attach((uintptr_t)__builtin_frame_address(0)));
    fill();
    lock_acquire(thread_registry_lock());
    look_twice(); /* what it has counts as idle */
    lock_release(thread_registry_lock());
    syscall(__NR_exit, 0);
    return unused;
}

static void ended(void)
{
    enum { STACK = 64 << 20 }; /* more than libc keeps */
    pthread_attr_t attributes;
    pthread_t thread;
    EXPECT(heap_init(64 * MIB, false));
    EXPECT(pthread_attr_init(&attributes) == 0);
    EXPECT(pthread_attr_setstacksize(&attributes, STACK) == 0);
    EXPECT(pthread_create(&thread, &attributes, end_without_libc, NULL) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
    lock_acquire(thread_registry_lock());
    EXPECT(thread_first() != NULL && !look_twice() && !scavenge_take());
    lock_release(thread_registry_lock());
    thread_after_fork(); /* as in a child: nobody is there but the caller */
    EXPECT(thread_first() == NULL);
}

IN_CHILD(idle)
IN_CHILD(in_use)
IN_CHILD(half_way)
IN_CHILD(random_use)
IN_CHILD(ended)

UNIT_MAIN(TEST(test_idle), TEST(test_in_use), TEST(test_half_way), TEST(test_random_use),
          TEST(test_ended))
