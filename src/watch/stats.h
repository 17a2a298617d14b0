/* stats.h -- the figures of totals.h, of this moment.
 *
 * Thread safety: any thread that holds no lock below CYCLE. Figures of one moment each; they are
 * not taken together. */
#ifndef GC_STATS_H
#define GC_STATS_H

#include "mutator/tally.h"
#include "watch/totals.h"

/* `resident` as mem_resident gives it, or 0. Stops nothing, takes the locks of page heap, registry
 * and history for an instant each; as long as tally_read. */
void stats_read(struct totals *out, uint64_t resident);
/* The same for the program, and what it was made of. */
void stats_read_all(struct totals *out, struct tally *tally);

#endif
