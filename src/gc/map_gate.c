/* map_gate.c -- a count of those inside, and a flag.
 *
 *   .inv.gate   Who enters counts itself, then looks at `closed`; who closes sets it, then looks at
 *               the count; all sequentially consistent. So at least one of them sees the other, and
 *               it is the one who enters that gives way.
 *
 * A thread may be stopped, or leave by a jump out of a signal handler, while it is inside: then the
 * gate does not close, and mappings are not armed but read whole in the pause. */
#include "gc/map_gate.h"

#include "base/atomic.h"
#include "sys/lock.h"
#include "sys/syscall.h"

#include <limits.h>

/* Yields before close() gives up. */
enum { PATIENCE = 20 };

static struct {
    _Atomic uint32_t inside;
    _Atomic uint32_t closed; /* a futex */
} gate;

void map_gate_enter(void)
{
    for (;;) {
        atomic_fetch_add(&gate.inside, 1); /* .inv.gate */
        if (!atomic_load(&gate.closed))
            return;
        atomic_fetch_sub(&gate.inside, 1);
        futex_wait(&gate.closed, 1);
    }
}

void map_gate_leave(void)
{
    atomic_fetch_sub(&gate.inside, 1);
}

bool map_gate_close(void)
{
    atomic_store(&gate.closed, 1);
    for (unsigned i = 0; i < PATIENCE; i++) {
        if (atomic_load(&gate.inside) == 0)
            return true;
        syscall0(__NR_sched_yield);
    }
    map_gate_open();
    return false;
}

void map_gate_open(void)
{
    atomic_store(&gate.closed, 0);
    futex_wake(&gate.closed, INT_MAX);
}

void map_gate_after_fork(void)
{
    atomic_store(&gate.inside, 0);
    atomic_store(&gate.closed, 0);
}
