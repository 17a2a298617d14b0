/* final_thread.c -- a thread of libc's, for the program's code runs on it: thread-local storage,
 * locale and exceptions are as anywhere.
 *
 * It is made when the first finalizer or cleanup is set, by the thread that does. It is detached,
 * blocks all signals (but those that stop the world, libc's own, and faults), and sleeps in one of
 * libc's blocking calls, through our wrapper: a stop does not wake it. If a call ends it, by
 * pthread_exit, another one is made when there is something to call.
 *
 *   .inv.last    It does not keep the process alive. libc ends a process with its last thread, and
 *                counts this one. So once the main thread has ended, it looks whether any other is
 *                left, and if not, does what libc would have done: exit(0).
 *   .inv.exit    Once exit() has come to the handler that the first registration has set, nothing
 *                more is called: handlers that were set before, and destructors of what was there
 *                before, run after that. What is being called then goes on beside them, as other
 *                threads do.
 *   .inv.child   In fork's child it is not there. It is made anew when the child sets a finalizer,
 *                or has one to be called: by who asked for that cycle (gcmalloc_collect), or the
 *                next thread that comes to the allocator's slow path, where a cycle might begin as
 *                well. What was being called in the parent is
 *                not called again. A child that a finalizer forks has this thread alone: it ends
 *                when the finalizer returns, and with it the child.
 *   .inv.hand    Where the program calls by hand the thread calls nothing, and is not made.
 *
 * A process that never sets any has no such thread. With it unshare(CLONE_NEWUSER) and setns, which
 * ask for a process of one thread, fail as they do in any program with threads; setuid and its kin
 * reach it. */
#include "final_thread.h"

#include "base/atomic.h"
#include "cycle/finalizer.h"
#include "gc/own_thread.h"
#include "gc/world.h"
#include "mutator/alloc.h"
#include "mutator/thread.h"
#include "sys/lock.h"
#include "sys/options.h"
#include "sys/sandbox.h"
#include "sys/signal.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

enum {
    /* Between two looks at whether any other thread is left, once the main thread has ended. */
    LAST_LOOK_NS = 20000000,
    TASKS_MOST = 64,
    LIBC_CANCEL = 32, /* SIGCANCEL, of libc's own like the one of setuid */
};
/* Blocked, they would end the process past its handlers. */
#define FAULTS (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | \
                SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGSYS))

static struct {
    sem_t work;
    _Atomic uint32_t there;       /* 1: it was made, or is just being made */
    int32_t pid;                  /* in which process */
    bool prepared;
    _Atomic bool main_ended, exiting, by_hand;
} final;

static __thread bool here;

bool final_thread_is_here(void)
{
    return here;
}

static int32_t own_pid(void)
{
    return (int32_t)syscall0(__NR_getpid);
}

/* ---- the thread ---- */

/* Tasks that are neither ended, nor the library's, nor this one. */
static bool others_left(void)
{
    int32_t tids[TASKS_MOST], self = (int32_t)syscall0(__NR_gettid);
    long count = task_list(tids, TASKS_MOST);
    if (count < 0 || count > TASKS_MOST)
        return true;
    for (long i = 0; i < count; i++)
        if (tids[i] != self && !own_thread_has(tids[i]) && task_lives(tids[i]))
            return true;
    return false;
}

static void wait_for_work(void)
{
    struct timespec until;
    if (!relaxed_load(&final.main_ended)) {
        sem_wait(&final.work);
        return;
    }
    if (!others_left())
        exit(0); /* .inv.last */
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LAST_LOOK_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    sem_timedwait(&final.work, &until);
}

/* Not inlined: nothing of it lies in a frame that is in use while the thread sleeps; see below. */
static GC_NOINLINE bool call_next(void)
{
    struct finalizer_call next;
    if (!finalizer_take(&next))
        return false;
    if (next.kind == REGISTRATION_FINALIZER)
        ((void (*)(void *, void *))next.call)(next.block, next.data);
    else
        ((void (*)(void *))next.call)(next.data);
    return true;
}

/* Where the calls had their frames libc's wait has its own now, and does not fill them: what it was
 * called with last would be reached for as long as it sleeps. */
static void forget_calls(void)
{
    if (park_self != NULL && park_self->stack_low != 0 && !sandbox_on())
        world_wipe_stack(park_self->stack_low);
}

static void *run(void *unused)
{
    here = true;
    syscall2(__NR_prctl, PR_SET_NAME, (long)"gcmalloc-final");
    while (final.pid == own_pid()) { /* .inv.child */
        if (!relaxed_load(&final.exiting) && !relaxed_load(&final.by_hand) && call_next())
            continue;
        forget_calls();
        wait_for_work();
    }
    return unused;
}

/* ---- starting it ---- */

static void on_exit_begun(void)
{
    relaxed_store(&final.exiting, true);
}

static bool start(void)
{
    pthread_t thread;
    uint64_t blocked = signal_block(~(world_signals() | SIGNAL_BIT(LIBC_CANCEL) | FAULTS));
    int result = pthread_create(&thread, NULL, run, NULL);
    signal_unblock(blocked);
    if (result == 0)
        pthread_detach(thread);
    return result == 0;
}

static bool may_start(void)
{
    return options.mode == MODE_COLLECT && !sandbox_on() && !relaxed_load(&final.exiting) &&
           !relaxed_load(&final.by_hand) &&
           (final.pid == 0 || final.pid == own_pid()); /* a vfork child has our memory */
}

void final_thread_start(void)
{
    uint32_t absent = 0;
    int saved = errno;
    if (relaxed_load(&final.there) || !may_start() ||
        !atomic_compare_exchange_strong(&final.there, &absent, 1))
        return;
    if (!final.prepared) {
        sem_init(&final.work, 0, 0);
        atexit(on_exit_begun);
        final.prepared = true;
    }
    final.pid = own_pid();
    if (!start())
        relaxed_store(&final.there, 0);
    errno = saved;
}

void final_thread_wake(void)
{
    if (relaxed_load(&final.by_hand)) /* .inv.hand */
        return;
    if (relaxed_load(&final.there))
        sem_post(&final.work);
    else
        alloc_interrupt();
}

bool final_thread_by_hand(bool on)
{
    bool old = atomic_exchange_explicit(&final.by_hand, on, memory_order_relaxed);
    if (old && !on && finalizer_is_due())
        final_thread_wake();
    return old;
}

unsigned final_thread_call_all(void)
{
    unsigned called = 0;
    while (call_next())
        called++;
    return called;
}

void final_thread_poll(void)
{
    if (finalizer_is_due() && !relaxed_load(&final.there) && !lock_any_held())
        final_thread_start();
}

void final_thread_ended(void)
{
    relaxed_store(&final.there, 0);
    if (finalizer_is_due())
        alloc_interrupt();
}

void final_thread_main_ended(void)
{
    relaxed_store(&final.main_ended, true);
    if (relaxed_load(&final.there) && !sandbox_on())
        sem_post(&final.work);
}

void final_thread_after_fork(void)
{
    if (!final.prepared || here)
        return;
    relaxed_store(&final.there, 0);
    relaxed_store(&final.main_ended, false);
    final.pid = own_pid();
    sem_init(&final.work, 0, 0);
    if (finalizer_is_due())
        alloc_interrupt();
}
