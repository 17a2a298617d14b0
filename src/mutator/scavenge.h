/* scavenge.h -- free blocks in the caches of threads that do not use them.
 *
 * Thread safety: the collector's thread, under the REGISTRY lock but for scavenge_give. */
#ifndef GC_SCAVENGE_H
#define GC_SCAVENGE_H

#include "base/base.h"

/* Has anything lain in magazines since the last look, without one block taken or given, that is
 * worth a stop? Beside the program: a guess. */
bool scavenge_look(void);
/* World stopped: takes these blocks out. False: there were none. */
bool scavenge_take(void);
/* Beside the program, no lock held: to central. */
void scavenge_give(void);

#endif
