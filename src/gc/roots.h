/* roots.h -- everything outside of the heap that the program has written.
 *
 * Thread safety: the collector, with the world stopped. */
#ifndef GC_ROOTS_H
#define GC_ROOTS_H

#include "base/base.h"
#include "gc/mark.h"

/* The part of its own stack that the collecting thread still needs: from `low` upward. */
struct own_stack {
    int32_t tid;
    uintptr_t low;
};

struct roots_stats {
    uint64_t stack_bytes, other_bytes;  /* scanned */
};

/* Gets the buffers; before the world is stopped. NULL, or why not: a static text. */
const char *roots_prepare(void);
/* Opens the files pagemap and mem of /proc. With the world stopped, so that the program never meets
 * our descriptors. NULL, or the reason why roots cannot be read: a static text. */
const char *roots_open(void);
void roots_close(void);
/* The pagemap in use between open and close. */
struct pagemap *roots_pagemap(void);
/* [start, end) holds no pointers of the program: the library's own static data. */
void roots_exclude(uintptr_t start, uintptr_t end);
/* Marks from every root. NULL, or the reason why that was not possible. */
const char *roots_scan(struct marker *m, const struct own_stack *self, struct roots_stats *stats);

#endif
