/* stats.h -- the figures of totals.h, of this moment.
 *
 * Thread safety: any thread that holds no lock below CYCLE. Figures of one moment each; they are
 * not taken together. */
#ifndef GC_STATS_H
#define GC_STATS_H

#include "watch/totals.h"

/* `resident` as mem_resident gives it, or 0. Stops nothing, takes the page heap's lock for an
 * instant; some 0.3 us. */
void stats_read(struct totals *out, uint64_t resident);

#endif
