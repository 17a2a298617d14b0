/* unwind.c -- the calling thread's stack, as return addresses.
 *
 * A frame's rule (frame_rule.h) says where its caller's rsp, rbp and pc are, given its own rsp and
 * rbp. A walk is: look the rule up by pc, read two words, repeat. Rules that the cache lacks come
 * from libunwind (cfi.c). Three kinds of frame are different:
 *
 *   no unwind table   generated code, hand-written assembly: rbp is taken for a frame pointer if it
 *                     is near, and if what it leads to follows a call instruction.
 *   a signal frame    has a rule like any other; its caller's pc is an instruction that was
 *                     interrupted, not a return address. Stored plus one: whoever reports pc - 1
 *                     then names the right one.
 *   RULE_EXACT        a function that keeps its frame in another register (the dynamic linker's
 *                     lazy binding, vfork): the whole walk is done again by libunwind.
 *
 *   .inv.read   Memory is read through peek.h only. Whatever the stack holds, the walk ends.
 *   .inv.bound  A walk ends after max + SKIP_MOST frames, or where a frame is its own caller.
 *   .inv.clean  The program can see nothing of it: no descriptor, no lock of the loader, no change
 *               of errno, no thread-specific key, no call of malloc.
 *
 * Why not unw_backtrace(): its cache is per thread, 256 KiB filled at each thread's first capture;
 * ordinary frames are read unchecked; entries outlive dlclose; and it takes the loader's lock.
 *
 * Cost, 2026-11, one core (tests/unit/watch_unwind.c prints it; medians):
 *
 *                       stack known (unwind_set_stack)   unknown     glibc's backtrace()
 *     10 frames         0.10 us  (8-10 ns a frame)       1.3 us      1.2 us
 *     30 frames         0.31 us                          3.2 us      3.4 us
 *
 * A rule that the cache lacks costs 0.6 us once everything is warm; a process's first capture of 8
 * frames takes 40-55 us, page faults included. */
#include "watch/unwind.h"

#include "watch/cfi.h"
#include "watch/frame_rule.h"
#include "watch/peek.h"

#include <string.h>

enum {
    /* Our own frames at the inner end, at most. */
    SKIP_MOST = 32,
    /* A guessed frame's size in bytes, at most; libunwind's limit, "don't let it go more than a
     * little". Generated code's frames are small; a larger limit believes more garbage. */
    GUESS_MOST = 0x4000,
    /* No code lies below: vm.mmap_min_addr is 64 KiB, or 4 KiB at least. */
    LOWEST_PC = 4096,
};

struct walk {
    uintptr_t pc, sp, bp;
    bool after_call; /* pc is a return address: the frame's instruction is the one before */
    struct peek peek;
};
enum step { STEP_STOP, STEP_ON, STEP_EXACT };

/* Fixed by unwind_init(). */
static uintptr_t own_low, own_high;

static bool is_own(uintptr_t pc)
{
    return pc >= own_low && pc < own_high;
}

static struct frame_rule rule_at(uintptr_t pc)
{
    struct frame_rule rule;
    bool cacheable;
    if (GC_LIKELY(frame_rule_find(pc, &rule)))
        return rule;
    uint64_t epoch = frame_rule_epoch();
    rule = cfi_rule(pc, &cacheable);
    if (cacheable)
        frame_rule_add(pc, rule, epoch);
    return rule;
}

/* True if the instruction before `pc` is a call: e8 rel32, or ff /2 with any operand. */
static bool follows_call(uintptr_t pc)
{
    enum { LONGEST = 7 };
    static const uint8_t tail[4] = {0, 1, 4, 0}; /* displacement bytes by mod */
    uint8_t code[LONGEST];
    if (!peek_bytes(code, pc - LONGEST, LONGEST))
        return false;
    if (code[LONGEST - 5] == 0xe8)
        return true;
    for (unsigned length = 2; length <= LONGEST; length++) {
        const uint8_t *at = code + LONGEST - length;
        unsigned mod = at[1] >> 6, rm = at[1] & 7;
        if (at[0] != 0xff || ((at[1] >> 3) & 7) != 2)
            continue;
        unsigned want = 2 + tail[mod];
        if (mod != 3 && rm == 4)
            want += 1 + (mod == 0 && length > 2 && (at[2] & 7) == 5 ? 4 : 0);
        else if (mod == 0 && rm == 5)
            want += 4;
        if (want == length)
            return true;
    }
    return false;
}

static enum step step_guess(struct walk *w)
{
    uintptr_t pc, bp;
    if (!is_aligned(w->bp, WORD_SIZE) || w->bp < w->sp || w->bp - w->sp > GUESS_MOST)
        return STEP_STOP;
    if (!peek_word(&w->peek, w->bp, &bp) || !peek_word(&w->peek, w->bp + WORD_SIZE, &pc))
        return STEP_STOP;
    if (pc < LOWEST_PC || !follows_call(pc))
        return STEP_STOP;
    w->sp = w->bp + 2 * WORD_SIZE;
    w->bp = bp;
    w->pc = pc;
    w->after_call = true;
    return STEP_ON;
}

GC_INLINE uintptr_t base_value(const struct walk *w, unsigned base, uintptr_t cfa)
{
    return base == RULE_CFA ? cfa : base == RULE_RSP ? w->sp : w->bp;
}

static enum step step_plain(struct walk *w, struct frame_rule rule)
{
    uintptr_t pc, bp = w->bp;
    uintptr_t cfa = base_value(w, rule.cfa_base, 0) + (uintptr_t)(int64_t)rule.cfa_offset;
    if (rule.cfa_deref && !peek_word(&w->peek, cfa, &cfa))
        return STEP_STOP;
    uintptr_t slot = base_value(w, rule.return_base, cfa) + (uintptr_t)(int64_t)rule.return_offset;
    if (!peek_word(&w->peek, slot, &pc))
        return STEP_STOP;
    if (rule.rbp_base != RULE_UNCHANGED) {
        slot = base_value(w, rule.rbp_base, cfa) + (uintptr_t)(int64_t)rule.rbp_offset;
        if (!peek_word(&w->peek, slot, &bp))
            return STEP_STOP;
    }
    if (pc < LOWEST_PC || cfa == w->sp) /* .inv.bound */
        return STEP_STOP;
    w->pc = pc;
    w->sp = cfa;
    w->bp = bp;
    w->after_call = !rule.after_signal;
    return STEP_ON;
}

static enum step step(struct walk *w)
{
    struct frame_rule rule = rule_at(w->pc - w->after_call);
    switch ((enum rule_kind)rule.kind) {
    case RULE_PLAIN:
        return step_plain(w, rule);
    case RULE_GUESS:
        return step_guess(w);
    case RULE_EXACT:
        return STEP_EXACT;
    case RULE_END:
        break;
    }
    return STEP_STOP;
}

/* The walk by libunwind itself, from here; kept if it got further than the first `n`. */
static GC_COLD unsigned capture_exact(uintptr_t *pcs, unsigned n, unsigned max)
{
    struct cfi_registers here;
    struct peek peek;
    uintptr_t exact[UNWIND_MAX];
    memset(&here, 0, sizeof here);
    __asm__ volatile("movq %%rbx, 3*8(%0)\n\t"
                     "movq %%rbp, 6*8(%0)\n\t"
                     "movq %%rsp, 7*8(%0)\n\t"
                     "movq %%r12, 12*8(%0)\n\t"
                     "movq %%r13, 13*8(%0)\n\t"
                     "movq %%r14, 14*8(%0)\n\t"
                     "movq %%r15, 15*8(%0)\n\t"
                     "leaq 0f(%%rip), %%rax\n"
                     "0:\tmovq %%rax, 16*8(%0)"
                     :
                     : "r"(here.value)
                     : "rax", "memory");
    peek_start(&peek, here.value[CFI_RSP]);
    unsigned got = n ? cfi_walk(&here, &peek, pcs[0], exact, max) : 0;
    if (got <= n)
        return n;
    memcpy(pcs, exact, got * sizeof *pcs);
    return got;
}

GC_NOINLINE unsigned unwind_capture(uintptr_t *pcs, unsigned max)
{
    const uintptr_t *frame = __builtin_frame_address(0);
    struct walk w;
    unsigned n = 0, skipped = 0;
    enum step got;
    w.pc = (uintptr_t)__builtin_return_address(0);
    w.sp = (uintptr_t)(frame + 2);
    w.bp = frame[0];
    w.after_call = true;
    max = max < UNWIND_MAX ? max : UNWIND_MAX;
    peek_start(&w.peek, w.sp);
    do {
        if (n == 0 && is_own(w.pc) && skipped < SKIP_MOST)
            skipped++;
        else if (n < max)
            pcs[n++] = w.pc + !w.after_call;
        else
            return n;
    } while ((got = step(&w)) == STEP_ON);
    return got == STEP_EXACT ? capture_exact(pcs, n, max) : n;
}

void unwind_init(uintptr_t low, uintptr_t high)
{
    own_low = low;
    own_high = high;
}

void unwind_flush(void)
{
    frame_rule_flush();
}

void unwind_set_stack(uintptr_t low, uintptr_t high)
{
    peek_set_stack(low, high);
}

void unwind_fork_prepare(void)
{
    cfi_fork_prepare();
}
void unwind_fork_parent(void)
{
    cfi_fork_parent();
}
void unwind_fork_child(void)
{
    cfi_fork_child();
}
