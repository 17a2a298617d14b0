/* protected.h -- parts of the heap that the program made unreadable, or mapped something over.
 *
 * mprotect on a page of a block is not forbidden (guard pages of coroutine stacks in the heap). The
 * marker must not touch such pages; they are read through the kernel. Normally there are none.
 *
 * What is protected when the marking begins is in a list. What the program protects while markers
 * run is not: whoever is about to change protections forbids direct reads until the end of the
 * call, and no marker is within one when that returns. Only blocks that can have a page to
 * themselves are concerned: markers bracket the reading of those of at least PAGE_SIZE.
 *
 *   .inv.bracket   A marker stores its `reading` flag, then loads `careful`; the other side stores
 *                  `careful`, then loads the flags; all sequentially consistent. So at least one of
 *                  them sees the other.
 *
 * Thread safety: the list belongs to the collector, and changes only with the world stopped. The
 * rest may be called by any thread. */
#ifndef GC_PROTECTED_H
#define GC_PROTECTED_H

#include "base/atomic.h"
#include "base/base.h"

void protected_reset(void);
/* False: there are too many to remember. */
bool protected_add(uintptr_t start, uintptr_t end);
/* Is there any? */
bool protected_any(void);
/* Does any of them overlap [start, start + size)? */
bool protected_overlaps(uintptr_t start, size_t size);

/* A marker's flag: 1 while it reads memory of the heap directly. At most 16; before any thread. */
void protected_add_reader(_Atomic uint32_t *reading);
/* From its return until protected_allow_direct_reads() markers read through the kernel. Waits for
 * those that are reading, ~10 us. Nests. */
void protected_forbid_direct_reads(void);
void protected_allow_direct_reads(void);
bool protected_direct_reads_forbidden(void);

#endif
