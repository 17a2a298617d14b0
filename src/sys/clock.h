/* clock.h -- monotonic time in nanoseconds. */
#ifndef GC_CLOCK_H
#define GC_CLOCK_H

#include "base/base.h"

uint64_t clock_now_ns(void);
/* To the last timer tick (1-10 ms), for a few nanoseconds a call. */
uint64_t clock_coarse_ns(void);

#endif
