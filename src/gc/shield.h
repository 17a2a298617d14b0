/* shield.h -- pages made read-only, so that the first write to each is noticed.
 *
 * The unit is 64 KiB; a unit is shielded as a whole or not at all. See shield.c for its states.
 *
 * Thread safety: everything may run on any task, also in a signal handler that blocks all signals,
 * and without thread-local storage; _locked: between shield_lock and shield_unlock. */
#ifndef GC_SHIELD_H
#define GC_SHIELD_H

#include "base/base.h"
#include "sys/pagemap.h"

enum { SHIELD_UNIT_SHIFT = 16, SHIELD_UNIT = 1 << SHIELD_UNIT_SHIFT };

/* Gets the tables, once. NULL, or why there are none: a static text. */
const char *shield_open(void);
/* A phase begins, with nothing shielded. NULL, or why it cannot. With the world stopped. */
const char *shield_begin(void);
/* Shields the whole units of [start, end). False: the range is not private, plain, writable memory,
 * has no whole unit, or the shield is broken; then nothing was shielded. */
bool shield_arm(uintptr_t start, uintptr_t end);
/* Calls visit for all of [start, end) but its shielded units; see barrier.take. */
void shield_take(uintptr_t start, uintptr_t end, bool rearm, pagemap_visit_fn *visit, void *data);
/* A write to `address` was refused. True: because of the shield; the unit is open now, and the
 * write may be tried again. `stack_pointer` is where the task runs. */
bool shield_fault(uintptr_t address, uintptr_t stack_pointer);
/* [start, start + length) may be written, unseen, at any time until the phase ends, by the kernel:
 * it is opened, and stays open. */
void shield_keep_open(uintptr_t start, uintptr_t length);
/* The stack that is used at this stack pointer, and what a signal frame needs below it. */
void shield_keep_stack(uintptr_t stack_pointer);
/* Opens everything; until the phase ends nothing is shielded any more. */
void shield_break(void);
bool shield_broken(void);
/* Opens everything, beside the program, so that shield_end has nothing left to do. The
 * collector. */
void shield_release(void);
/* Opens everything: the phase ends, with the world stopped; or is a fork's child's inheritance. */
void shield_end(void);
void shield_after_fork(void);
/* All counts as written, and is writable. The lock is held. */
void shield_before_fork_locked(void);

/* For system calls that change mappings: they are made between these two, so that no arm() comes in
 * between; what they change is kept open first. */
void shield_lock(void);
void shield_unlock(void);
void shield_remap_locked(uintptr_t start, uintptr_t length);

/* Boundaries between shielded and open memory now: about so many mappings are split. For tests. */
uint32_t shield_edges(void);

#endif
