/* clock.h -- monotonic time in nanoseconds. */
#ifndef GC_CLOCK_H
#define GC_CLOCK_H

#include "base/base.h"

uint64_t clock_now_ns(void);
/* From now on uptimes are counted. Once, at the start. */
void clock_start(void);
/* Since then; and when that was, since 1970. */
uint64_t clock_uptime_ns(void);
uint64_t clock_started_unix_ns(void);
/* To the last timer tick (1-10 ms), for a few nanoseconds a call. */
uint64_t clock_coarse_ns(void);

#endif
