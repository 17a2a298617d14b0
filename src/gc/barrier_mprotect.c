/* barrier_mprotect.c -- read-only pages, and the fault of the first write to each.
 *
 * Theory: armed memory is made read-only, in units of 64 KiB (shield.c). The first write to a unit
 * faults; our handler marks the unit and opens it, and the write is tried again. Everything else is
 * there so that the program does not notice:
 *
 *   trap.c   catches system calls while armed, for one that writes to a read-only page would fail;
 *   veil.c   keeps SIGSEGV and SIGSYS unblocked and ours, and shows the program what it set itself.
 *
 *   .inv.fault   A fault that is not the shield's waits, in the handler, until the phase has ended
 *                (`lost` asks the collector for that). When the instruction is tried again, all
 *                pages and actions are the program's own: the kernel delivers it, with all that
 *                belongs to it (alternate stack, one shot, SA_NODEFER, siginfo). If the program has
 *                no handler, the process dies of it at once, and dumps core.
 *   .inv.armed   `armed` changes only with the world stopped. Every task calls leave_stop at the
 *                end of that stop, and is entered, or left, before it runs a line of its own.
 *
 * After LOST_MOST phases lost this way begin() refuses.
 *
 * Measured (test_cost; processor time, Linux 6.18, 2 busy cores):
 *
 *   begin()                      8-15 us within the stop, 64 rt_sigactions for the most part
 *   arm()                        6-9 ms a GiB of 4 KiB pages, 0.2 ms of huge ones
 *   first write to a unit        7.5-10 us: SIGSEGV, two splits of a mapping; 0.5-0.6 us a page
 *   disarm()                     7-10 ms a GiB, beside the program
 *   end()                        1-2 us within the stop; without disarm() as long as that
 *   a system call                1.2 us more while armed, nothing outside of phases
 *
 * What it cannot see or keep: memory that is shared, and what other processes do to ours
 * (process_vm_writev, ptrace); direct I/O and rings that were under way when the phase began. A
 * signal without SA_ONSTACK that comes in the very moment in which a coroutine was switched to, and
 * has not yet written to its stack in the heap, is lost, since the kernel cannot push its frame. */
#include "gc/barrier.h"

#include "base/atomic.h"
#include "gc/shield.h"
#include "gc/trap.h"
#include "gc/veil.h"
#include "gc/world.h"
#include "sys/mem.h"
#include "sys/signal.h"
#include "sys/syscall.h"

#include <signal.h>
#include <ucontext.h>

/* A program that provokes faults, or ends each phase with an exec, does so for as long as it
 * runs. */
enum { LOST_MOST = 8 };

static struct {
    bool armed;
    unsigned lost;      /* phases that could not be kept up */
} barrier;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    enum { WRITES = 2 };
    ucontext_t *uc = context;
    uintptr_t stack_pointer = (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
    veil_give_stack(uc);
    bool refused = info->si_code == SEGV_ACCERR && (uc->uc_mcontext.gregs[REG_ERR] & WRITES) != 0;
    if (refused && shield_fault((uintptr_t)info->si_addr, stack_pointer))
        return;
    if (info->si_code <= 0 || !veil_dies_of(SIGSEGV))
        trap_await_end(uc);
    else
        shield_break();
    if (info->si_code <= 0)
        trap_send_again(signal, info);
}

static void leave_stop(void *context)
{
    ucontext_t *uc = context;
    greg_t *pc = &uc->uc_mcontext.gregs[REG_RIP];
    *pc = (greg_t)trap_original((uintptr_t)*pc); /* .inv.anew */
    if (!barrier.armed) {
        if (veil_leave(uc) && !trap_is_taken())
            trap_leave();
    } else if (!veil_enter(uc) || !trap_enter()) {
        shield_break();
    }
}

static void keep_open(uintptr_t start, size_t size)
{
    for (uintptr_t done = 0; done < size; done += GIB)
        shield_keep_open(start + done, size_min(size - done, GIB));
}

/* On a thread of the program, in the allocator: a handler on top of it must not find the lock held.
 * It is held until the pages have arrived: the mapping that they pass through looks like one of the
 * program's, and must not be shielded, for it goes away by a call of our own. */
static uint64_t before_move(uintptr_t from, uintptr_t to, size_t size)
{
    uint64_t all = SIGNAL_ALL, old = 0;
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&old, sizeof all);
    keep_open(from, size);
    keep_open(to, size);
    shield_lock();
    return old;
}

static void after_move(uint64_t old)
{
    shield_remap_locked(0, 0); /* what is known of mappings may be that one */
    shield_unlock();
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, sizeof old);
}

static const struct mem_watch moves = {before_move, after_move};

static void in_child(ucontext_t *context)
{
    if (!barrier.armed)
        return;
    barrier.armed = false;
    mem_watch_moves(NULL);
    trap_after_fork();
    shield_after_fork();
    veil_after_fork(context);
}

/* All forks while pages are shielded come by in_child; here they are known to be in order. */
static void mprotect_after_fork(void)
{
    in_child(NULL);
}

static const char *mprotect_open(void)
{
    const char *why = trap_open();
    trap_on_fork(in_child);
    return why != NULL ? why : shield_open();
}

static void mprotect_close(void)
{
}

static const char *mprotect_begin(void)
{
    if (barrier.lost >= LOST_MOST)
        return "the program has faults, handlers or calls that the mprotect barrier cannot bear";
    if (trap_is_taken())
        return "the program uses Syscall User Dispatch itself";
    if (mem_moves_begun() != mem_moves_ended()) /* after_move would not be called */
        return "the program was moving pages";
    const char *why = shield_begin();
    if (why == NULL)
        why = veil_begin(on_fault, trap_on_signal);
    if (why != NULL)
        return why;
    mem_watch_moves(&moves);
    trap_begin();
    barrier.armed = true;
    world_on_leave(leave_stop);
    return NULL;
}

static void mprotect_end(void)
{
    if (!barrier.armed)
        return;
    barrier.lost += shield_broken();
    barrier.armed = false;
    mem_watch_moves(NULL);
    shield_end();
    veil_end();
    trap_end();
}

static bool mprotect_lost(void)
{
    return barrier.armed && shield_broken();
}

const struct barrier barrier_mprotect = {
    .name = "mprotect",
    .open = mprotect_open,
    .close = mprotect_close,
    .begin = mprotect_begin,
    .stops = true,
    .arm = shield_arm,
    .take = shield_take,
    .disarm = shield_release,
    .lost = mprotect_lost,
    .end = mprotect_end,
    .after_fork = mprotect_after_fork,
};
