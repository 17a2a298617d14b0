/* park.c -- parking.
 *
 * Theory: to interrupt a thread that sleeps costs ~9 us, and worse, its call returns EINTR, which
 * the program would notice. But a thread that sleeps in the kernel needs no interruption: it only
 * must not come back to the program's code unseen. The wrapper of a blocking function saves on the
 * stack what the program has in registers, publishes the address of that frame, and makes the call;
 * on the way back it withdraws the frame, and waits if the world is stopped.
 *
 * Both sides store, then load what the other has stored; between the two a processor needs a
 * fence, which would be most of the cost of a wrapper. So the stopper's membarrier() stands for
 * both: it makes every running thread of the process pass a fence.
 *
 *   .inv.parked   The thread stores `frame`, then reads park_stopping, and enters the call, or
 *                 returns to the program, only if it read 0. The stopper stores park_stopping, then
 *                 calls membarrier, then reads the frames. A thread whose frame it finds set had
 *                 not withdrawn it before the barrier; so when it does, it reads park_stopping
 *                 after the barrier, and waits. One whose frame it finds 0 is signalled, and is
 *                 wherever the signal finds it; not in a blocking call, for if it had read 0 in
 *                 front of one, before the barrier, its frame would have been there before, too.
 *   .inv.running  What runs the program's code has frame == 0. Signal handlers of the program's
 *                 come through thunks that see to it (handler.h); unwinding for a cancellation, or
 *                 an exception out of a handler, withdraws the frame by the personality routine,
 *                 before any of the program's clean-up code; siglongjmp comes out of a handler,
 *                 where it is 0. Code between the wrapper and the kernel is libc's own: who stands
 *                 between us and libc (another preloaded library) is not parked
 *                 (preload/blocking.c).
 *   .inv.own      Only the thread writes its frame. A task that has another's thread-local storage
 *                 breaks that: clone() without CLONE_SETTLS beside its parent forbids parking for
 *                 good; a child of vfork, whose parent waits, has no place meanwhile.
 *
 *   .inv.copy     A child of a fork that libc does not know of (_Fork, a raw clone) has a copy of
 *                 park_stopping, which nobody clears. `here` lies in a page that such a child finds
 *                 wiped: there nobody waits.
 *
 * Where a thread sleeps in libc, libc may run while the world is stopped: it takes a mutex after
 * having waited for a condition, copies a result. It moves no pointer that is not in the frame, and
 * allocates and frees nothing; if another libc's version does, alloc.c withdraws the frame.
 *
 * Cost: 2 ns a call that does not block. */
#include "mutator/park.h"

#include "base/check.h"
#include "heap/meta.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"

#include <errno.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/mman.h>

__thread struct park *park_self;
_Atomic uint32_t park_stopping, park_interrupts;

static struct {
    /* REGISTRY lock. */
    struct park *places;    /* PARKS_MOST, in metadata */
    uint32_t count;         /* were ever taken */
    uint32_t first_free;    /* its number + 1, or 0 */
    _Atomic bool forbidden;
    /* The stopper's. */
    _Atomic(struct park *) stopper; /* its own place, if it has one */
    _Atomic uint32_t *here; /* 1 in the process that stops, 0 in a copy of it: .inv.copy */
} park;

/* In a sandbox nobody is stopped, so that any number will do: one that is no task's. */
int32_t park_task(void)
{
    return sandbox_on() ? INT32_MAX : (int32_t)syscall0(__NR_gettid);
}

struct park *park_take(uintptr_t stack_hint)
{
    GC_ASSERT(lock_held(LOCK_REGISTRY));
    struct park *p = NULL;
    if (park.places == NULL)
        park.places = meta_alloc(PARKS_MOST * sizeof *park.places);
    if (park.first_free != 0) {
        p = &park.places[park.first_free - 1];
        park.first_free = p->next_free;
    } else if (park.places != NULL && park.count < PARKS_MOST) {
        p = &park.places[park.count++];
    }
    if (p == NULL)
        return NULL;
    stack_t alternate = {0};
    if (!sandbox_on())
        syscall2(__NR_sigaltstack, 0, (long)&alternate);
    relaxed_store(&p->alternate, (uintptr_t)alternate.ss_sp); /* NULL if there is none */
    relaxed_store(&p->alternate_size, alternate.ss_size);
    p->stack_hint = stack_hint;
    p->stack_low = 0;
    relaxed_store(&p->frame, 0);
    relaxed_store(&p->away, 0);
    release_store(&p->tid, park_task());
    return p;
}

void park_leave(struct park *p)
{
    GC_ASSERT(lock_held(LOCK_REGISTRY) && relaxed_load(&p->tid) != 0);
    if (p == park_self)
        park_self = NULL;
    relaxed_store(&p->frame, 0);
    relaxed_store(&p->tid, 0);
    p->next_free = park.first_free;
    park.first_free = (uint32_t)(p - park.places) + 1;
}

void park_renumber(void)
{
    relaxed_store(&park_self->tid, park_task());
}

struct park *park_places(uint32_t *count)
{
    *count = park.count;
    return park.places;
}

/* ---- the thread ---- */

/* A signal sent by a stop that was given up may still be under way: a system call lets it in, so
 * that it does not meet the call that blocks. */
void park_wait(void)
{
    if (acquire_load(&park_stopping) != 0 && relaxed_load(park.here) == 0)
        atomic_store(&park_stopping, 0); /* .inv.copy */
    if (park_self != NULL && park_self == relaxed_load(&park.stopper))
        return; /* in a handler, for a fault of ours: whom should it wait for */
    for (uint32_t number; (number = acquire_load(&park_stopping)) != 0;) {
        futex_wait(&park_stopping, number);
        if (acquire_load(&park_stopping) == 0)
            syscall0(__NR_gettid);
    }
}

void park_begin(uintptr_t frame)
{
    struct park *self = park_self;
    if (self == NULL)
        return;
    GC_ASSERT(relaxed_load(&self->frame) == 0);
    release_store(&self->frame, frame);
    compiler_barrier();
    park_wait();
}

void park_end(void)
{
    struct park *self = park_self;
    if (self == NULL)
        return;
    relaxed_store(&self->frame, 0);
    compiler_barrier();
    park_wait();
}

void park_note_alternate(uintptr_t start, size_t size)
{
    struct park *self = park_self;
    if (self == NULL)
        return;
    relaxed_store(&self->alternate_size, size);
    relaxed_store(&self->alternate, start);
}

/* ---- the stopper ---- */

static bool fence_everybody(void)
{
    long result = syscall2(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
    if (result != -EPERM)
        return result == 0;
    return syscall2(__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0) == 0 &&
           syscall2(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) == 0;
}

/* Once. False: there is no such page. */
static bool find_out_copies(void)
{
    if (park.here != NULL)
        return true;
    uint32_t *page = mem_map(PAGE_SIZE);
    if (page == NULL)
        return false;
    bool wiped = syscall3(__NR_madvise, (long)page, PAGE_SIZE, MADV_WIPEONFORK) == 0;
    if (!wiped)
        park_forbid();
    park.here = (_Atomic uint32_t *)page;
    return true;
}

bool park_stop(uint32_t number)
{
    if (!find_out_copies())
        return false;
    relaxed_store(park.here, 1);
    relaxed_store(&park.stopper, park_self);
    atomic_store(&park_stopping, number);
    return !atomic_load(&park.forbidden) && fence_everybody();
}

void park_start(void)
{
    relaxed_store(&park.stopper, NULL);
    atomic_store(&park_stopping, 0);
    futex_wake(&park_stopping, INT_MAX);
}

void park_forbid(void)
{
    atomic_store(&park.forbidden, true);
}

bool park_forbidden(void)
{
    return atomic_load(&park.forbidden);
}
