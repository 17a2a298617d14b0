/* gc.h -- the interface of Boehm's collector (bdwgc 8.2), on libgcmalloc.
 *
 * For programs that were written for that collector: the same names, with the meaning that its
 * documentation gives them. They link with the libgc.so.1 beside (pkg-config gcmalloc-bdwgc), and
 * run under the library; without it they run, and nothing is ever collected.
 *
 * Everything that malloc returns is collected, not only what comes from here, and everything that
 * the program can write is searched; pointers into the middle count. What differs:
 *
 *   - Nothing is reclaimed, no finalizer called and no link cleared in probation, nor before a
 *     block was unreachable in `confirm` cycles: GC_gcollect runs as many. With
 *     GCMALLOC=probation=0,confirm=1 it is as prompt as Boehm's collector.
 *   - Finalizers are called as there: by the thread that allocates, collects, or invokes them; by
 *     GC_free, plain malloc, or a thread of the library's never.
 *   - A link (disappearing link) is cleared by such a thread, or by who takes the allocator lock,
 *     before the block is reclaimed: who reads links under that lock sees them cleared in time.
 *     A block that only blocks with finalizers hold keeps its links till those have gone; so a link
 *     does not break a ring of finalizers (GC_register_finalizer_no_order does). GC_realloc takes
 *     links and finalizers off a block that moves.
 *   - Mark procedures and descriptors are not asked: what has any pointers is searched whole.
 *   - GC_base and GC_is_heap_ptr know all of malloc's blocks. Bad arguments abort nothing.
 *   - No leak report is written at the end, unless GC_set_find_leak(1) before the start, or
 *     GC_FIND_LEAK in the environment, or GCMALLOC, asks for one.
 *
 * Without meaning, and harmless: what has to do with incremental collection, marker threads,
 * signals, stack bottoms, displacements, data segments of libraries, retries and time limits.
 * Setters of those keep the value for the getter. Not there: toggle references, gcj, disclaim,
 * backtraces. */
#ifndef GC_H
#define GC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GC_VERSION_MAJOR 8
#define GC_VERSION_MINOR 2
#define GC_VERSION_MICRO 2
#define GC_TMP_VERSION_MAJOR GC_VERSION_MAJOR
#define GC_TMP_VERSION_MINOR GC_VERSION_MINOR

#if defined(GC_LINUX_THREADS) && !defined(GC_THREADS)
#define GC_THREADS 1
#endif
#ifdef GC_THREADS
#undef GC_PTHREADS
#define GC_PTHREADS 1
#endif

#define GC_API extern
#define GC_CALL
#define GC_CALLBACK
#define GC_ATTR_MALLOC __attribute__((__malloc__))
#define GC_ATTR_ALLOC_SIZE(n) __attribute__((__alloc_size__(n)))
#define GC_ATTR_NONNULL(n)
#define GC_ATTR_DEPRECATED

typedef void *GC_PTR;
typedef unsigned long GC_word;
typedef long GC_signed_word;

GC_API unsigned GC_get_version(void);

/* ---- start ---- */

#ifdef GC_MAXIMUM_HEAP_SIZE
#define GC_INIT_LIMIT GC_set_max_heap_size(GC_MAXIMUM_HEAP_SIZE)
#else
#define GC_INIT_LIMIT (void)0
#endif
#ifdef GC_FREE_SPACE_DIVISOR
#define GC_INIT_DIVISOR GC_set_free_space_divisor(GC_FREE_SPACE_DIVISOR)
#else
#define GC_INIT_DIVISOR (void)0
#endif
#ifdef GC_DONT_GC
#define GC_INIT_DONT GC_disable()
#else
#define GC_INIT_DONT (void)0
#endif
#define GC_INIT() \
    { \
        GC_init(); \
        GC_INIT_LIMIT; \
        GC_INIT_DIVISOR; \
        GC_INIT_DONT; \
    }
GC_API void GC_init(void);
GC_API int GC_is_init_called(void);
GC_API void GC_deinit(void);

/* ---- memory ---- */

/* Zeroed, all of GC_size(). When there is none, what the function of GC_set_oom_fn returns. */
GC_API void *GC_malloc(size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
/* No pointer is looked for in it; not zeroed. */
GC_API void *GC_malloc_atomic(size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
/* Reachable until GC_free. */
GC_API void *GC_malloc_uncollectable(size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_atomic_uncollectable(size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
/* Pointers into the middle keep the block all the same. */
GC_API void *GC_malloc_ignore_off_page(size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_atomic_ignore_off_page(size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
GC_API void *GC_malloc_stubborn(size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1);
/* A list of one block; its first word is its GC_NEXT. */
GC_API void *GC_malloc_many(size_t size);
#define GC_NEXT(p) (*(void **)(p))
GC_API char *GC_strdup(const char *text) GC_ATTR_MALLOC;
GC_API char *GC_strndup(const char *text, size_t most) GC_ATTR_MALLOC;
#ifdef GC_REQUIRE_WCSDUP
GC_API wchar_t *GC_wcsdup(const wchar_t *text) GC_ATTR_MALLOC;
#endif
GC_API void *GC_memalign(size_t alignment, size_t size) GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(2);
GC_API int GC_posix_memalign(void **block, size_t alignment, size_t size);
/* Of the same kind as the old block. What is new is zeroed. 0 bytes: GC_free, and NULL. */
GC_API void *GC_realloc(void *block, size_t size) GC_ATTR_ALLOC_SIZE(2);
GC_API void GC_free(void *block);

GC_API void *GC_base(void *address);
GC_API int GC_is_heap_ptr(const void *address);
GC_API size_t GC_size(const void *block);
GC_API void *GC_same_obj(void *p, void *q);
GC_API void *GC_pre_incr(void **p, ptrdiff_t bytes);
GC_API void *GC_post_incr(void **p, ptrdiff_t bytes);
GC_API void *GC_is_visible(void *p);
GC_API void *GC_is_valid_displacement(void *p);

/* Where a program is compiled with GC_DEBUG these are called; the place is not noted. */
#define GC_EXTRAS __FILE__, __LINE__
#define GC_EXTRA_PARAMS const char *file, int line
GC_API void *GC_debug_malloc(size_t size, GC_EXTRA_PARAMS);
GC_API void *GC_debug_malloc_atomic(size_t size, GC_EXTRA_PARAMS);
GC_API void *GC_debug_malloc_uncollectable(size_t size, GC_EXTRA_PARAMS);
GC_API void *GC_debug_malloc_atomic_uncollectable(size_t size, GC_EXTRA_PARAMS);
GC_API void *GC_debug_malloc_ignore_off_page(size_t size, GC_EXTRA_PARAMS);
GC_API void *GC_debug_malloc_atomic_ignore_off_page(size_t size, GC_EXTRA_PARAMS);
GC_API char *GC_debug_strdup(const char *text, GC_EXTRA_PARAMS);
GC_API char *GC_debug_strndup(const char *text, size_t most, GC_EXTRA_PARAMS);
GC_API void *GC_debug_realloc(void *block, size_t size, GC_EXTRA_PARAMS);
GC_API void GC_debug_free(void *block);
GC_API void *GC_debug_malloc_replacement(size_t size);
GC_API void *GC_debug_realloc_replacement(void *block, size_t size);

#define GC_MALLOC(size) GC_malloc(size)
#define GC_REALLOC(block, size) GC_realloc(block, size)
#define GC_MALLOC_ATOMIC(size) GC_malloc_atomic(size)
#define GC_STRDUP(text) GC_strdup(text)
#define GC_STRNDUP(text, most) GC_strndup(text, most)
#define GC_WCSDUP(text) GC_wcsdup(text)
#define GC_MALLOC_UNCOLLECTABLE(size) GC_malloc_uncollectable(size)
#define GC_MALLOC_ATOMIC_UNCOLLECTABLE(size) GC_malloc_atomic_uncollectable(size)
#define GC_MALLOC_IGNORE_OFF_PAGE(size) GC_malloc_ignore_off_page(size)
#define GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(size) GC_malloc_atomic_ignore_off_page(size)
#define GC_MALLOC_STUBBORN(size) GC_malloc(size)
#define GC_FREE(block) GC_free(block)
#define GC_NEW(type) ((type *)GC_MALLOC(sizeof(type)))
#define GC_NEW_ATOMIC(type) ((type *)GC_MALLOC_ATOMIC(sizeof(type)))
#define GC_NEW_UNCOLLECTABLE(type) ((type *)GC_MALLOC_UNCOLLECTABLE(sizeof(type)))
#define GC_NEW_STUBBORN(type) GC_NEW(type)

/* Nothing has to be said about writes. */
GC_API void GC_change_stubborn(const void *block);
GC_API void GC_end_stubborn_change(const void *block);
GC_API void GC_ptr_store_and_dirty(void *place, const void *value);
#define GC_CHANGE_STUBBORN(p) GC_change_stubborn(p)
#define GC_END_STUBBORN_CHANGE(p) GC_end_stubborn_change(p)
#define GC_PTR_STORE(place, value) (*(void **)(place) = (void *)(value))
#define GC_PTR_STORE_AND_DIRTY(place, value) GC_ptr_store_and_dirty(place, value)
#define GC_PTR_ADD(x, n) ((x) + (n))
#define GC_PRE_INCR(x, n) ((x) += (n))
#define GC_POST_INCR(x) ((x)++)
#define GC_POST_DECR(x) ((x)--)
#define GC_reachable_here(p) __asm__ __volatile__("" : : "X"(p) : "memory")

/* ---- finalizers, links ---- */

typedef void (*GC_finalization_proc)(void *block, void *data);
/* A block that is none of ours, or NULL, or not its start: *old and *old_data become NULL, nothing
 * else is done; they may be NULL themselves. NULL for `call` takes the finalizer off. */
#define GC_REGISTERS(name) \
    GC_API void name(void *block, GC_finalization_proc call, void *data, \
                     GC_finalization_proc *old, void **old_data)
GC_REGISTERS(GC_register_finalizer);
GC_REGISTERS(GC_register_finalizer_ignore_self);
GC_REGISTERS(GC_register_finalizer_no_order);
GC_REGISTERS(GC_register_finalizer_unreachable);
GC_REGISTERS(GC_debug_register_finalizer);
GC_REGISTERS(GC_debug_register_finalizer_ignore_self);
GC_REGISTERS(GC_debug_register_finalizer_no_order);
GC_REGISTERS(GC_debug_register_finalizer_unreachable);
#undef GC_REGISTERS
#define GC_REGISTER_FINALIZER(b, c, d, o, od) GC_register_finalizer(b, c, d, o, od)
#define GC_REGISTER_FINALIZER_IGNORE_SELF(b, c, d, o, od) \
    GC_register_finalizer_ignore_self(b, c, d, o, od)
#define GC_REGISTER_FINALIZER_NO_ORDER(b, c, d, o, od) \
    GC_register_finalizer_no_order(b, c, d, o, od)
#define GC_REGISTER_FINALIZER_UNREACHABLE(b, c, d, o, od) \
    GC_register_finalizer_unreachable(b, c, d, o, od)

#define GC_SUCCESS 0
#define GC_DUPLICATE 1
#define GC_NO_THREADS 2
#define GC_NO_MEMORY 2
#define GC_UNIMPLEMENTED 3      /* also: there is no such block */
#define GC_NOT_FOUND 4
/* `block` may lie anywhere, if it is the start of a block; `link` in the heap, or not. */
GC_API int GC_register_disappearing_link(void **link);
GC_API int GC_general_register_disappearing_link(void **link, const void *block);
GC_API int GC_move_disappearing_link(void **link, void **to);
GC_API int GC_unregister_disappearing_link(void **link);
GC_API int GC_register_long_link(void **link, const void *block);
GC_API int GC_move_long_link(void **link, void **to);
GC_API int GC_unregister_long_link(void **link);
#define GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, block) \
    GC_general_register_disappearing_link(link, block)
#define GC_REGISTER_LONG_LINK(link, block) GC_register_long_link(link, block)

typedef GC_word GC_hidden_pointer;
#define GC_HIDE_POINTER(p) (~(GC_hidden_pointer)(p))
#define GC_REVEAL_POINTER(p) ((void *)GC_HIDE_POINTER(p))
#if defined(I_HIDE_POINTERS) || defined(GC_I_HIDE_POINTERS)
#define HIDE_POINTER(p) GC_HIDE_POINTER(p)
#define REVEAL_POINTER(p) GC_REVEAL_POINTER(p)
#endif

GC_API int GC_should_invoke_finalizers(void);
GC_API int GC_invoke_finalizers(void);
/* Nobody has reached the end of a program yet: what is still registered is not called. */
GC_API void GC_finalize_all(void);
GC_API void GC_set_finalize_on_demand(int on);
GC_API int GC_get_finalize_on_demand(void);
GC_API void GC_set_java_finalization(int on);
GC_API int GC_get_java_finalization(void);
typedef void (*GC_finalizer_notifier_proc)(void);
GC_API void GC_set_finalizer_notifier(GC_finalizer_notifier_proc notifier);
GC_API GC_finalizer_notifier_proc GC_get_finalizer_notifier(void);
typedef void (*GC_await_finalize_proc)(void *block);
GC_API void GC_set_await_finalize_proc(GC_await_finalize_proc proc);
GC_API GC_await_finalize_proc GC_get_await_finalize_proc(void);

/* ---- collecting ---- */

GC_API void GC_gcollect(void);
GC_API void GC_gcollect_and_unmap(void);
typedef int (*GC_stop_func)(void);
/* `stop` is asked before each cycle, and not in it. */
GC_API int GC_try_to_collect(GC_stop_func stop);
GC_API void GC_set_stop_func(GC_stop_func stop);
GC_API GC_stop_func GC_get_stop_func(void);
GC_API int GC_collect_a_little(void);
GC_API void GC_start_incremental_collection(void);
GC_API void GC_disable(void);
GC_API void GC_enable(void);
GC_API int GC_is_disabled(void);
GC_API void GC_enable_incremental(void);
GC_API int GC_is_incremental_mode(void);
#define GC_PROTECTS_POINTER_HEAP 1
#define GC_PROTECTS_PTRFREE_HEAP 2
#define GC_PROTECTS_STATIC_DATA 4
#define GC_PROTECTS_STACK 8
#define GC_PROTECTS_NONE 0
GC_API int GC_incremental_protection_needs(void);

/* Roots: all that is writable is one already. */
GC_API void GC_add_roots(void *start, void *end);
/* Exactly what was added. */
GC_API void GC_remove_roots(void *start, void *end);
GC_API void GC_clear_roots(void);
GC_API void GC_exclude_static_roots(void *start, void *end);
GC_API void GC_clear_exclusion_table(void);
GC_API int GC_is_tmp_root(void *p);
typedef int (*GC_has_static_roots_func)(const char *file, void *start, size_t size);
GC_API void GC_register_has_static_roots_callback(GC_has_static_roots_func func);
GC_API void GC_register_displacement(size_t offset);
GC_API void GC_debug_register_displacement(size_t offset);
#define GC_REGISTER_DISPLACEMENT(n) GC_register_displacement(n)

/* A wish: above it, cycles follow each other closely (gcmalloc_set_limit). 0: none. */
GC_API void GC_set_max_heap_size(GC_word bytes);
GC_API int GC_expand_hp(size_t bytes);
/* 3: the heap may double between cycles; percent=300/divisor. */
GC_API void GC_set_free_space_divisor(GC_word divisor);
GC_API GC_word GC_get_free_space_divisor(void);

/* ---- figures ---- */

GC_API GC_word GC_get_gc_no(void);
GC_API size_t GC_get_heap_size(void);
GC_API size_t GC_get_free_bytes(void);
GC_API size_t GC_get_unmapped_bytes(void);
GC_API size_t GC_get_bytes_since_gc(void);
GC_API size_t GC_get_expl_freed_bytes_since_gc(void);
GC_API size_t GC_get_total_bytes(void);
GC_API size_t GC_get_obtained_from_os_bytes(void);
GC_API size_t GC_get_memory_use(void);
GC_API unsigned long GC_get_full_gc_total_time(void);
GC_API void GC_get_heap_usage_safe(GC_word *heap, GC_word *free, GC_word *unmapped,
                                   GC_word *since_gc, GC_word *total);
struct GC_prof_stats_s {
    GC_word heapsize_full, free_bytes_full, unmapped_bytes, bytes_allocd_since_gc,
        allocd_bytes_before_gc, non_gc_bytes, gc_no, markers_m1, bytes_reclaimed_since_gc,
        reclaimed_bytes_before_gc, expl_freed_bytes_since_gc, obtained_from_os_bytes;
};
GC_API size_t GC_get_prof_stats(struct GC_prof_stats_s *stats, size_t size);
GC_API size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *stats, size_t size);
GC_API size_t GC_get_size_map_at(int i);
GC_API void GC_start_performance_measurement(void);
GC_API void GC_dump(void);
GC_API void GC_dump_named(const char *name);
GC_API void GC_dump_regions(void);
GC_API void GC_dump_finalization(void);

/* ---- calls back ---- */

typedef void *(*GC_oom_func)(size_t bytes);
GC_API void GC_set_oom_fn(GC_oom_func func);
GC_API GC_oom_func GC_get_oom_fn(void);
GC_API void GC_abort_on_oom(void);
typedef void (*GC_abort_func)(const char *message);
GC_API void GC_set_abort_func(GC_abort_func func);
GC_API GC_abort_func GC_get_abort_func(void);
/* Nothing is ever warned of. */
typedef void (*GC_warn_proc)(char *format, GC_word value);
GC_API void GC_set_warn_proc(GC_warn_proc proc);
GC_API GC_warn_proc GC_get_warn_proc(void);
GC_API void GC_ignore_warn_proc(char *format, GC_word value);
GC_API void GC_set_log_fd(int fd);
/* Before each GC_gcollect, and not before the cycles that begin by themselves. */
typedef void (*GC_start_callback_proc)(void);
GC_API void GC_set_start_callback(GC_start_callback_proc proc);
GC_API GC_start_callback_proc GC_get_start_callback(void);
/* Kept for the getter; never called. */
typedef void (*GC_on_heap_resize_proc)(GC_word bytes);
GC_API void GC_set_on_heap_resize(GC_on_heap_resize_proc proc);
GC_API GC_on_heap_resize_proc GC_get_on_heap_resize(void);
typedef enum {
    GC_EVENT_START,
    GC_EVENT_MARK_START,
    GC_EVENT_MARK_END,
    GC_EVENT_RECLAIM_START,
    GC_EVENT_RECLAIM_END,
    GC_EVENT_END,
    GC_EVENT_PRE_STOP_WORLD,
    GC_EVENT_POST_STOP_WORLD,
    GC_EVENT_PRE_START_WORLD,
    GC_EVENT_POST_START_WORLD,
    GC_EVENT_THREAD_SUSPENDED,
    GC_EVENT_THREAD_UNSUSPENDED
} GC_EventType;
typedef void (*GC_on_collection_event_proc)(GC_EventType event);
GC_API void GC_set_on_collection_event(GC_on_collection_event_proc proc);
GC_API GC_on_collection_event_proc GC_get_on_collection_event(void);
typedef void (*GC_on_thread_event_proc)(GC_EventType event, void *thread);
GC_API void GC_set_on_thread_event(GC_on_thread_event_proc proc);
GC_API GC_on_thread_event_proc GC_get_on_thread_event(void);

/* ---- threads, locks ---- */

/* The lock may be taken again by who has it. Links change only under it. */
typedef void *(*GC_fn_type)(void *data);
GC_API void *GC_call_with_alloc_lock(GC_fn_type call, void *data);
GC_API void GC_alloc_lock(void);
GC_API void GC_alloc_unlock(void);
GC_API void *GC_do_blocking(GC_fn_type call, void *data);
GC_API void *GC_call_with_gc_active(GC_fn_type call, void *data);

/* All threads are known, from their start to their end. */
struct GC_stack_base {
    void *mem_base;
};
typedef void *(*GC_stack_base_func)(struct GC_stack_base *base, void *data);
GC_API void *GC_call_with_stack_base(GC_stack_base_func call, void *data);
GC_API int GC_get_stack_base(struct GC_stack_base *base);
GC_API void *GC_get_my_stackbottom(struct GC_stack_base *base);
GC_API void GC_set_stackbottom(void *thread, const struct GC_stack_base *base);
GC_API void GC_allow_register_threads(void);
GC_API int GC_register_my_thread(const struct GC_stack_base *base);
GC_API int GC_unregister_my_thread(void);
GC_API int GC_thread_is_registered(void);
GC_API void GC_register_altstack(void *stack, GC_word size, void *alternate,
                                 GC_word alternate_size);
GC_API void GC_start_mark_threads(void);
GC_API int GC_get_parallel(void);
GC_API void GC_set_markers_count(unsigned count);
GC_API void GC_set_suspend_signal(int number);
GC_API int GC_get_suspend_signal(void);
GC_API void GC_set_thr_restart_signal(int number);
GC_API int GC_get_thr_restart_signal(void);
GC_API void GC_set_handle_fork(int value);
GC_API void GC_atfork_prepare(void);
GC_API void GC_atfork_parent(void);
GC_API void GC_atfork_child(void);

/* ---- settings without an effect but what their getters say ---- */

#define GC_SETTING(type, name) \
    GC_API void GC_set_##name(type value); \
    GC_API type GC_get_##name(void)
GC_SETTING(int, all_interior_pointers);
GC_SETTING(int, find_leak);
GC_SETTING(int, dont_expand);
GC_SETTING(int, full_freq);
GC_SETTING(GC_word, non_gc_bytes);
GC_SETTING(int, no_dls);
GC_SETTING(GC_word, max_retries);
GC_SETTING(int, dont_precollect);
GC_SETTING(unsigned long, time_limit);
GC_SETTING(GC_word, allocd_bytes_per_finalizer);
GC_SETTING(int, pages_executable);
GC_SETTING(size_t, min_bytes_allocd);
GC_SETTING(int, rate);
GC_SETTING(int, max_prior_attempts);
GC_SETTING(int, disable_automatic_collection);
GC_SETTING(int, force_unmap_on_gcollect);
GC_SETTING(int, manual_vdb_allowed);
#undef GC_SETTING

/* What the setters set, and the getters get; GC_oom_fn is called. A program that counts in
 * GC_dont_gc itself is not heard: GC_disable. */
GC_API GC_word GC_gc_no, GC_non_gc_bytes, GC_free_space_divisor, GC_max_retries;
GC_API int GC_parallel, GC_find_leak, GC_all_interior_pointers, GC_finalize_on_demand,
    GC_java_finalization, GC_dont_gc, GC_dont_expand, GC_use_entire_heap, GC_full_freq, GC_no_dls,
    GC_dont_precollect;
GC_API unsigned long GC_time_limit;
GC_API char *GC_stackbottom;
GC_API GC_oom_func GC_oom_fn;
GC_API GC_on_heap_resize_proc GC_on_heap_resize;
GC_API GC_finalizer_notifier_proc GC_finalizer_notifier;

#ifdef __cplusplus
}
#endif

#if defined(GC_PTHREADS) || defined(GC_BDWGC)
#include "gc_pthread_redirects.h"
#endif

#endif
