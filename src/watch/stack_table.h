/* stack_table.h -- every distinct stack once, by a small number.
 *
 * Thread safety: lock-free, any thread, also in signal handlers and in fork's child. */
#ifndef GC_STACK_TABLE_H
#define GC_STACK_TABLE_H

#include "base/base.h"

enum {
    /* Frames kept of an allocation's stack. 32 reach main in most C programs; every frame more is
     * 10 ns a capture, and 8 bytes for each stack that shares it with no other. */
    STACK_DEPTH = 32,
    STACK_DEPTH_MAX = 64,
};

/* What was ever allocated with a stack, and what of it was freed or reclaimed: estimates, in
 * SAMPLER_PARTS of a block and of a byte. */
struct stack_account {
    _Atomic uint64_t allocated_blocks, allocated_bytes, freed_blocks, freed_bytes;
    /* The census's (census.h), counted one by one; and what those stand for, as above. */
    uint64_t reached_blocks, reached_bytes, reached_parts, reached_byte_parts;
};

struct stack_table_stats {
    uint64_t stacks, bytes; /* interned, and the memory they take */
    uint64_t dropped;       /* captures that got 0 because the table was full or memory short */
};

/* The number of this stack: the same for the same return addresses in the same modules
 * (modules_tenants), never reused; 0 = none (depth 0, table full, or no memory). At most
 * STACK_DEPTH_MAX addresses count. */
uint32_t stack_table_intern(const uintptr_t *pcs, unsigned depth, uint32_t tenants);
/* The addresses of a stack, innermost first. Returns how many: 0 for 0. Only numbers that were
 * given out may be asked, here and below. */
unsigned stack_table_get(uint32_t stack, uintptr_t pcs[STACK_DEPTH_MAX]);

/* How a stack is kept: `count` inner frames of its own, which stay where they are for ever, and the
 * `kept` outermost ones of the stack `parent`, which has a smaller number; kept 0: of none. */
struct stack_own {
    const uintptr_t *pcs;
    unsigned count;
    uint32_t parent;
    unsigned kept;
};
/* Returns the depth of the whole stack: 0 for 0, and then nothing is stored. */
unsigned stack_table_own(uint32_t stack, struct stack_own *own);
/* Was this number given out? For one that may be anything. */
bool stack_table_has(uint32_t stack);
struct stack_account *stack_table_account(uint32_t stack);
/* When it was first interned, ns since the start. */
uint64_t stack_table_time(uint32_t stack);
/* Calls visit for every stack there is when it begins; each one's parent is among them. */
void stack_table_each(void (*visit)(uint32_t stack, void *data), void *data);
struct stack_table_stats stack_table_stats(void);

#endif
