/* shakedown.c -- the text about one block.
 *
 * It is written at once, for nobody knows how long the program will last. It may be written in a
 * handler, on top of whatever the program was doing when it touched the block: so nothing here
 * allocates, takes a lock of libc's, or demangles. Texts of several threads are kept apart by a
 * lock; whoever holds it has signals blocked, but for those that stop the world. */
#include "watch/shakedown.h"

#include "base/atomic.h"
#include "gc/world.h"
#include "sys/print.h"
#include "sys/sandbox.h"
#include "sys/signal.h"
#include "sys/syscall.h"
#include "watch/leak_report.h"
#include "watch/stack_table.h"
#include "watch/unwind.h"

static _Atomic int32_t printing; /* the thread that does */

static void begin(void)
{
    int32_t self = (int32_t)syscall0(__NR_gettid);
    for (int32_t nobody = 0; !atomic_compare_exchange_strong(&printing, &nobody, self);
         nobody = 0)
        syscall0(__NR_sched_yield);
}

void shakedown_after_fork(void)
{
    atomic_store(&printing, 0);
}

static void print_allocation(struct printer *out, const struct block *block)
{
    const uintptr_t *pcs;
    unsigned depth = stack_table_get(block_stack(block), &pcs);
    if (depth == 0)
        printer_printf(out, "  its allocation's stack was not recorded (GCMALLOC=stacks=all)\n");
    else
        printer_printf(out, "  allocated from:\n");
    leak_report_print_stack(out, pcs, depth);
}

/* The caller's stack. What a fault interrupted comes first: unwinding begins with its caller. */
static unsigned capture(const struct withheld_access *access, uintptr_t *pcs)
{
    unsigned first = access->pc != 0;
    pcs[0] = access->pc + 1; /* as of a call, one behind */
    return first + unwind_capture(pcs + first, STACK_DEPTH - first);
}

void shakedown_touched(const struct block *block, const struct withheld_access *access)
{
    static const char *const done[] = {
        [TOUCH_READ] = "reads from",
        [TOUCH_WRITE] = "writes to",
        [TOUCH_FREE] = "frees, or resizes,",
        [TOUCH_CALL] = "gives the kernel",
    };
    struct printer out;
    uintptr_t pcs[STACK_DEPTH];
    unsigned depth = capture(access, pcs);
    if (sandbox_on() || !print_stderr_usable())
        return;
    uint64_t blocked = signal_block(~world_signals());
    begin();
    printer_start(&out, 2);
    printer_printf(&out,
                   "libgcmalloc: shakedown: the program %s a block to which no pointer was found: "
                   "%zu bytes at %p, byte %lu\n",
                   done[access->how], block_requested(block), (void *)block->start,
                   access->address - block->start);
    leak_report_print_stack(&out, pcs, depth);
    print_allocation(&out, block);
    printer_printf(&out, "  The block is as it was, and the program goes on.\n");
    printer_flush(&out);
    atomic_store(&printing, 0);
    signal_unblock(blocked);
}
