/* trace.h -- gctrace=1: a line per cycle in Go's format.
 *
 * gc N @T s P%: a+b+c ms clock, d+e/f/g+h ms cpu, s->e->l MB, G MB goal, K MB stacks, L MB globals,
 * C P. While marking happens with the world stopped, a is the time to stop, b (the concurrent part)
 * is 0, and c is the mark: a and c are the pause, as in Go.
 *
 * A line of its own tells what stands between leaks and their reclaim, whenever that has changed:
 * gcmalloc trust: probation P/N, C contradictions[, interlock: REASON]. */
#ifndef GC_TRACE_H
#define GC_TRACE_H

#include "cycle/cycle.h"

void trace_cycle(const struct cycle_record *record);

#endif
