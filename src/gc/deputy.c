/* deputy.c -- work with the program's descriptors, while the collector has others.
 *
 * Theory: who is started with the program's table of descriptors shares it: what is looked at there
 * is what the program has, nothing is held open for longer than the program does, and no system
 * call is needed that a container forbids. So where pidfd_getfd is refused (the default filter of
 * many containers lets it pass only with CAP_SYS_PTRACE), a second thread is started beside the
 * collector's, by the same thread of the program's. It sleeps but for the last stop of a mark.
 *
 *   .inv.shared    The table is that of the thread that started it, and mostly all threads'. One
 *                  that has left it since (unshare, close_range) has another: the collector sees
 *                  that by the inodes of what it wants to read, and dismisses the deputy
 *                  (queues.c). Before a call that leaves the table, and before exec, the deputy
 *                  ends with the collector (collector_retire): it would keep open what the program
 *                  takes for closed, and before Linux 5.11 a shared table costs the process its
 *                  record locks at exec.
 *   .inv.one       One piece of work at a time: `work` and `data` are written by who asks, before
 *                  `state` becomes WORKS (release), and read after that (acquire). What the work
 *                  writes is seen when `state` is RESTS again. Nobody asks while it is dismissed:
 *                  both need the CYCLE lock, or the collector's end.
 *   .inv.fork      Work is done only while the world is stopped: no fork comes upon it, and the
 *                  child, which has no deputy, finds nothing half done.
 *
 * Its work takes no lock and calls nothing of libc but memcpy and its like (own_thread.c). Cost of
 * a piece: two futex calls and two switches, some 20 us, of the pause. */
#include "gc/deputy.h"

#include "base/atomic.h"
#include "base/check.h"
#include "gc/own_thread.h"
#include "sys/lock.h"
#include "sys/syscall.h"

#include <errno.h>
#include <limits.h>

enum deputy_state { RESTS, WORKS, LEAVES };

static struct {
    struct own_thread thread;
    _Atomic uint32_t state;     /* a futex, of both sides */
    void (*work)(void *data);
    void *data;
} deputy;

/* Asked of no descriptor, so that none comes to be in the program's table. */
bool deputy_is_needed(void)
{
    return syscall2(__NR_pidfd_open, -1, 0) != -EINVAL ||
           syscall3(__NR_pidfd_getfd, -1, 0, 0) != -EBADF;
}

static void set_state(enum deputy_state state)
{
    release_store(&deputy.state, state);
    futex_wake(&deputy.state, INT_MAX);
}

static void deputy_main(void *data)
{
    (void)data;
    for (uint32_t state; (state = acquire_load(&deputy.state)) != LEAVES;) {
        if (state == RESTS) {
            futex_wait(&deputy.state, RESTS);
            continue;
        }
        deputy.work(deputy.data);
        set_state(RESTS);
    }
}

bool deputy_prepare(void)
{
    return own_thread_prepare(&deputy.thread);
}

bool deputy_hire(void)
{
    if (deputy_is_there())
        return true;
    release_store(&deputy.state, RESTS);
    return own_thread_start(&deputy.thread, "gcmalloc", false, deputy_main, NULL);
}

bool deputy_is_there(void)
{
    return acquire_load(&deputy.thread.tid) != 0;
}

void deputy_dismiss(void)
{
    if (!deputy_is_there())
        return;
    set_state(LEAVES);
    own_thread_join(&deputy.thread);
}

void deputy_do(void (*work)(void *data), void *data)
{
    GC_CHECK(deputy_is_there() && acquire_load(&deputy.state) == RESTS);
    deputy.work = work;
    deputy.data = data;
    set_state(WORKS);
    while (acquire_load(&deputy.state) == WORKS)
        futex_wait(&deputy.state, WORKS);
}
