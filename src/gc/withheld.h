/* withheld.h -- blocks that were judged, made inaccessible instead of being reclaimed.
 *
 * mode=shakedown: whoever touches one proves that the collector was wrong; the block is given back,
 * and the program goes on.
 *
 * Thread safety: any thread; withheld_start before there are others. */
#ifndef GC_WITHHELD_H
#define GC_WITHHELD_H

#include "base/base.h"
#include "heap/slab.h"

#include <signal.h>

enum withheld_touch { TOUCH_READ, TOUCH_WRITE, TOUCH_FREE, TOUCH_CALL };

struct withheld_access {
    enum withheld_touch how;
    uintptr_t address;
    uintptr_t pc;      /* of the instruction that faulted; 0: a call */
};
/* Told of each block that was touched, when it is accessible again: on the thread that did it, in a
 * handler of SIGSEGV unless it was by a call. */
typedef void withheld_touched_fn(const struct block *block, const struct withheld_access *access);
/* Takes over SIGSEGV, until the program turns out to have faults of its own. */
void withheld_start(withheld_touched_fn *touched);
/* Is SIGSEGV ours? */
bool withheld_on(void);
/* While it is: what the program sets for it, and finds there. Either may be NULL. */
struct signal_action;
void withheld_swap_action(const struct signal_action *set, struct signal_action *old);
/* The block is judged. Makes it inaccessible, if its pages are its own. */
void withheld_add(const struct block *block);
/* The program frees it, or resizes it. */
void withheld_free(const struct block *block);
/* The program is about to pass this address to the kernel. */
void withheld_argument(uintptr_t address);
/* A mark has ended: those that it has reached are accessible again. Before it is over for the
 * program. */
void withheld_mark_ended(void);
/* In the child of fork. */
void withheld_after_fork(void);
/* All are accessible again, for good. */
void withheld_end(void);
struct withheld_counts {
    uint64_t blocks, touched;
};
struct withheld_counts withheld_counts(void);

#endif
