/* notice.c -- one text at a time.
 *
 * It is written at once, for nobody knows how long the program will last. It may be written in a
 * handler, on top of whatever the program was doing when it touched the block: so nothing here
 * allocates, takes a lock of libc's, or demangles. Texts of several threads are kept apart by a
 * lock; whoever holds it has signals blocked, but for those that stop the world.
 *
 *   .inv.room    The text is made on a stack of our own, which the lock's holder has to itself: a
 *                handler of the program's may run on an alternate stack of a few KiB. It is
 *                ordinary memory, so that a cycle finds in it what the caller had in registers. */
#include "watch/notice.h"

#include "base/atomic.h"
#include "gc/world.h"
#include "sys/mem.h"
#include "sys/print.h"
#include "sys/sandbox.h"
#include "sys/signal.h"
#include "sys/syscall.h"
#include "watch/leak_report.h"
#include "watch/stack_table.h"
#include "watch/unwind.h"

#include <errno.h>

enum { OWN_STACK = 64 << 10 };

struct call {
    uintptr_t pc;
    notice_fn *say;
    const void *data;
};

static _Atomic int32_t printing; /* the thread that does */
static char *own_stack;          /* set once */

void notice_on_stack(const struct call *call, void (*function)(const struct call *), char *top);

/* Unwinding passes: the frame is known by rbp. */
__asm__(".text\n\t"
        ".balign 16\n\t"
        ".globl notice_on_stack\n\t"
        ".hidden notice_on_stack\n\t"
        ".type notice_on_stack, @function\n"
        "notice_on_stack:\n\t"
        ".cfi_startproc\n\t"
        "push %rbp\n\t"
        ".cfi_def_cfa_offset 16\n\t"
        ".cfi_offset %rbp, -16\n\t"
        "mov %rsp, %rbp\n\t"
        ".cfi_def_cfa_register %rbp\n\t"
        "mov %rdx, %rsp\n\t"
        "call *%rsi\n\t"
        "leave\n\t"
        ".cfi_def_cfa %rsp, 8\n\t"
        "ret\n\t"
        ".cfi_endproc\n\t"
        ".size notice_on_stack, . - notice_on_stack");

void notice_start(void)
{
    own_stack = mem_map(OWN_STACK);
}

/* False: this very thread does, further up its stack. */
static bool begin(void)
{
    int32_t self = (int32_t)syscall0(__NR_gettid);
    for (int32_t holder = 0; !atomic_compare_exchange_strong(&printing, &holder, self);
         holder = 0) {
        if (holder == self)
            return false;
        syscall0(__NR_sched_yield);
    }
    return true;
}

void notice_after_fork(void)
{
    atomic_store(&printing, 0);
}

/* What a fault interrupted comes first, as of a call, one behind; in front of it may be the frame
 * that the handler returns to. Where nothing can be unwound from there, it is all there is. */
static unsigned capture(uintptr_t pc, uintptr_t *pcs)
{
    unsigned depth = unwind_capture(pcs, STACK_DEPTH), first = 0;
    if (pc == 0)
        return depth;
    while (first < depth && pcs[first] != pc + 1)
        first++;
    if (first == depth) {
        for (depth = size_min(depth, STACK_DEPTH - 1), first = depth; first > 0; first--)
            pcs[first] = pcs[first - 1];
        pcs[0] = pc + 1;
        return depth + 1;
    }
    for (unsigned i = first; i < depth; i++)
        pcs[i - first] = pcs[i];
    return depth - first;
}

static void give(const struct call *call)
{
    struct printer out;
    uintptr_t pcs[STACK_DEPTH];
    unsigned depth = capture(call->pc, pcs);
    printer_start(&out, 2);
    call->say(&out, pcs, depth, call->data);
    printer_flush(&out);
}

void notice_give(uintptr_t pc, notice_fn *say, const void *data)
{
    struct call call = {pc, say, data};
    int saved = errno; /* libunwind's */
    if (sandbox_on() || !print_stderr_usable())
        return;
    uint64_t blocked = signal_block(~world_signals());
    if (begin()) {
        if (own_stack != NULL)
            notice_on_stack(&call, give, own_stack + OWN_STACK); /* .inv.room */
        else
            give(&call);
        atomic_store(&printing, 0);
    }
    signal_unblock(blocked);
    errno = saved;
}

void notice_print_stack(struct printer *out, const char *heading, uint32_t stack)
{
    uintptr_t pcs[STACK_DEPTH_MAX];
    unsigned depth = stack_table_get(stack, pcs);
    printer_printf(out, "%s\n", heading);
    leak_report_print_stack(out, pcs, depth, NULL);
}
