/* frame_rule.h -- how to get from one frame to its caller's, in one word, and a cache of them.
 *
 * Thread safety: the cache is shared by all threads; see .inv.torn in frame_rule.c. */
#ifndef GC_FRAME_RULE_H
#define GC_FRAME_RULE_H

#include "base/base.h"

enum rule_kind {
    RULE_END,   /* the outermost frame, or unwind information that makes no sense: stop */
    RULE_PLAIN, /* the other fields say it all */
    RULE_GUESS, /* no unwind information: perhaps rbp is a frame pointer */
    RULE_EXACT, /* more registers than rsp and rbp are involved: ask libunwind step by step */
};

/* What an offset counts from. */
enum rule_base { RULE_CFA, RULE_RSP, RULE_RBP, RULE_UNCHANGED };

/* CFA (canonical frame address: the caller's rsp) = rsp or rbp + cfa_offset, or the word found
 * there if cfa_deref. The return address is stored at its base + offset; so is the caller's rbp,
 * unless RULE_UNCHANGED. after_signal: the "return address" is an interrupted instruction. */
struct frame_rule {
    uint64_t kind : 2;
    uint64_t cfa_base : 2; /* RULE_RSP or RULE_RBP */
    uint64_t cfa_deref : 1;
    uint64_t after_signal : 1;
    uint64_t return_base : 2;
    uint64_t rbp_base : 2;
    int64_t cfa_offset : 24;
    int64_t return_offset : 12;
    int64_t rbp_offset : 18;
};
_Static_assert(sizeof(struct frame_rule) == 8, "stored and compared as one word");

/* The rule for the instruction at `pc`; false if the cache does not have it. */
bool frame_rule_find(uintptr_t pc, struct frame_rule *rule);
/* The state of the cache as seen before working out a rule: pass it to frame_rule_add. */
uint64_t frame_rule_epoch(void);
void frame_rule_add(uintptr_t pc, struct frame_rule rule, uint64_t epoch);
/* Forgets everything: code may have been unmapped. */
void frame_rule_flush(void);

#endif
