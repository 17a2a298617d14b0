/* trap.c -- Syscall User Dispatch: every system call outside of our own text becomes a SIGSYS.
 *
 * Theory: the handler does not make the call, it only prepares it: it opens what the call will
 * write (trap_table.c), and returns to a copy of the `syscall` instruction in our own text, where
 * calls pass, with all registers as they were. The call is then made by the program's code for all
 * the kernel can see: on its stack, with its mask, interrupted, restarted and cancelled as ever.
 * Behind the copy a jump leads back. There is one copy for each place that makes calls, for no
 * register is free to hold the way back, and the stack below may be in use.
 *
 *   .inv.site    site[i], if set, is the place that stub i returns to, for good.
 *   .inv.anew    A copy is executed only directly after its SIGSYS: a task that is to execute one
 *                later (a restarted call, at the end of a stop or of a handler) is sent back to the
 *                original, to be caught again, for meanwhile its buffers may be shielded.
 *   .inv.entered Between _begin and _end every task of the process is entered, but the collector's
 *                own and vfork's children. New ones enter themselves in the copy of their clone.
 *
 * Calls that change mappings, and fork, are made in the handler, under the shield's lock; those
 * that change masks and actions are played (veil.c). A call that the table does not know breaks the
 * shield, and is made. What cannot be handled at all is put off: the shield is broken, and the task
 * waits until the collector has ended the phase, which it does at once (barrier.lost); then the
 * call is made where it stands. So it goes with
 *   vfork, and clone of a process in the same memory on the same stack: the child's calls would not
 *   be caught, and its actions are not its parent's. posix_spawn's child has a stack of its own and
 *   writes nothing else, so it is let through;
 *   exec by a task that has the veiled signals blocked, or ignores them: that is inherited;
 *   calls that take a mask with SIGSEGV or SIGSYS in it for their duration;
 *   more places than there are stubs; another user of SIGSYS.
 * The actions of the two signals cannot be given back before the world is stopped: another task may
 * have its fault, or its caught call, behind it, and the signal before it.
 *
 * Unwinding from a signal handler through a copy (cancellation, backtraces) finds the way back by
 * an expression over the program counter, below.
 *
 * Cost, see barrier_mprotect.c. The selector is one byte for all tasks, since none of them ever
 * needs to differ; outside of phases dispatch is off, so that calls cost what they always do. */
#include "gc/trap.h"

#include "base/atomic.h"
#include "base/check.h"
#include "gc/shield.h"
#include "gc/trap_table.h"
#include "gc/veil.h"
#include "gc/world.h"
#include "sys/lock.h"
#include "sys/syscall.h"

#include <limits.h>
#include <linux/audit.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/shm.h>

/* Of the library, or the program that it is linked into; from the linker. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

enum {
    STUBS = 2048,      /* libc has 600 places; also in the assembly below */
    STUB_SIZE = 8,
    BIRTHS = 64,       /* places that clone, times what they may ask for */
    BIRTH_SIZE = 16,
    SYSCALL_SIZE = 2,
};

struct birth {
    uintptr_t site;    /* first: the assembly jumps there */
    uint64_t hidden;   /* what the parent believes blocked, see veil.h */
};

/* Seen by the assembly. */
extern _Atomic uintptr_t trap_sites[STUBS];
extern struct birth trap_births[BIRTHS];
extern const char trap_stubs[], trap_birth_stubs[];
void trap_born(struct birth *birth);

GC_LARGE _Atomic uintptr_t trap_sites[STUBS];
struct birth trap_births[BIRTHS];

static struct {
    volatile char selector;   /* read by the kernel at each call */
    _Atomic uint32_t births;  /* in use. Under shield_lock */
    _Atomic uint32_t ended;   /* phases; a futex */
    _Atomic bool taken;
    void (*in_child)(ucontext_t *context);
} trap;

/* The stubs, 8 bytes each. To unwind: the stub's address a is the program counter rounded down, the
 * 32 bits at a + 4 are the jump's distance from a + 8 to its site. "Signal frame", since the way
 * back is to the very place, not behind a call. */
__asm__(".text\n\t"
        ".balign 16\n\t"
        ".globl trap_stubs\n\t"
        ".hidden trap_stubs, trap_sites, trap_births, trap_born\n"
        "trap_stubs:\n\t"
        ".cfi_startproc\n\t"
        ".cfi_signal_frame\n\t"
        ".cfi_def_cfa rsp, 0\n\t"
        ".cfi_escape 0x14, 7, 0\n\t" /* val_offset rsp, 0; clang 14 has no directive for it */
        ".cfi_escape 0x16, 16, 16\n\t" /* val_expression of the return address, 16 bytes: */
        ".cfi_escape 0x80, 0, 0x09, 0xf8, 0x1a, 0x12\n\t" /* breg16 0; const1s -8; and; dup */
        ".cfi_escape 0x23, 4, 0x94, 4, 0x22\n\t" /* plus_uconst 4; deref_size 4; plus */
        ".cfi_escape 0x23, 8, 0x06, 0x96, 0x96\n\t" /* plus_uconst 8; deref; nop; nop */
        ".set .Lstub, 0\n\t"
        ".rept 2048\n\t"
        "syscall\n\t"
        "jmp *trap_sites + 8 * .Lstub(%rip)\n\t"
        ".set .Lstub, .Lstub + 1\n\t"
        ".endr\n\t"
        ".cfi_endproc\n\t"
        /* Clones: rcx is free behind a call. The new thread calls trap_born before it goes on, with
         * everything saved. */
        ".balign 16\n\t"
        ".globl trap_birth_stubs\n\t"
        ".hidden trap_birth_stubs\n"
        "trap_birth_stubs:\n\t"
        ".set .Lstub, 0\n\t"
        ".rept 64\n\t"
        "syscall\n\t"
        "lea trap_births + 16 * .Lstub(%rip), %rcx\n\t"
        "jmp .Lborn\n\t"
        ".balign 16\n\t"
        ".set .Lstub, .Lstub + 1\n\t"
        ".endr\n"
        ".Lborn:\n\t"
        "test %rax, %rax\n\t"
        "jz 1f\n\t"
        "jmp *(%rcx)\n"
        "1:\tpush %rcx\n\tpush %rdi\n\tpush %rsi\n\tpush %rdx\n\t"
        "push %r8\n\tpush %r9\n\tpush %r10\n\tpush %rbp\n\t"
        "mov %rsp, %rbp\n\t"
        "sub $512, %rsp\n\t"
        "and $-16, %rsp\n\t"
        "fxsave64 (%rsp)\n\t"
        "mov %rcx, %rdi\n\t"
        "call trap_born\n\t"
        "fxrstor64 (%rsp)\n\t"
        "mov %rbp, %rsp\n\t"
        "pop %rbp\n\tpop %r10\n\tpop %r9\n\tpop %r8\n\t"
        "pop %rdx\n\tpop %rsi\n\tpop %rdi\n\tpop %rcx\n\t"
        "xor %eax, %eax\n\t"
        "jmp *(%rcx)");
_Static_assert(sizeof(struct birth) == 16, "the assembly's stride");

/* ---- the switch ---- */

static void set_selector(char to)
{
    trap.selector = to;
}

bool trap_enter(void)
{
    return syscall6(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON,
                    (long)__ehdr_start, etext - __ehdr_start, (long)&trap.selector, 0) == 0;
}

void trap_leave(void)
{
    syscall6(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0, 0);
}

const char *trap_open(void)
{
    uint64_t there = 0, here = 1;
    set_selector(SYSCALL_DISPATCH_FILTER_ALLOW);
    if (!trap_enter())
        return "system calls cannot be caught (Syscall User Dispatch needs Linux 5.11)";
    trap_leave();
    if (!trap_peek(&there, (uintptr_t)&here, sizeof here) || there != here)
        return "process_vm_readv is refused";
    return NULL;
}

void trap_begin(void)
{
    set_selector(SYSCALL_DISPATCH_FILTER_BLOCK);
}

void trap_end(void)
{
    set_selector(SYSCALL_DISPATCH_FILTER_ALLOW);
    atomic_fetch_add(&trap.ended, 1);
    futex_wake(&trap.ended, INT_MAX);
}

bool trap_is_taken(void)
{
    return relaxed_load(&trap.taken);
}

void trap_on_fork(void (*in_child)(ucontext_t *context))
{
    trap.in_child = in_child;
}

void trap_after_fork(void)
{
    set_selector(SYSCALL_DISPATCH_FILTER_ALLOW);
}

/* ---- places ---- */

/* The stub for calls that return to `site`; -1: there are no more. Entries are never removed. */
static long stub_of(uintptr_t site)
{
    uint32_t start = (uint32_t)((site * 0x9e3779b97f4a7c15u) >> 40);
    for (uint32_t i = 0; i < STUBS; i++) {
        uint32_t at = (start + i) % STUBS;
        uintptr_t expected = 0;
        if (relaxed_load(&trap_sites[at]) == site ||
            atomic_compare_exchange_strong(&trap_sites[at], &expected, site) || expected == site)
            return at;
    }
    return -1;
}

static long birth_of(uintptr_t site, uint64_t hidden)
{
    shield_lock();
    uint32_t i = 0, count = relaxed_load(&trap.births);
    while (i < count && (trap_births[i].site != site || trap_births[i].hidden != hidden))
        i++;
    if (i == count && count < BIRTHS) {
        trap_births[i] = (struct birth){site, hidden};
        release_store(&trap.births, count + 1);
    }
    shield_unlock();
    return i < BIRTHS ? (long)i : -1;
}

uintptr_t trap_original(uintptr_t pc)
{
    uintptr_t stub = pc - (uintptr_t)trap_stubs, birth = pc - (uintptr_t)trap_birth_stubs;
    if (stub < STUBS * STUB_SIZE && stub % STUB_SIZE == 0)
        return trap_sites[stub / STUB_SIZE] - SYSCALL_SIZE;
    if (birth < BIRTHS * BIRTH_SIZE && birth % BIRTH_SIZE == 0)
        return trap_births[birth / BIRTH_SIZE].site - SYSCALL_SIZE;
    return pc;
}

/* ---- a caught call ---- */

struct caught {
    ucontext_t *context;
    greg_t *registers;
    uint64_t number;
    uint64_t args[6];
};

static uintptr_t site_of(const struct caught *c)
{
    return (uintptr_t)c->registers[REG_RIP];
}

static void go_to(struct caught *c, uintptr_t pc)
{
    c->registers[REG_RIP] = (greg_t)pc;
}

static long make(const struct caught *c)
{
    const uint64_t *a = c->args;
    return syscall6((long)c->number, (long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4],
                    (long)a[5]);
}

static void finish(struct caught *c, long result)
{
    c->registers[REG_RAX] = result;
}

void trap_await_end(ucontext_t *context)
{
    uint64_t all = SIGNAL_ALL, few = SIGNAL_ALL & ~world_signals();
    uint64_t hidden = veil_hidden();
    uint32_t ended = acquire_load(&trap.ended);
    shield_break();
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&few, 0, sizeof few);
    while (acquire_load(&trap.ended) == ended)
        futex_wait(&trap.ended, ended);
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof all);
    veil_resume(context, hidden);
}

/* The program makes the call by itself, when the phase has ended. */
static void put_off(struct caught *c)
{
    trap_await_end(c->context);
    go_to(c, site_of(c) - SYSCALL_SIZE);
}

static void pass(struct caught *c)
{
    long stub = stub_of(site_of(c));
    if (stub < 0)
        put_off(c);
    else
        go_to(c, (uintptr_t)trap_stubs + (uintptr_t)stub * STUB_SIZE);
}

static void pass_known(struct caught *c)
{
    if (c->number == __NR_prctl && c->args[0] == PR_SET_SYSCALL_USER_DISPATCH) {
        relaxed_store(&trap.taken, true);
        put_off(c);
        return;
    }
    if (!trap_keep_outputs(c->number, c->args))
        shield_break();
    pass(c);
}

static void pass_masked(struct caught *c)
{
    uint64_t mask = 0;
    uintptr_t at = trap_mask_of(c->number, c->args);
    if (at != 0 && trap_peek(&mask, at, sizeof mask) && (mask & VEILED) != 0) {
        put_off(c);
        return;
    }
    trap_keep_outputs(c->number, c->args);
    pass(c);
}

static void note_remap(const struct caught *c)
{
    const uint64_t *a = c->args;
    uint64_t now;
    switch (c->number) {
    case __NR_mmap:
        shield_remap_locked(a[0], (a[3] & MAP_FIXED) != 0 ? a[1] : 0);
        break;
    case __NR_mremap:
        shield_remap_locked(a[0], a[1] > a[2] ? a[1] : a[2]);
        if ((a[3] & MREMAP_FIXED) != 0)
            shield_remap_locked(a[4], a[2]);
        break;
    case __NR_brk:
        now = (uint64_t)syscall1(__NR_brk, 0);
        shield_remap_locked(a[0], a[0] != 0 && a[0] < now ? now - a[0] : 0);
        break;
    case __NR_shmat: /* shared memory is never shielded; what it is mapped over may be */
        shield_remap_locked(a[1], (a[2] & SHM_REMAP) != 0 ? UINTPTR_MAX : 0);
        break;
    case __NR_shmdt:
        shield_remap_locked(a[0], 0);
        break;
    default:
        shield_remap_locked(a[0], a[1]);
    }
}

static void change_mapping(struct caught *c)
{
    shield_lock();
    note_remap(c);
    long result = make(c);
    shield_unlock();
    finish(c, result);
}

/* ---- new tasks ---- */

struct clone_wish {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

static bool read_wish(const struct caught *c, struct clone_wish *w)
{
    const uint64_t *a = c->args;
    *w = (struct clone_wish){0};
    if (c->number == __NR_vfork)
        w->flags = CLONE_VFORK | CLONE_VM;
    else if (c->number == __NR_clone)
        *w = (struct clone_wish){.flags = a[0], .stack = a[1], .parent_tid = a[2],
                                 .child_tid = a[3], .tls = a[4], .pidfd = a[2]};
    else if (c->number == __NR_clone3)
        return a[1] >= sizeof *w && trap_peek(w, a[0], sizeof *w);
    return true;
}

static void keep_wish(const struct clone_wish *w)
{
    enum { POINTER_BELOW = 64 << 10, POINTER_ABOVE = 8 << 10 };
    shield_keep_open(w->pidfd, sizeof(int));
    shield_keep_open(w->child_tid, sizeof(int));
    shield_keep_open(w->parent_tid, sizeof(int));
    if (w->stack_size != 0)
        shield_keep_open(w->stack, w->stack_size);
    else if (w->stack != 0)
        shield_keep_stack(w->stack);
    if (w->tls != 0)
        shield_keep_open(w->tls - POINTER_BELOW, POINTER_BELOW + POINTER_ABOVE);
}

static void pass_birth(struct caught *c)
{
    long stub = birth_of(site_of(c), veil_hidden());
    if (stub < 0)
        put_off(c);
    else
        go_to(c, (uintptr_t)trap_birth_stubs + (uintptr_t)stub * BIRTH_SIZE);
}

/* Under the lock, so that the child finds no unit on its way from one state to the other. It goes
 * on here, with a copy of this frame. */
static void fork_here(struct caught *c)
{
    uint64_t hidden = veil_hidden();
    shield_lock();
    shield_before_fork_locked();
    long result = make(c);
    if (result == 0) {
        trap.in_child(c->context);
        *(uint64_t *)(void *)&c->context->uc_sigmask |= hidden;
    } else {
        shield_unlock();
    }
    finish(c, result);
}

static void pass_clone(struct caught *c)
{
    struct clone_wish w;
    if (!read_wish(c, &w)) {
        put_off(c);
        return;
    }
    keep_wish(&w);
    bool shares = (w.flags & CLONE_VM) != 0, waits = (w.flags & CLONE_VFORK) != 0;
    bool spawns = shares && waits && w.stack != 0 && !veil_ignores();
    if (!shares && !waits && w.stack == 0)
        fork_here(c);
    else if (shares && (w.flags & CLONE_THREAD) != 0)
        pass_birth(c);
    else if (spawns)
        pass(c);
    else
        put_off(c);
}

/* A thread's first steps, on its own stack, perhaps without thread-local storage. */
void trap_born(struct birth *birth)
{
    if (!veil_born(birth->hidden) || !trap_enter())
        shield_break();
}

/* The kernel writes to robust mutexes that an ending thread holds, wherever they are. */
static void pass_exit(struct caught *c)
{
    uintptr_t head = 0, first = 0;
    size_t size;
    syscall3(__NR_get_robust_list, 0, (long)&head, (long)&size);
    if (head != 0 && (!trap_peek(&first, head, sizeof first) || first != head))
        shield_break();
    pass(c);
}

/* ---- SIGSYS ---- */

static void handle(struct caught *c)
{
    const uint64_t *a = c->args;
    switch (trap_kind(c->number)) {
    case TRAP_UNKNOWN:
    case TRAP_OUTPUTS:
    case TRAP_NESTED:
        pass_known(c);
        break;
    case TRAP_MASK:
        pass_masked(c);
        break;
    case TRAP_MAPPING:
        change_mapping(c);
        break;
    case TRAP_SIGACTION:
        finish(c, veil_sigaction((int)a[0], a[1], a[2], a[3]));
        break;
    case TRAP_SIGPROCMASK:
        finish(c, veil_sigprocmask(c->context, (int)a[0], a[1], a[2], a[3]));
        break;
    case TRAP_SIGALTSTACK:
        shield_keep_open(a[1], sizeof(stack_t));
        veil_before_sigaltstack(c->context, a[0]);
        pass(c);
        break;
    case TRAP_SIGRETURN:
        veil_before_sigreturn(c->context, trap_original);
        pass(c);
        break;
    case TRAP_CLONE:
        pass_clone(c);
        break;
    case TRAP_EXEC: /* handlers of ours become what handlers of the program's would */
        if (veil_hidden() != 0 || veil_ignores())
            put_off(c);
        else
            pass(c);
        break;
    case TRAP_EXIT:
        pass_exit(c);
        break;
    }
}

void trap_send_again(int signal, siginfo_t *info)
{
    long pid = syscall0(__NR_getpid), tid = syscall0(__NR_gettid);
    syscall4(__NR_rt_tgsigqueueinfo, pid, tid, signal, (long)info);
}

/* A seccomp filter's, or one that was sent. */
static void on_others(siginfo_t *info, struct caught *c)
{
    if (info->si_code <= 0 || !veil_dies_of(SIGSYS))
        trap_await_end(c->context);
    if (info->si_code <= 0) {
        trap_send_again(SIGSYS, info);
        return;
    }
    /* Where the call was made, and if that was a copy, in the original. */
    c->registers[REG_RAX] = (greg_t)c->number;
    go_to(c, trap_original(site_of(c) - SYSCALL_SIZE));
}

void trap_on_signal(int signal, siginfo_t *info, void *context)
{
    enum { USER_DISPATCH = 2 };
    ucontext_t *uc = context;
    greg_t *r = uc->uc_mcontext.gregs;
    struct caught c = {
        .context = uc,
        .registers = r,
        .number = (uint32_t)info->si_syscall,
        .args = {(uint64_t)r[REG_RDI], (uint64_t)r[REG_RSI], (uint64_t)r[REG_RDX],
                 (uint64_t)r[REG_R10], (uint64_t)r[REG_R8], (uint64_t)r[REG_R9]},
    };
    (void)signal;
    r[REG_CR2] = 0; /* as in on_stop (world.c) */
    if (info->si_code != USER_DISPATCH) {
        on_others(info, &c);
    } else if (info->si_arch != AUDIT_ARCH_X86_64) { /* int $0x80 */
        put_off(&c);
    } else {
        veil_give_stack(uc);
        handle(&c);
    }
}
