/* kernel_roots.h -- references that only the kernel holds: what epoll and timers give back.
 *
 * Thread safety: _shade: any thread. The others: the collector. */
#ifndef GC_KERNEL_ROOTS_H
#define GC_KERNEL_ROOTS_H

#include "gc/mark.h"

enum kernel_roots_kind { KERNEL_ROOTS_EPOLL = 1, KERNEL_ROOTS_TIMERS = 2 };

/* The program has just given `word` to the kernel, in something of that kind; the word still lies
 * where the program had it. */
void kernel_roots_shade(enum kernel_roots_kind kind, uintptr_t word);
/* Marks from what the kernel holds: first in a mark, from all of it; after that, until _end, from
 * what it was given since. `task` is one of the program's, with its descriptors; 0: the caller is.
 * NULL, or why the kernel does not tell: a static text. */
const char *kernel_roots_scan(struct marker *m, int32_t task);
/* The mark has ended. */
void kernel_roots_end(void);

#endif
