/* shakedown.h -- what is said of a block that was judged, and then used (mode=shakedown).
 *
 * Thread safety: any thread; one text at a time. */
#ifndef GC_SHAKEDOWN_H
#define GC_SHAKEDOWN_H

#include "gc/withheld.h"

/* For withheld_start: prints both stacks, the block's allocation and the caller's own. */
void shakedown_touched(const struct block *block, const struct withheld_access *access);

#endif
