/* heap.h -- the plain allocator underneath: set-up, fork, and giving memory back. */
#ifndef GC_HEAP_H
#define GC_HEAP_H

#include "base/base.h"

/* Reserves an arena of up to `most` bytes; `past_end`: see .inv.past_end in meta.h. False: there
 * is none; nothing else may be called. */
bool heap_init(size_t most, bool past_end);
/* Around fork: all locks of this floor but META's, so that the child's heap is consistent. */
void heap_lock_all(void);
void heap_unlock_all(void);
/* In the child: the locks are this thread's, whoever held them. */
void heap_unlock_all_in_child(void);
/* Gives free memory back to the kernel; returns the bytes. */
size_t heap_trim(void);

#endif
