/* gc_inline.h -- lists of blocks at a time, each of one block here. */
#ifndef GC_INLINE_H
#define GC_INLINE_H

#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GC_GRANULE_BYTES 16
#define GC_GRANULE_WORDS 2
#define GC_TINY_FREELISTS 25
#define GC_RAW_BYTES_FROM_INDEX(i) ((i) * GC_GRANULE_BYTES)
extern void GC_generic_malloc_many(size_t size, int kind, void **result);
extern void *GC_malloc_kind(size_t size, int kind);
extern void *GC_malloc_kind_global(size_t size, int kind);

#ifdef __cplusplus
}
#endif

#endif
