/* sys_lock.c -- mutual exclusion, what a fork's child does with locks, and the futex calls. */
#include "sys/lock.h"

#include "base/atomic.h"
#include "child.h"
#include "sys/clock.h"
#include "sys/syscall.h"

#include <linux/futex.h>
#include <pthread.h>

static struct lock outer = LOCK_INIT(REGISTRY), inner = LOCK_INIT(META);
static unsigned long counter;

static void *count_up(void *data)
{
    (void)data;
    for (unsigned i = 0; i < 200000; i++) {
        lock_acquire(&outer);
        counter++;
        lock_release(&outer);
    }
    return NULL;
}

static void test_exclusion(void)
{
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        EXPECT(pthread_create(&threads[i], NULL, count_up, NULL) == 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    EXPECT(counter == 800000 && relaxed_load(&outer.word) == 0 && !lock_any_held());
}

static void *hold(void *data)
{
    lock_acquire(&outer);
    release_store((_Atomic uint32_t *)data, 1);
    usleep(10000000);
    return NULL;
}

/* Another thread, which is not here, held it: it can be taken, and only once. */
static void abandoned(void)
{
    EXPECT(!lock_any_held() && !lock_try(&outer));
    lock_abandon(&outer);
    EXPECT(!lock_any_held() && lock_try(&outer) && lock_any_held() && !lock_try(&outer));
    lock_acquire(&inner);
    lock_release(&inner);
    lock_release(&outer);
    EXPECT(!lock_any_held());
    lock_abandon(&outer); /* nobody held it: that is as well */
    lock_acquire(&outer);
    lock_release(&outer);
}

static void test_abandon(void)
{
    static _Atomic uint32_t ready;
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, hold, (void *)(uintptr_t)&ready) == 0);
    while (acquire_load(&ready) == 0)
        usleep(1000);
    EXPECT(child_passes(abandoned));
    EXPECT(!lock_try(&outer)); /* here it is held all the same */
}

/* Wakes as the kernel does at a thread's end: not by a private futex. */
static void *wake_shared(void *data)
{
    usleep(50000);
    release_store((_Atomic uint32_t *)data, 0);
    syscall3(__NR_futex, (long)data, FUTEX_WAKE, 1);
    return NULL;
}

static void test_wait(void)
{
    static _Atomic uint32_t word = 1;
    pthread_t thread;
    alarm(20);
    EXPECT(pthread_create(&thread, NULL, wake_shared, (void *)(uintptr_t)&word) == 0);
    while (acquire_load(&word) != 0)
        futex_wait_shared(&word, 1);
    pthread_join(thread, NULL);
    futex_wait_shared(&word, 1); /* it is another value: returns at once */
    futex_wait(&word, 1);
    EXPECT(futex_wait_for(&word, 1, 1000000000u));
    uint64_t begun = clock_now_ns();
    EXPECT(!futex_wait_for(&word, 0, 20000000));
    EXPECT(clock_now_ns() - begun >= 19000000);
    alarm(0);
}

UNIT_MAIN(TEST(test_exclusion), TEST(test_abandon), TEST(test_wait))
