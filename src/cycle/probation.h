/* probation.h -- may this process's unreachable blocks be reclaimed?
 *
 * Thread safety: probation_contradiction from any thread, the rest under the CYCLE lock. */
#ifndef GC_PROBATION_H
#define GC_PROBATION_H

#include "base/base.h"
#include "heap/slab.h"

/* `cycles` of good conduct are asked for; 0 = none. */
void probation_start(unsigned cycles);
/* A cycle ended in which this many blocks had been unreachable for `confirm` cycles. */
void probation_note_cycle(uint64_t due_blocks);
/* The program freed or resized a block that the last mark did not reach. */
void probation_contradiction(const struct block *block);
/* World stopped. The program has written to a page of blocks that two marks did not reach: this is
 * one of them, and the `first` of that page. Is counted once a page, and not said yet. */
void probation_written(const struct block *block, bool first);
/* Says what is to be said of that. */
void probation_tell(void);
bool probation_passed(void);
/* Is the block from a site that was caught in a contradiction? Such blocks stay. */
bool probation_is_pinned(const struct block *block);
/* Are there such sites? */
bool probation_has_pins(void);
/* Any thread. */
struct probation_status {
    unsigned needed, passed;   /* cycles of good conduct */
    uint64_t contradictions;
    uint64_t written;          /* of these: pages, by the barrier */
};
struct probation_status probation_status(void);
/* Site number `i`, from 0, of those that were caught, as far as their stacks are known: the stack's
 * id, and how often; 0: its block lay on a page that was written, behind the first. False: there
 * are no more. */
bool probation_site(uint32_t i, uint32_t *stack, uint64_t *contradictions);
/* For the report: why nothing is being reclaimed, or NULL. A static text. */
const char *probation_reason(void);

#endif
