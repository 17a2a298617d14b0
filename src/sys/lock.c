/* lock.c -- three-state futex locks (Drepper, "Futexes Are Tricky", 2011, mutex2), with the lock
 * order checked in debug builds.
 *
 *   .inv.order   A thread takes locks only in the order of LOCKS. Checked by `ranks_held`, one
 *                counter per rank in thread-local storage.
 *
 * A short spin comes first: critical sections here are tens of nanoseconds. */
#include "sys/lock.h"

#include "base/atomic.h"
#include "base/check.h"
#include "sys/syscall.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <time.h>

/* Rounds of pause before sleeping, ~4 ns each. Covers the usual hold time of a central lock. */
enum { SPIN_ROUNDS = 60 };

/* The thread's own; a signal handler on top of it sees what it interrupted. */
static __thread uint32_t held;

bool lock_any_held(void)
{
    return held != 0;
}

void lock_region_begin(void)
{
    held++;
    compiler_barrier();
}

void lock_region_end(void)
{
    compiler_barrier();
    held--;
}

#if GC_CHECK_LEVEL >= 1
static __thread uint16_t ranks_held[LOCK_RANK_COUNT]; /* fork takes every central lock at once */

static void check_acquire(const struct lock *lock)
{
    for (uint32_t rank = lock->rank + 1; rank < LOCK_RANK_COUNT; rank++)
        GC_CHECK(ranks_held[rank] == 0 && "lock order");
    ranks_held[lock->rank]++;
}

static void check_release(const struct lock *lock)
{
    GC_CHECK(ranks_held[lock->rank] > 0 && "released by its holder");
    ranks_held[lock->rank]--;
}

bool lock_held(enum lock_rank rank)
{
    return ranks_held[rank] > 0;
}
#else
static void check_acquire(const struct lock *lock)
{
    (void)lock;
}
static void check_release(const struct lock *lock)
{
    (void)lock;
}
bool lock_held(enum lock_rank rank)
{
    (void)rank;
    return true;
}
#endif

void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall4(__NR_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0);
}

void futex_wait_shared(_Atomic uint32_t *word, uint32_t value)
{
    syscall4(__NR_futex, (long)word, FUTEX_WAIT, value, 0);
}

bool futex_wait_for(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds)
{
    struct timespec t = {(time_t)(nanoseconds / 1000000000u), (long)(nanoseconds % 1000000000u)};
    return syscall4(__NR_futex, (long)word, FUTEX_WAIT_PRIVATE, value, (long)&t) != -ETIMEDOUT;
}

void futex_wake(_Atomic uint32_t *word, int how_many)
{
    syscall3(__NR_futex, (long)word, FUTEX_WAKE_PRIVATE, how_many);
}

/* `held` is raised first: a handler that comes in between only believes too much. */
bool lock_try(struct lock *lock)
{
    uint32_t expected = 0;
    held++;
    compiler_barrier();
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        held--;
        return false;
    }
    check_acquire(lock);
    return true;
}

static bool lock_spin(struct lock *lock)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (relaxed_load(&lock->word) == 0 && lock_try(lock))
            return true;
        __builtin_ia32_pause();
    }
    return false;
}

void lock_acquire(struct lock *lock)
{
    if (GC_LIKELY(lock_try(lock)) || lock_spin(lock))
        return;
    held++;
    compiler_barrier();
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        futex_wait(&lock->word, 2);
    check_acquire(lock);
}

void lock_release(struct lock *lock)
{
    check_release(lock);
    uint32_t was = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    compiler_barrier();
    held--;
    if (was == 2)
        futex_wake(&lock->word, 1);
}

void lock_reset(struct lock *lock)
{
    relaxed_store(&lock->word, 1);
}

void lock_abandon(struct lock *lock)
{
    relaxed_store(&lock->word, 0);
}
