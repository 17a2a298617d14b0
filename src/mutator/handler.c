/* handler.c -- a thunk per handler.
 *
 * Theory: with one thunk for each address that was ever set, the kernel's own record stays the only
 * one of what the program has set: flags, masks, one-shot handlers, inheritance are as ever, and
 * nothing has to be changed in two places at once.
 *
 *   .inv.thunk   handler_addresses[i], once set, never changes: thunk i may be run at any time by
 *                a thread that was told of it.
 *   .inv.counted While the world is stopped no handler begins. A thread that was counted as parked
 *                may have withdrawn its frame since, and wait in the wrapper, or in a thunk below.
 *                It withdrew it after the stop's barrier, so the thunk on top reads park_stopping.
 *
 * A thread that is not parked goes from the thunk straight to its handler, which finds the stack as
 * the kernel left it. One that is parked withdraws its frame, waits if the world is stopped, and
 * parks again behind the handler, unless it is another task than the place's owner by now: a child
 * that the handler has forked.
 *
 * Faults. A second thunk of each number first tells the watch. It jumps to where the first begins,
 * with the stack and the arguments as the kernel left them: so handlers of SIGSEGV are found by the
 * watch, and find nothing changed, alternate stacks, masks, one-shot handlers and siginfo included.
 * Where the program has no handler one of ours stands for SIG_DFL: it takes itself away, and the
 * fault repeats itself. */
#include "mutator/handler.h"

#include "base/atomic.h"
#include "mutator/park.h"
#include "sys/signal.h"
#include "sys/syscall.h"

#include <signal.h>

enum { THUNK_SIZE = 16 };

/* Seen by the assembly. */
extern const char handler_thunks[], handler_watched_thunks[];
extern _Atomic uintptr_t handler_addresses[HANDLERS_MOST];
extern handler_watch_fn *handler_watcher;
void handler_run_parked(int signal, siginfo_t *info, void *context, uint32_t number);

/* Set once, before anything refers to it. */
handler_watch_fn *handler_watcher;
GC_LARGE _Atomic uintptr_t handler_addresses[HANDLERS_MOST];

/* The kernel calls with three arguments; rax and rcx are free. park_self is NULL, or the frame
 * comes first in what it points to. */
__asm__(".text\n\t"
        ".balign 16\n\t"
        ".globl handler_thunks\n\t"
        ".hidden handler_thunks, handler_addresses, handler_run_parked, park_stopping\n\t"
        ".hidden handler_watched_thunks, handler_watcher\n"
        "handler_thunks:\n\t"
        ".cfi_startproc\n\t"
        ".set .Lthunk, 0\n\t"
        ".rept 1024\n\t"
        "mov $.Lthunk, %eax\n\t"
        "jmp .Lrun\n\t"
        ".balign 16\n\t"
        ".set .Lthunk, .Lthunk + 1\n\t"
        ".endr\n"
        ".Lrun:\n\t"
        "mov park_self@gottpoff(%rip), %rcx\n\t"
        "mov %fs:(%rcx), %rcx\n\t"
        "test %rcx, %rcx\n\t"
        "jz 2f\n\t"
        "cmpq $0, (%rcx)\n\t"
        "jne 1f\n\t"
        "cmpl $0, park_stopping(%rip)\n\t" /* .inv.counted */
        "je 2f\n"
        "1:\tmov %eax, %ecx\n\t"
        "jmp handler_run_parked\n"
        "2:\tlea handler_addresses(%rip), %rcx\n\t"
        "jmp *(%rcx, %rax, 8)\n\t"
        ".balign 16\n\t"
        ".globl handler_watched_thunks\n"
        "handler_watched_thunks:\n\t"
        ".set .Lthunk, 0\n\t"
        ".rept 1024\n\t"
        "mov $.Lthunk, %eax\n\t"
        "jmp .Lwatched\n\t"
        ".balign 16\n\t"
        ".set .Lthunk, .Lthunk + 1\n\t"
        ".endr\n"
        ".Lwatched:\n\t"
        "push %rax\n\tpush %rdi\n\tpush %rsi\n\tpush %rdx\n\tsub $8, %rsp\n\t"
        ".cfi_adjust_cfa_offset 40\n\t"
        "mov %rdx, %rdi\n\t"
        "call *handler_watcher(%rip)\n\t"
        "add $8, %rsp\n\tpop %rdx\n\tpop %rsi\n\tpop %rdi\n\tpop %rax\n\t"
        ".cfi_adjust_cfa_offset -40\n\t"
        "jmp .Lrun\n\t"
        ".cfi_endproc");

void handler_run_parked(int signal, siginfo_t *info, void *context, uint32_t number)
{
    void (*handler)(int, siginfo_t *, void *) =
        (void (*)(int, siginfo_t *, void *))relaxed_load(&handler_addresses[number]);
    uintptr_t frame = relaxed_load(&park_self->frame);
    park_end();
    handler(signal, info, context);
    struct park *self = park_self;
    if (self == NULL || relaxed_load(&self->tid) != park_task())
        return;
    self->handled = 1; /* after calls that the handler made */
    release_store(&self->frame, frame);
}

static bool is_function(uintptr_t handler)
{
    return handler != (uintptr_t)SIG_DFL && handler != (uintptr_t)SIG_IGN &&
           handler != (uintptr_t)SIG_ERR && handler != (uintptr_t)SIG_HOLD;
}

static bool is_plain(uintptr_t address)
{
    return address - (uintptr_t)handler_thunks < HANDLERS_MOST * THUNK_SIZE;
}

static bool is_watched(uintptr_t address)
{
    return address - (uintptr_t)handler_watched_thunks < HANDLERS_MOST * THUNK_SIZE;
}

static bool is_thunk(uintptr_t address)
{
    return is_plain(address) || is_watched(address);
}

uintptr_t handler_wrap(uintptr_t handler)
{
    if (!is_function(handler) || is_thunk(handler))
        return handler;
    for (uint32_t i = 0; i < HANDLERS_MOST; i++) {
        uintptr_t found = relaxed_load(&handler_addresses[i]);
        if (found == 0 && atomic_compare_exchange_strong(&handler_addresses[i], &found, handler))
            found = handler;
        if (found == handler)
            return (uintptr_t)handler_thunks + i * THUNK_SIZE;
    }
    park_forbid();
    return handler;
}

/* ---- faults ---- */

/* In the place of SIG_DFL. A signal that somebody has sent does not repeat itself. */
static void on_default(int signal, siginfo_t *info, void *context)
{
    handler_watcher(context);
    handler_watch_default(false);
    if (info->si_code <= 0)
        syscall4(__NR_rt_tgsigqueueinfo, syscall0(__NR_getpid), syscall0(__NR_gettid), signal,
                 (long)info);
}

void handler_watch(handler_watch_fn *watch)
{
    handler_watcher = watch;
}

bool handler_watched(void)
{
    return handler_watcher != NULL;
}

uintptr_t handler_wrap_watched(uintptr_t handler)
{
    if (handler == (uintptr_t)SIG_DFL)
        return (uintptr_t)on_default;
    uintptr_t plain = handler_wrap(handler);
    if (!is_plain(plain))
        return plain;
    return (uintptr_t)handler_watched_thunks + (plain - (uintptr_t)handler_thunks);
}

void handler_watch_default(bool on)
{
    struct signal_action now, ours = {.handler = on_default, .flags = SA_SIGINFO,
                                      .mask = SIGNAL_ALL};
    uintptr_t expected = on ? (uintptr_t)SIG_DFL : (uintptr_t)on_default;
    if (signal_action(SIGSEGV, NULL, &now) != 0 || (uintptr_t)now.handler != expected)
        return;
    signal_put(SIGSEGV, on ? ours : (struct signal_action){0});
}

uintptr_t handler_unwrap(uintptr_t address)
{
    if (address == (uintptr_t)on_default)
        return (uintptr_t)SIG_DFL;
    if (!is_thunk(address))
        return address;
    uintptr_t first = (uintptr_t)(is_plain(address) ? handler_thunks : handler_watched_thunks);
    return relaxed_load(&handler_addresses[(address - first) / THUNK_SIZE]);
}
