/* guard_report.c -- GWP-ASan's text, to the letter (LLVM, compiler-rt's gwp_asan): people know it,
 * and tools parse it. Distances beyond the end are counted as AddressSanitizer counts them, from
 * the end. */
#include "watch/guard_report.h"

#include "sys/print.h"
#include "sys/syscall.h"
#include "watch/leak_report.h"
#include "watch/notice.h"

static const char *name_of(enum guard_what what)
{
    static const char *const names[] = {
        [GUARD_NOTHING] = "Unknown",
        [GUARD_USE_AFTER_FREE] = "Use After Free",
        [GUARD_OVERFLOW] = "Buffer Overflow",
        [GUARD_UNDERFLOW] = "Buffer Underflow",
        [GUARD_DOUBLE_FREE] = "Double Free",
        [GUARD_WILD_FREE] = "Invalid (Wild) Free",
    };
    return names[what];
}

/* Where the address is, seen from the block. */
static void print_place(struct printer *out, const struct guard_error *e)
{
    uintptr_t end = e->start + e->size;
    if (e->what == GUARD_DOUBLE_FREE) {
        printer_printf(out, " (a %zu-byte allocation)", e->size);
        return;
    }
    bool left = e->address < e->start, right = !left && e->address >= end;
    size_t distance = left ? e->start - e->address : right ? e->address - end
                                                           : e->address - e->start;
    printer_printf(out, " (%zu byte%s %s a %zu-byte allocation at 0x%lx)", distance,
                   distance == 1 ? "" : "s",
                   left    ? "to the left of"
                   : right ? "to the right of"
                           : "into",
                   e->size, e->start);
}

static void print_trace(struct printer *out, const struct guard_error *e, const char *done,
                        struct guard_trace trace)
{
    if (trace.tid == 0)
        return;
    printer_printf(out, "\n0x%lx was %s by thread %d here:", e->start, done, trace.tid);
    notice_print_stack(out, "", trace.stack);
}

static void say(struct printer *out, const uintptr_t *pcs, unsigned depth, const void *data)
{
    const struct guard_error *e = data;
    printer_printf(out, "*** GWP-ASan detected a memory error ***\n%s at 0x%lx", name_of(e->what),
                   e->address);
    if (e->allocated.tid != 0)
        print_place(out, e);
    printer_printf(out, " by thread %d here:\n", (int)syscall0(__NR_gettid));
    leak_report_print_stack(out, pcs, depth, NULL);
    print_trace(out, e, "deallocated", e->freed);
    print_trace(out, e, "allocated", e->allocated);
    printer_printf(out, "*** End GWP-ASan report ***\n");
}

void guard_report_print(const struct guard_error *error)
{
    notice_give(error->pc, say, error);
}
