/* armed.h -- which root memory has been armed, and read, in this cycle.
 *
 * A concurrent pass over the mappings looks ranges up in the list that the pass before it made, and
 * makes the next one, in address order; what is mapped no more is not in it.
 *
 * Thread safety: the collector. */
#ifndef GC_ARMED_H
#define GC_ARMED_H

#include "base/base.h"

/* Gets memory for the lists, once. False: there is none. */
bool armed_init(void);
/* A cycle begins: nothing is armed. */
void armed_clear(void);
/* [start, end) is armed, and has been read or is about to be. Ascending order. What does not fit
 * into the list is forgotten, and will be read whole. */
void armed_add(uintptr_t start, uintptr_t end);
/* The pass is over: what was added is what armed_part knows. */
void armed_turn(void);
/* Is the beginning of [start, end) armed? *to: up to where that answer holds. */
bool armed_part(uintptr_t start, uintptr_t end, uintptr_t *to);

#endif
