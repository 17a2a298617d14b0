/* gc_mark.h -- kinds of blocks that a program defines for itself. No mark procedure is ever called,
 * and no descriptor read: such blocks are searched whole. So what one of them would not have marked
 * is kept alive. */
#ifndef GC_MARK_H
#define GC_MARK_H

#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GC_I_PTRFREE = 0, GC_I_NORMAL = 1 };
#define GC_LOG_MAX_MARK_PROCS 6
#define GC_MAX_MARK_PROCS (1 << GC_LOG_MAX_MARK_PROCS)
#define GC_DS_TAG_BITS 2
#define GC_DS_TAGS ((1 << GC_DS_TAG_BITS) - 1)
#define GC_DS_LENGTH 0
#define GC_DS_BITMAP 1
#define GC_DS_PROC 2
#define GC_DS_PER_OBJECT 3
#define GC_INDIR_PER_OBJ_BIAS 0x10
#define GC_MAKE_PROC(index, env) \
    ((((GC_word)(env) << GC_LOG_MAX_MARK_PROCS | (index)) << GC_DS_TAG_BITS) | GC_DS_PROC)

struct GC_ms_entry;
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *block, struct GC_ms_entry *top,
                                            struct GC_ms_entry *limit, GC_word env);
extern void *GC_least_plausible_heap_addr, *GC_greatest_plausible_heap_addr;
extern struct GC_ms_entry *GC_mark_and_push(void *block, struct GC_ms_entry *top,
                                            struct GC_ms_entry *limit, void **source);
#define GC_MARK_AND_PUSH(block, top, limit, source) \
    ((GC_word)(block) >= (GC_word)GC_least_plausible_heap_addr && \
             (GC_word)(block) <= (GC_word)GC_greatest_plausible_heap_addr \
         ? GC_mark_and_push(block, top, limit, source) \
         : (top))
extern void **GC_new_free_list(void);
extern void **GC_new_free_list_inner(void);
extern unsigned GC_new_kind(void **list, GC_word descriptor, int adjust, int clear);
extern unsigned GC_new_kind_inner(void **list, GC_word descriptor, int adjust, int clear);
extern unsigned GC_new_proc(GC_mark_proc proc);
extern unsigned GC_new_proc_inner(GC_mark_proc proc);
extern void *GC_generic_malloc(size_t size, int kind);
extern void *GC_generic_malloc_ignore_off_page(size_t size, int kind);
extern void *GC_generic_malloc_uncollectable(size_t size, int kind);
extern void *GC_generic_or_special_malloc(size_t size, int kind);
extern void *GC_debug_generic_or_special_malloc(size_t size, int kind, GC_EXTRA_PARAMS);
extern int GC_get_kind_and_size(const void *block, size_t *size);
extern void *GC_clear_stack(void *value);

/* 1: as far as is known. */
extern int GC_is_marked(const void *block);
extern void GC_clear_mark_bit(const void *block);
extern void GC_set_mark_bit(const void *block);
/* Roots are found without them: the procedure is kept, and not called. */
extern void GC_push_all(void *start, void *end);
extern void GC_push_all_eager(void *start, void *end);
extern void GC_push_conditional(void *start, void *end, int all);
extern void GC_push_finalizer_structures(void);
typedef void (*GC_push_other_roots_proc)(void);
extern GC_push_other_roots_proc GC_push_other_roots;
extern void GC_set_push_other_roots(GC_push_other_roots_proc proc);
extern GC_push_other_roots_proc GC_get_push_other_roots(void);

#ifdef __cplusplus
}
#endif

#endif
