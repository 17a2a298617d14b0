/* gc_typed.h -- blocks whose pointers are described. What has any is searched whole. */
#ifndef GC_TYPED_H
#define GC_TYPED_H

#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef GC_word *GC_bitmap;
typedef GC_word GC_descr;
#define GC_WORDSZ (8 * sizeof(GC_word))
#define GC_WORD_LEN(type) (sizeof(type) / sizeof(GC_word))
#define GC_WORD_OFFSET(type, field) (offsetof(type, field) / sizeof(GC_word))
#define GC_get_bit(map, i) (((map)[(i) / GC_WORDSZ] >> ((i) % GC_WORDSZ)) & 1)
#define GC_set_bit(map, i) ((map)[(i) / GC_WORDSZ] |= (GC_word)1 << ((i) % GC_WORDSZ))
#define GC_BITMAP_SIZE(type) ((GC_WORD_LEN(type) + GC_WORDSZ - 1) / GC_WORDSZ)
/* 0: no pointers. */
extern GC_descr GC_make_descriptor(const GC_word *map, size_t words);
extern void *GC_malloc_explicitly_typed(size_t size, GC_descr descriptor);
extern void *GC_malloc_explicitly_typed_ignore_off_page(size_t size, GC_descr descriptor);
extern void *GC_calloc_explicitly_typed(size_t count, size_t size, GC_descr descriptor);
#define GC_MALLOC_EXPLICITLY_TYPED(size, d) GC_malloc_explicitly_typed(size, d)
#define GC_CALLOC_EXPLICITLY_TYPED(n, size, d) GC_calloc_explicitly_typed(n, size, d)

#ifdef __cplusplus
}
#endif

#endif
