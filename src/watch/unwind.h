/* unwind.h -- the calling thread's stack, as return addresses.
 *
 * Thread safety: any thread, at any time, also in signal handlers and inside malloc; only, no lock
 * of the heap may be held. Never blocks on the program, never allocates, never faults. */
#ifndef GC_UNWIND_H
#define GC_UNWIND_H

#include "base/base.h"

enum { UNWIND_MAX = 64 };

/* Return addresses in [own_low, own_high), our own code, are dropped from the inner end. */
void unwind_init(uintptr_t own_low, uintptr_t own_high);
/* Stores up to `max` (at most UNWIND_MAX) return addresses, innermost first; returns how many. The
 * first is the address that this function's caller returns to, if it is not our own. Frames that a
 * signal interrupted appear with the address of the interrupted instruction, plus one. */
unsigned unwind_capture(uintptr_t *pcs, unsigned max);
/* After dlclose: forgets how code was unwound that may be gone. */
void unwind_flush(void);
/* Optional, makes captures on this thread faster: its stack is [low, high). */
void unwind_set_stack(uintptr_t low, uintptr_t high);
/* Around fork, innermost of all locks. */
void unwind_fork_prepare(void);
void unwind_fork_parent(void);
void unwind_fork_child(void);

#endif
