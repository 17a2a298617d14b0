/* sweep.h -- who sweeps which slab, and when all are done.
 *
 * After a mark the collector opens a sweep over all slabs then in use. Mutators that need memory
 * take part (sweep on demand); whoever starts the next cycle finishes what is left.
 *
 * Thread safety: sweep_begin only while no sweep is open and by the collector; the rest any
 * thread that holds no CENTRAL or PAGE_HEAP lock. */
#ifndef GC_SWEEP_H
#define GC_SWEEP_H

#include "base/base.h"

/* Who sweeps a span of slots, or a large block, by the index of its head slab. Central and large
 * ask for sweeping, so they cannot be called by name from here. */
struct sweepers {
    void (*classed)(uint32_t head);
    void (*large)(uint32_t head);
};

void sweep_init(const struct sweepers *call);
/* World stopped. Opens the sweep of slabs [0, arena.top). The judge's terms are set. */
void sweep_begin(void);
/* Sweeps until about `slabs` slabs have come free, or all are swept. */
void sweep_for(uint32_t slabs);
/* Sweeps all that is left, and waits for other threads that are at it. */
void sweep_finish(void);
/* In the child of fork: nobody else is sweeping. True: somebody was. */
bool sweep_reset(void);

#endif
