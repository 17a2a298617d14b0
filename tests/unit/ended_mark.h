/* ended_mark.h -- the heap as a mark leaves it, for tests that sweep without one. */
#ifndef UNIT_ENDED_MARK_H
#define UNIT_ENDED_MARK_H

#include "heap/judge.h"
#include "heap/slab.h"

/* A mark of this epoch has ended: what carries another one was not reached. */
static inline void mark_ended(uint8_t epoch)
{
    relaxed_store(&hot.epoch, epoch);
    release_store(&judge.epoch, epoch);
}

/* The terms for the sweep after the present epoch's mark. */
static inline void set_terms(bool reclaim, unsigned confirm)
{
    judge = (struct judge){.epoch = relaxed_load(&hot.epoch),
                           .reclaim = reclaim,
                           .confirm = confirm,
                           .least = EPOCH_FIRST};
}

#endif
