/* guard.h -- blocks that are chosen at random, each on a page between two inaccessible ones.
 *
 * guard=N, after GWP-ASan: what runs over a block's end, or uses it after it was freed, faults at
 * the very instruction.
 *
 * Thread safety: any thread, also in signal handlers and in fork's child; guard_start before there
 * are others. No lock. */
#ifndef GC_GUARD_H
#define GC_GUARD_H

#include "base/base.h"

enum guard_what {
    GUARD_NOTHING,
    GUARD_USE_AFTER_FREE,
    GUARD_OVERFLOW,
    GUARD_UNDERFLOW,
    GUARD_DOUBLE_FREE,
    GUARD_WILD_FREE, /* not of the block's beginning */
};

/* Who did it, and where: a number of stack_table.h, or 0. */
struct guard_trace {
    int32_t tid;     /* 0: nobody yet */
    uint32_t stack;
};

struct guard_error {
    enum guard_what what;
    uintptr_t address;    /* that was used, or freed */
    uintptr_t pc;         /* of the instruction that faulted; 0: a call */
    uintptr_t start;      /* of the block, */
    size_t size;          /* as the program asked for it */
    struct guard_trace allocated, freed;
};

/* Told of each error, on the thread that makes it; in a handler of SIGSEGV, if it is a fault. */
typedef void guard_report_fn(const struct guard_error *error);

/* Makes the pool. False: no memory, or there is one. */
bool guard_start(guard_report_fn *report);
bool guard_on(void);
/* [*start, *end) is the pool, whose protections only this module changes. Empty without one. */
void guard_pool(uintptr_t *start, uintptr_t *end);
/* What is in use of slot `i`: empty, or a block. False: there are not so many. */
bool guard_slot(unsigned i, uintptr_t *start, uintptr_t *end);
bool guard_owns(const void *p);
/* A guess: guard_take has a slot. */
bool guard_has_room(void);
/* A block of `size` bytes, which read as zeros, at a multiple of `alignment`, a power of two; both
 * are a page at most. NULL: the pool is full, or the kernel refuses. `random`: on which side of the
 * page. */
void *guard_take(size_t size, size_t alignment, uint32_t stack, uint64_t random);
/* Frees it. Else what is wrong, with all that is known of the block. guard_owns(p). */
enum guard_what guard_free(void *p, uint32_t stack, struct guard_error *error);
/* The block is used in a call: what is wrong, and what is known of it, in any case. The same. */
enum guard_what guard_look(const void *p, struct guard_error *error);
void guard_tell(const struct guard_error *error);
/* For handler_watch: tells of the fault, if it is one of the pool's. Once for each block. */
void guard_on_fault(const void *context);
/* In the child of fork: nobody is half-way. */
void guard_after_fork(void);

#endif
