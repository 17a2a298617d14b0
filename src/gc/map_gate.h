/* map_gate.h -- the program's changes of its mappings, kept out for the moment in which one of them
 * is armed.
 *
 * Registering a part of a mapping splits it in two, and mremap moves one mapping at a time: a
 * program whose mapping changed between our look at it and its registration would see a call fail.
 * So the wrappers of mmap and its kin pass a gate, and the collector closes it, looks once more,
 * registers, and opens it.
 *
 * Thread safety: enter and leave by any thread; close and open by the collector. */
#ifndef GC_MAP_GATE_H
#define GC_MAP_GATE_H

#include "base/base.h"

/* Waits while the gate is closed: some microseconds. */
void map_gate_enter(void);
void map_gate_leave(void);
/* False, and open as before: a thread is inside and does not come out soon. */
bool map_gate_close(void);
void map_gate_open(void);
/* In the child of fork: nobody is inside. */
void map_gate_after_fork(void);

#endif
