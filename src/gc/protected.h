/* protected.h -- parts of the heap that the program made unreadable, or mapped something over.
 *
 * mprotect on a page of a block is not forbidden (guard pages of coroutine stacks in the heap). The
 * marker must not touch such pages; they are read through the kernel. Normally there are none.
 *
 * Thread safety: the collector, with the world stopped. */
#ifndef GC_PROTECTED_H
#define GC_PROTECTED_H

#include "base/base.h"

void protected_reset(void);
/* False: there are too many to remember. */
bool protected_add(uintptr_t start, uintptr_t end);
/* Does any of them overlap [start, start + size)? */
bool protected_overlaps(uintptr_t start, size_t size);
void protected_forbid_direct_reads(void);

#endif
