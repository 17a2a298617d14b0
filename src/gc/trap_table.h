/* trap_table.h -- what each system call writes to the caller's memory.
 *
 * Thread safety: the table is constant; trap_keep_outputs may run on any task, in a handler. */
#ifndef GC_TRAP_TABLE_H
#define GC_TRAP_TABLE_H

#include "base/base.h"

enum trap_kind {
    TRAP_UNKNOWN,     /* what it writes is not known here */
    TRAP_OUTPUTS,     /* what the table says, perhaps nothing */
    TRAP_NESTED,      /* through pointers in memory (readv), or as its arguments say */
    TRAP_MASK,        /* takes a signal mask for its duration, besides what the table says */
    TRAP_MAPPING,     /* changes mappings */
    TRAP_SIGACTION,
    TRAP_SIGPROCMASK,
    TRAP_SIGALTSTACK,
    TRAP_SIGRETURN,
    TRAP_CLONE,
    TRAP_EXEC,
    TRAP_EXIT,
};

enum trap_kind trap_kind(uint64_t number);
/* Keeps open (shield.h) all that the call may write. False: that is not known. */
bool trap_keep_outputs(uint64_t number, const uint64_t args[6]);
/* The address of the mask that a TRAP_MASK call takes; 0: none. */
uintptr_t trap_mask_of(uint64_t number, const uint64_t args[6]);

/* The program's memory, which need not be there. False: it is not, in whole or in part. */
bool trap_peek(void *to, uintptr_t from, size_t size);
bool trap_poke(uintptr_t to, const void *from, size_t size);

#endif
