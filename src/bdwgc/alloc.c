/* alloc.c -- gc.h: memory.
 *
 *   .inv.zero     A block that may hold pointers is zeroed up to its usable size, by GC_malloc and
 *                 by GC_realloc: programs use all of GC_size(). */
#include "bdwgc/bdwgc.h"
#include "bdwgc/gc_inline.h"
#include "bdwgc/gc_mark.h"
#include "bdwgc/gc_typed.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <string.h>
#include <wchar.h>

/* The library's own kinds, as gc_mark.h numbers them; those behind are the program's. */
enum { KIND_LEAF, KIND_NORMAL, KIND_PINNED, KIND_PINNED_LEAF, KINDS_OWN };

/* Some block is uncollectable: realloc must ask. */
static atomic_bool any_pinned;
static atomic_uint kinds = KINDS_OWN, procedures = 1;

BDWGC_EXPORT void *GC_least_plausible_heap_addr = (void *)1;
BDWGC_EXPORT void *GC_greatest_plausible_heap_addr = (void *)UINTPTR_MAX;

static void *or_out_of_memory(void *block, size_t size)
{
    return block != NULL ? block : GC_oom_fn(size);
}

static void zero_from(void *block, size_t from)
{
    size_t usable = malloc_usable_size(block);
    if (from < usable)
        memset((char *)block + from, 0, usable - from);
}

static void *take_zeroed(size_t size)
{
    bdwgc_start();
    bdwgc_finalize_due();
    void *block = calloc(1, size);
    if (block != NULL)
        zero_from(block, size);
    return block;
}

static void *pinned(void *block)
{
    atomic_store_explicit(&any_pinned, true, memory_order_relaxed);
    if (block != NULL && gcmalloc_pin(block) != 0) {
        free(block);
        block = NULL;
    }
    return block;
}

static void *take_leaf(size_t size)
{
    bdwgc_start();
    bdwgc_finalize_due();
    return gcmalloc_alloc_leaf(size);
}

BDWGC_EXPORT void *GC_malloc(size_t size)
{
    return or_out_of_memory(take_zeroed(size), size);
}

BDWGC_EXPORT void *GC_malloc_atomic(size_t size)
{
    return or_out_of_memory(take_leaf(size), size);
}

BDWGC_EXPORT void *GC_malloc_uncollectable(size_t size)
{
    return or_out_of_memory(pinned(take_zeroed(size)), size);
}

BDWGC_EXPORT void *GC_malloc_atomic_uncollectable(size_t size)
{
    return or_out_of_memory(pinned(take_leaf(size)), size);
}

BDWGC_EXPORT void *GC_malloc_ignore_off_page(size_t size)
{
    return GC_malloc(size);
}

BDWGC_EXPORT void *GC_malloc_atomic_ignore_off_page(size_t size)
{
    return GC_malloc_atomic(size);
}

BDWGC_EXPORT void *GC_malloc_stubborn(size_t size)
{
    return GC_malloc(size);
}

BDWGC_EXPORT void *GC_malloc_many(size_t size)
{
    return GC_malloc(size < sizeof(void *) ? sizeof(void *) : size);
}

static char *copy_text(const char *text, size_t length)
{
    char *copy = GC_malloc_atomic(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

BDWGC_EXPORT char *GC_strdup(const char *text)
{
    return text == NULL ? NULL : copy_text(text, strlen(text));
}

BDWGC_EXPORT char *GC_strndup(const char *text, size_t most)
{
    return copy_text(text, strnlen(text, most));
}

BDWGC_EXPORT wchar_t *GC_wcsdup(const wchar_t *text);
BDWGC_EXPORT wchar_t *GC_wcsdup(const wchar_t *text)
{
    size_t size = (wcslen(text) + 1) * sizeof *text;
    wchar_t *copy = GC_malloc_atomic(size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

/* Alignments that are no power of two, or below that of malloc, as libc has it. */
BDWGC_EXPORT void *GC_memalign(size_t alignment, size_t size)
{
    bdwgc_start();
    bdwgc_finalize_due();
    void *block = memalign(alignment, size);
    if (block != NULL)
        zero_from(block, 0);
    return or_out_of_memory(block, size);
}

BDWGC_EXPORT int GC_posix_memalign(void **block, size_t alignment, size_t size)
{
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
        return EINVAL;
    void *taken = GC_memalign(alignment, size);
    if (taken == NULL)
        return ENOMEM;
    *block = taken;
    return 0;
}

BDWGC_EXPORT void GC_free(void *block)
{
    struct object *object = block == NULL ? NULL : bdwgc_object_of(block);
    free(block);
    if (object != NULL)
        bdwgc_object_ended(object);
}

/* The old block is not there any more, or is still the same. */
static void resized(const void *old, void *block, struct object *object, bool was_pinned)
{
    if (block != old && object != NULL)
        bdwgc_object_ended(object);
    if (was_pinned)
        gcmalloc_pin(block);
}

BDWGC_EXPORT void *GC_realloc(void *old, size_t size)
{
    if (old == NULL)
        return GC_malloc(size);
    if (size == 0) {
        GC_free(old);
        return NULL;
    }
    bdwgc_start();
    bdwgc_finalize_due();
    size_t usable = malloc_usable_size(old);
    struct object *object = bdwgc_object_of(old);
    bool was_pinned = atomic_load_explicit(&any_pinned, memory_order_relaxed) &&
                      gcmalloc_active() && gcmalloc_unpin(old) == 0;
    void *block = realloc(old, size);
    if (block == NULL) {
        if (was_pinned)
            gcmalloc_pin(old);
        return GC_oom_fn(size);
    }
    resized(old, block, object, was_pinned);
    zero_from(block, size < usable ? size : usable);
    return block;
}

/* ---- what an address is ---- */

BDWGC_EXPORT void *GC_base(void *address)
{
    return gcmalloc_block_of(address, NULL);
}

BDWGC_EXPORT int GC_is_heap_ptr(const void *address)
{
    return gcmalloc_block_of(address, NULL) != NULL;
}

BDWGC_EXPORT size_t GC_size(const void *block)
{
    return malloc_usable_size((void *)(uintptr_t)block);
}

BDWGC_EXPORT int GC_is_marked(const void *block)
{
    return GC_is_heap_ptr(block);
}

BDWGC_EXPORT void *GC_same_obj(void *p, void *q)
{
    (void)q;
    return p;
}

BDWGC_EXPORT void *GC_pre_incr(void **p, ptrdiff_t bytes)
{
    return *p = (char *)*p + bytes;
}

BDWGC_EXPORT void *GC_post_incr(void **p, ptrdiff_t bytes)
{
    void *old = *p;
    *p = (char *)old + bytes;
    return old;
}

BDWGC_EXPORT void *GC_is_visible(void *p)
{
    return p;
}

BDWGC_EXPORT void *GC_is_valid_displacement(void *p)
{
    return p;
}

BDWGC_EXPORT void GC_change_stubborn(const void *block)
{
    (void)block;
}

BDWGC_EXPORT void GC_end_stubborn_change(const void *block)
{
    (void)block;
}

BDWGC_EXPORT void GC_ptr_store_and_dirty(void *place, const void *value)
{
    *(const void **)place = value;
}

/* ---- as the macros of a program that was compiled with GC_DEBUG call them ---- */

#define DEBUG(type, name, parameters, call) \
    BDWGC_EXPORT type name parameters \
    { \
        (void)file; \
        (void)line; \
        return call; \
    }
DEBUG(void *, GC_debug_malloc, (size_t size, GC_EXTRA_PARAMS), GC_malloc(size))
DEBUG(void *, GC_debug_malloc_atomic, (size_t size, GC_EXTRA_PARAMS), GC_malloc_atomic(size))
DEBUG(void *, GC_debug_malloc_uncollectable, (size_t size, GC_EXTRA_PARAMS),
      GC_malloc_uncollectable(size))
DEBUG(void *, GC_debug_malloc_atomic_uncollectable, (size_t size, GC_EXTRA_PARAMS),
      GC_malloc_atomic_uncollectable(size))
DEBUG(void *, GC_debug_malloc_ignore_off_page, (size_t size, GC_EXTRA_PARAMS), GC_malloc(size))
DEBUG(void *, GC_debug_malloc_atomic_ignore_off_page, (size_t size, GC_EXTRA_PARAMS),
      GC_malloc_atomic(size))
DEBUG(char *, GC_debug_strdup, (const char *text, GC_EXTRA_PARAMS), GC_strdup(text))
DEBUG(char *, GC_debug_strndup, (const char *text, size_t most, GC_EXTRA_PARAMS),
      GC_strndup(text, most))
DEBUG(void *, GC_debug_realloc, (void *block, size_t size, GC_EXTRA_PARAMS),
      GC_realloc(block, size))
DEBUG(void *, GC_debug_generic_or_special_malloc, (size_t size, int kind, GC_EXTRA_PARAMS),
      GC_generic_malloc(size, kind))

BDWGC_EXPORT void GC_debug_free(void *block)
{
    GC_free(block);
}

BDWGC_EXPORT void *GC_debug_malloc_replacement(size_t size)
{
    return GC_malloc(size);
}

BDWGC_EXPORT void *GC_debug_realloc_replacement(void *block, size_t size)
{
    return GC_realloc(block, size);
}

/* ---- kinds and descriptors ---- */

BDWGC_EXPORT void *GC_generic_malloc(size_t size, int kind)
{
    switch (kind) {
    case KIND_LEAF:
        return GC_malloc_atomic(size);
    case KIND_PINNED:
        return GC_malloc_uncollectable(size);
    case KIND_PINNED_LEAF:
        return GC_malloc_atomic_uncollectable(size);
    default:
        return GC_malloc(size);
    }
}

BDWGC_EXPORT void *GC_generic_malloc_ignore_off_page(size_t size, int kind)
{
    return GC_generic_malloc(size, kind);
}

BDWGC_EXPORT void *GC_generic_malloc_uncollectable(size_t size, int kind)
{
    bool leaf = kind == KIND_LEAF || kind == KIND_PINNED_LEAF;
    return leaf ? GC_malloc_atomic_uncollectable(size) : GC_malloc_uncollectable(size);
}

BDWGC_EXPORT void *GC_generic_or_special_malloc(size_t size, int kind)
{
    return GC_generic_malloc(size, kind);
}

BDWGC_EXPORT void *GC_malloc_kind(size_t size, int kind)
{
    return GC_generic_malloc(size, kind);
}

BDWGC_EXPORT void *GC_malloc_kind_global(size_t size, int kind)
{
    return GC_generic_malloc(size, kind);
}

/* One block, the end of its list: of a leaf the first word is not zeroed. */
BDWGC_EXPORT void GC_generic_malloc_many(size_t size, int kind, void **result)
{
    *result = GC_generic_malloc(size < sizeof(void *) ? sizeof(void *) : size, kind);
    if (*result != NULL)
        GC_NEXT(*result) = NULL;
}

BDWGC_EXPORT int GC_get_kind_and_size(const void *block, size_t *size)
{
    if (size != NULL)
        *size = GC_size(block);
    return KIND_NORMAL;
}

BDWGC_EXPORT void **GC_new_free_list(void)
{
    return GC_malloc_uncollectable(GC_TINY_FREELISTS * sizeof(void *));
}

BDWGC_EXPORT void **GC_new_free_list_inner(void)
{
    return GC_new_free_list();
}

BDWGC_EXPORT unsigned GC_new_kind(void **list, GC_word descriptor, int adjust, int clear)
{
    (void)list;
    (void)descriptor;
    (void)adjust;
    (void)clear;
    return atomic_fetch_add(&kinds, 1);
}

BDWGC_EXPORT unsigned GC_new_kind_inner(void **list, GC_word descriptor, int adjust, int clear)
{
    return GC_new_kind(list, descriptor, adjust, clear);
}

BDWGC_EXPORT unsigned GC_new_proc(GC_mark_proc proc)
{
    (void)proc;
    return atomic_fetch_add(&procedures, 1);
}

BDWGC_EXPORT unsigned GC_new_proc_inner(GC_mark_proc proc)
{
    return GC_new_proc(proc);
}

BDWGC_EXPORT struct GC_ms_entry *GC_mark_and_push(void *block, struct GC_ms_entry *top,
                                                  struct GC_ms_entry *limit, void **source)
{
    (void)block;
    (void)limit;
    (void)source;
    return top;
}

/* 1: some word may be a pointer. */
BDWGC_EXPORT GC_descr GC_make_descriptor(const GC_word *map, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (GC_get_bit(map, i))
            return 1;
    return 0;
}

BDWGC_EXPORT void *GC_malloc_explicitly_typed(size_t size, GC_descr descriptor)
{
    if (descriptor != 0)
        return GC_malloc(size);
    void *block = GC_malloc_atomic(size);
    return block == NULL ? NULL : memset(block, 0, size);
}

BDWGC_EXPORT void *GC_malloc_explicitly_typed_ignore_off_page(size_t size, GC_descr descriptor)
{
    return GC_malloc_explicitly_typed(size, descriptor);
}

BDWGC_EXPORT void *GC_calloc_explicitly_typed(size_t count, size_t size, GC_descr descriptor)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return GC_oom_fn(SIZE_MAX);
    return GC_malloc_explicitly_typed(bytes, descriptor);
}
