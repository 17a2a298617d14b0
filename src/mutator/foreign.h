/* foreign.h -- blocks that another allocator made.
 *
 * libc's own malloc serves ld.so's and RTLD_DEEPBIND plugins' blocks, and ours when there is no
 * arena or it is full. Its entry points (__libc_malloc …) are versioned exports of glibc, bound
 * by the linker, so nothing is looked up at run time. */
#ifndef GC_FOREIGN_H
#define GC_FOREIGN_H

#include "base/base.h"

enum foreign_origin {
    FOREIGN_LIBC,      /* as far as can be told, a block of libc's malloc */
    FOREIGN_LOADER,    /* in ld.so's own data: a block from before relocation, never freed */
    FOREIGN_MISALIGNED,
    FOREIGN_STATIC,    /* in the data or text of a loaded object */
    FOREIGN_STACK,     /* on the calling thread's stack */
};

/* Where an address outside of the arena comes from. `stack_hint`: an address near the base of
 * the caller's stack, or 0. */
enum foreign_origin foreign_origin(const void *p, uintptr_t stack_hint);
/* "is on the stack" … */
const char *foreign_origin_text(enum foreign_origin origin);

/* A second thread is about to be made: from here on any of them may call libc's malloc. */
void foreign_prepare(void);
void *foreign_malloc(size_t size);
void *foreign_calloc(size_t size);
void *foreign_realloc(void *p, size_t size);
void *foreign_memalign(size_t alignment, size_t size);
void foreign_free(void *p);
size_t foreign_usable_size(const void *p);
/* Blocks that foreign_malloc and its kin had to serve: none where there is an arena with room. */
uint64_t foreign_served(void);

#endif
