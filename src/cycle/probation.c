/* probation.c -- trust is earned, and lost by one contradiction.
 *
 * A contradiction means that the program holds a pointer which the collector cannot see (hidden by
 * xor, compressed, in a kernel object …). The process then goes back to report-only for good, and
 * says so once. With probation=0 the user has taken the decision: blocks go on being reclaimed,
 * except those from the contradicting site (its allocation stack, where that was recorded). */
#include "cycle/probation.h"

#include "base/atomic.h"
#include "sys/print.h"

enum {
    /* Blocks that must have been due in a cycle for it to count: a cycle with nothing to reclaim
     * proves nothing. */
    JUDGED_LEAST = 8,
    PINNED_MOST = 256,
};

static struct {
    unsigned needed, passed;
    _Atomic uint64_t contradictions;
    _Atomic uint32_t pinned[PINNED_MOST]; /* stack ids */
    _Atomic uint32_t pinned_count;
} probation;

void probation_start(unsigned cycles)
{
    probation.needed = cycles;
}

void probation_note_cycle(uint64_t due_blocks)
{
    uint64_t now = relaxed_load(&probation.contradictions);
    if (now == 0 && due_blocks >= JUDGED_LEAST && probation.passed < probation.needed)
        probation.passed++;
}

static void pin(uint32_t stack)
{
    if (stack == 0)
        return;
    uint32_t at = relaxed_add(&probation.pinned_count, 1);
    if (at < PINNED_MOST)
        release_store(&probation.pinned[at], stack);
}

void probation_contradiction(const struct block *block)
{
    uint64_t before = relaxed_add(&probation.contradictions, 1);
    if (!probation_is_pinned(block))
        pin(block_stack(block));
    if (before == 0 && probation.needed != 0)
        print_error("the program used a block of %zu bytes at %p to which no pointer was found: it "
                    "hides pointers, so from now on leaks are only reported, not reclaimed",
                    block->size, (void *)block->start);
}

bool probation_passed(void)
{
    if (probation.needed == 0)
        return true;
    return relaxed_load(&probation.contradictions) == 0 && probation.passed >= probation.needed;
}

bool probation_is_pinned(const struct block *block)
{
    uint32_t stack = block_stack(block);
    uint32_t count = relaxed_load(&probation.pinned_count);
    for (uint32_t i = 0; stack != 0 && i < count && i < PINNED_MOST; i++)
        if (acquire_load(&probation.pinned[i]) == stack)
            return true;
    return false;
}

bool probation_has_pins(void)
{
    return relaxed_load(&probation.pinned_count) != 0;
}

uint64_t probation_contradictions(void)
{
    return relaxed_load(&probation.contradictions);
}

const char *probation_reason(void)
{
    if (relaxed_load(&probation.contradictions) != 0 && probation.needed != 0)
        return "the program used blocks to which no pointer was found (it hides pointers)";
    return NULL;
}
