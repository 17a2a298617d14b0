/* protected.h -- parts of the heap that the program made unreadable, or mapped something over.
 *
 * mprotect on a page of a block is not forbidden (guard pages of coroutine stacks in the heap). The
 * marker must not touch such pages; they are read through the kernel. Normally there are none.
 *
 * What is protected when a pass over the mappings begins is in its list. What the program protects
 * later is not: whoever is about to change a mapping of the heap forbids direct reads, and no
 * marker is within one when that returns. They stay forbidden until a pass that began after the
 * change has ended. Only blocks that can have a page to themselves are concerned: markers bracket
 * the reading of those of at least PAGE_SIZE.
 *
 *   .inv.bracket   A marker stores its `reading` flag, then loads `forbidden`; the other side
 *                  stores `forbidden`, then loads the flags; all sequentially consistent. So at
 *                  least one of them sees the other.
 *
 * Thread safety: the list belongs to the collector, and changes only while nobody marks. The rest
 * may be called by any thread. */
#ifndef GC_PROTECTED_H
#define GC_PROTECTED_H

#include "base/atomic.h"
#include "base/base.h"

/* A pass over the mappings begins, with an empty list; and has ended. */
void protected_pass_begin(void);
void protected_pass_end(void);
/* False: there are too many to remember. */
bool protected_add(uintptr_t start, uintptr_t end);
/* Is there any? */
bool protected_any(void);
/* Does any of them overlap [start, start + size)? */
bool protected_overlaps(uintptr_t start, size_t size);
void protected_forbid_direct_reads(void);

/* A marker's flag: 1 while it reads memory of the heap directly. At most 16, one thread at a time
 * adds them. Whoever begins a change afterwards waits for it; whoever has begun before has
 * forbidden what it stands for (.inv.bracket: all of this in one order). */
void protected_add_reader(_Atomic uint32_t *reading);
/* A mapping of the heap is about to change: from its return on markers read through the kernel.
 * Waits for those that are reading, ~10 us. */
void protected_change_begin(void);
/* It has changed, and the next pass will see it. */
void protected_change_end(void);
bool protected_direct_reads_forbidden(void);

#endif
