/* mutator_thread.c -- the registry: who is in it, what becomes of those who leave, and of those
 * whom fork left behind. */
#include "mutator/thread.h"

#include "check/heap_check.h"
#include "child.h"
#include "heap/central.h"
#include "heap/heap.h"
#include "sys/lock.h"

#include <pthread.h>

static void start(void)
{
    EXPECT(heap_init(64 * MIB, false));
}

/* .inv.registered; the places and the count agree. */
static bool sound(unsigned expected)
{
    unsigned used = 0, wrong = 0;
    uint32_t count;
    lock_acquire(thread_registry_lock());
    const struct park *places = park_places(&count);
    for (uint32_t i = 0; i < count; i++) {
        int32_t tid = relaxed_load(&((struct park *)(uintptr_t)&places[i])->tid);
        used += tid != 0;
        for (uint32_t j = 0; j < i; j++)
            wrong += tid != 0 && tid == relaxed_load(&((struct park *)(uintptr_t)&places[j])->tid);
    }
    lock_release(thread_registry_lock());
    bool has_place = park_self != NULL;
    wrong += has_place != (thread_cache.state == CACHE_ATTACHED);
    return EXPECT(wrong == 0) && EXPECT(used == expected) && EXPECT(thread_count() == used);
}

static void one(void)
{
    start();
    EXPECT(sound(0));
    thread_detach(); /* harmless */
    EXPECT(thread_cache.state == CACHE_NEW);
    EXPECT(thread_attach(1234) && sound(1) && park_self->stack_hint == 1234);
    EXPECT(relaxed_load(&park_self->tid) == gettid() && thread_cache.thread->cache == &thread_cache);
    EXPECT(cache_refill(&thread_cache, 5));
    thread_detach();
    EXPECT(sound(0) && thread_cache.state == CACHE_STRANGER && thread_cache.thread == NULL);
    thread_detach();
    EXPECT(sound(0) && cache_pop(5) == NULL);
    heap_trim();
    struct heap_census census;
    EXPECT(heap_check("detached", &census) && census.cached == 0);
}

static void *come_and_go(void *data)
{
    unsigned long wrong = 0;
    for (unsigned i = 0; i < 300; i++) {
        wrong += !thread_attach(1);
        wrong += relaxed_load(&park_self->tid) != gettid();
        for (unsigned class = 1; class < 10; class++)
            wrong += !cache_refill(&thread_cache, class);
        thread_detach();
    }
    (void)data;
    return (void *)wrong;
}

static void many(void)
{
    pthread_t t[4];
    void *wrong;
    start();
    EXPECT(thread_attach(1));
    for (unsigned round = 0; round < 2; round++) {
        size_t before = meta_used();
        for (unsigned i = 0; i < 4; i++)
            pthread_create(&t[i], NULL, come_and_go, NULL);
        for (unsigned i = 0; i < 4; i++)
            EXPECT(pthread_join(t[i], &wrong) == 0 && wrong == NULL);
        /* Recycled: 1200 threads came, and at most four at a time. */
        EXPECT(meta_used() - before <= 4 * align_up(sizeof(struct thread), CACHE_LINE));
        EXPECT(sound(1));
    }
    thread_detach();
    heap_trim();
    struct heap_census census;
    EXPECT(heap_check("gone", &census) && census.spans == 0);
}

static pthread_barrier_t ready;

static void *attach_and_wait(void *data)
{
    EXPECT(thread_attach(1) && cache_refill(&thread_cache, 7));
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    thread_detach();
    return data;
}

/* As runtime.c does it: all locks held around fork. */
static bool child_of_fork(unsigned cached_before)
{
    struct heap_census census;
    heap_unlock_all_in_child();
    lock_reset(thread_registry_lock());
    lock_release(thread_registry_lock());
    thread_after_fork();
    bool good = sound(1) && EXPECT(relaxed_load(&park_self->tid) == gettid());
    good &= EXPECT(heap_check("child", &census)) && EXPECT(census.cached == cached_before);
    thread_detach();
    heap_trim();
    return good & (EXPECT(heap_check("child, flushed", &census)) && EXPECT(census.cached == 0));
}

static void fork_with_threads(void)
{
    pthread_t t[3];
    struct heap_census census;
    int status = -1;
    start();
    EXPECT(thread_attach(1) && cache_refill(&thread_cache, 7));
    pthread_barrier_init(&ready, NULL, 4);
    for (unsigned i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, attach_and_wait, NULL);
    pthread_barrier_wait(&ready);
    EXPECT(sound(4) && heap_check("before fork", &census));
    lock_acquire(thread_registry_lock());
    heap_lock_all();
    pid_t pid = fork();
    if (pid == 0)
        _exit(!child_of_fork((unsigned)census.cached));
    heap_unlock_all();
    lock_release(thread_registry_lock());
    waitpid(pid, &status, 0);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT(sound(4));
    pthread_barrier_wait(&ready);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    EXPECT(sound(1) && heap_check("after fork", NULL));
}

/* No metadata left: the thread stays a stranger, and may try again. */
static void no_memory(void)
{
    EXPECT(heap_init(MIB, false));
    while (meta_alloc(64 * KIB) != NULL)
        continue;
    EXPECT(!thread_attach(1) && thread_cache.state == CACHE_NEW && sound(0));
}

static void test_attach(void)
{
    EXPECT(child_passes(one));
    EXPECT(child_passes(many));
    EXPECT(child_passes(no_memory));
}

static void test_fork(void)
{
    EXPECT(child_passes(fork_with_threads));
}

UNIT_MAIN(TEST(test_attach), TEST(test_fork))
