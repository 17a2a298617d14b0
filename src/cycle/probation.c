/* probation.c -- trust is earned, and lost by one contradiction.
 *
 * A contradiction means that the program holds a pointer which the collector cannot see (hidden by
 * xor, compressed, in a kernel object …): it freed or resized a block that no mark had reached, or
 * wrote to it (gc/touched.c). The process then goes back to report-only for good, and says so once.
 * With probation=0 the user has taken the decision: blocks go on being reclaimed, except those from
 * the contradicting site (its allocation stack, where that was recorded). */
#include "cycle/probation.h"

#include "base/atomic.h"
#include "sys/event.h"
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
    _Atomic uint64_t written; /* of these, by the barrier */
    struct block untold;      /* the first of all: to be said when the world runs; size 0: none */
    struct {
        _Atomic uint32_t stack;
        _Atomic uint64_t count;
    } pinned[PINNED_MOST];
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

/* Its number; PINNED_MOST: it is not pinned. */
static uint32_t find(uint32_t stack)
{
    uint32_t count = size_min(relaxed_load(&probation.pinned_count), PINNED_MOST);
    for (uint32_t i = 0; stack != 0 && i < count; i++)
        if (acquire_load(&probation.pinned[i].stack) == stack)
            return i;
    return PINNED_MOST;
}

static void pin(uint32_t stack, uint64_t count)
{
    uint32_t at = find(stack);
    if (at == PINNED_MOST && stack != 0)
        at = relaxed_add(&probation.pinned_count, 1);
    if (at >= PINNED_MOST)
        return;
    relaxed_add(&probation.pinned[at].count, count);
    release_store(&probation.pinned[at].stack, stack);
}

/* True: it is the first, and ends what trust there was. */
static bool note(const struct block *block)
{
    uint64_t before = relaxed_add(&probation.contradictions, 1);
    event_note(EVENT_CONTRADICTION, block_stack(block), block->size);
    pin(block_stack(block), 1);
    return before == 0 && probation.needed != 0;
}

static void say(const char *used, const struct block *block)
{
    print_error("the program %s a block of %zu bytes at %p to which no pointer was found: it "
                "hides pointers, so from now on leaks are only reported, not reclaimed",
                used, block->size, (void *)block->start);
}

void probation_contradiction(const struct block *block)
{
    if (note(block))
        say("used", block);
}

void probation_written(const struct block *block, bool first)
{
    if (!first) {
        pin(block_stack(block), 0);
        return;
    }
    relaxed_add(&probation.written, 1);
    if (note(block))
        probation.untold = *block;
}

void probation_tell(void)
{
    if (probation.untold.size != 0)
        say("wrote to", &probation.untold);
    probation.untold.size = 0;
}

bool probation_passed(void)
{
    if (probation.needed == 0)
        return true;
    return relaxed_load(&probation.contradictions) == 0 && probation.passed >= probation.needed;
}

bool probation_is_pinned(const struct block *block)
{
    return find(block_stack(block)) != PINNED_MOST;
}

bool probation_site(uint32_t i, uint32_t *stack, uint64_t *contradictions)
{
    if (i >= size_min(relaxed_load(&probation.pinned_count), PINNED_MOST))
        return false;
    *stack = acquire_load(&probation.pinned[i].stack);
    *contradictions = relaxed_load(&probation.pinned[i].count);
    return true;
}

bool probation_has_pins(void)
{
    return relaxed_load(&probation.pinned_count) != 0;
}

struct probation_status probation_status(void)
{
    return (struct probation_status){probation.needed, probation.passed,
                                     relaxed_load(&probation.contradictions),
                                     relaxed_load(&probation.written)};
}

const char *probation_reason(void)
{
    if (relaxed_load(&probation.contradictions) != 0 && probation.needed != 0)
        return "the program used blocks to which no pointer was found (it hides pointers)";
    return NULL;
}
