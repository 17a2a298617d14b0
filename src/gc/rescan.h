/* rescan.h -- the heap's part of a concurrent mark: arming it, and reading again what was written.
 *
 * Thread safety: the collector. */
#ifndef GC_RESCAN_H
#define GC_RESCAN_H

#include "gc/barrier.h"
#include "gc/mark.h"

/* After the sweep: from memory that is to be filled next, the back end's protection is taken away.
 * */
void rescan_relax(const struct barrier *barrier);
/* Arms the heap as it is now; returns up to where. Before the epoch advances: see .inv.armed_first.
 * */
uintptr_t rescan_arm(const struct barrier *barrier);
/* Arms the heap that was added since, and reads there, and wherever else the program wrote since it
 * was armed, what the marked blocks hold. `rearm`: the world runs; else it is stopped and nothing
 * is armed. Stops early when clock_now_ns() passes `deadline` (0: none). Returns the number of
 * pages read; *complete tells whether that were all. */
size_t rescan_heap(const struct barrier *barrier, struct marker *m, bool rearm, uint64_t deadline,
                   bool *complete);

#endif
