/* cfi.h -- DWARF call frame information, read by libunwind.
 *
 * Thread safety: any thread, also in a signal handler; a second capture on the same thread while
 * libunwind runs answers RULE_GUESS or 0. No lock may be held that is taken inside malloc. */
#ifndef GC_CFI_H
#define GC_CFI_H

#include "watch/frame_rule.h"
#include "watch/peek.h"

/* Registers by their DWARF numbers on x86-64. */
enum { CFI_RBX = 3, CFI_RBP = 6, CFI_RSP = 7, CFI_R12 = 12, CFI_RIP = 16, CFI_REGISTERS = 17 };

struct cfi_registers {
    uintptr_t value[CFI_REGISTERS];
};

/* Works out the rule for the instruction at `pc`. *cacheable: the answer depends on loaded modules
 * only, so it holds until one is unloaded. Microseconds; see frame_rule.h for the cache. */
struct frame_rule cfi_rule(uintptr_t pc, bool *cacheable);
/* Walks outward from `from` with all registers. Stores return addresses beginning with `first`, and
 * returns how many. */
unsigned cfi_walk(const struct cfi_registers *from, struct peek *peek, uintptr_t first,
                  uintptr_t *pcs, unsigned max);

/* Around fork: no thread may be inside libunwind when the child's copy is made. */
void cfi_fork_prepare(void);
void cfi_fork_parent(void);
void cfi_fork_child(void);

#endif
