/* control.c -- gc.h: start, collections, roots, figures, settings. */
#include "bdwgc/bdwgc.h"
#include "bdwgc/gc_mark.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { PERCENT_OF_DIVISOR = 300, /* Boehm's default is 3, and ours 100 */
       CONFIRM_MOST = 16 };

atomic_bool bdwgc_started;
static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static GC_start_callback_proc start_callback;
static GC_stop_func stop_default;
static GC_abort_func abort_func;
static GC_warn_proc warn_proc = GC_ignore_warn_proc;
static GC_on_collection_event_proc on_collection;
static GC_on_thread_event_proc on_thread;
static int incremental;

static void *no_memory(size_t bytes)
{
    (void)bytes;
    return NULL;
}

BDWGC_EXPORT GC_word GC_gc_no, GC_non_gc_bytes, GC_free_space_divisor = 3, GC_max_retries;
BDWGC_EXPORT int GC_parallel, GC_find_leak, GC_all_interior_pointers = 1, GC_dont_gc,
    GC_dont_expand, GC_use_entire_heap, GC_full_freq = 19, GC_no_dls, GC_dont_precollect;
BDWGC_EXPORT unsigned long GC_time_limit = 50;
BDWGC_EXPORT char *GC_stackbottom;
BDWGC_EXPORT GC_oom_func GC_oom_fn = no_memory;
BDWGC_EXPORT GC_on_heap_resize_proc GC_on_heap_resize;
BDWGC_EXPORT GC_push_other_roots_proc GC_push_other_roots;

/* ---- start ---- */

/* What is unreachable is not a mistake here. Who asks for the report gets it all the same. */
static void silence_report(void)
{
    const char *options = getenv("GCMALLOC");
    bool asked = GC_find_leak || getenv("GC_FIND_LEAK") != NULL || getenv("GCMALLOC_CONF") != NULL;
    if (!asked && (options == NULL || strstr(options, "report=") == NULL))
        gcmalloc_set_option("report", "off");
}

static void start(void)
{
    int saved = errno;
    pthread_atfork(bdwgc_lock, bdwgc_unlock, bdwgc_lock_anew);
    gcmalloc_finalizers_by_hand(1);
    silence_report();
    errno = saved;
    atomic_store(&bdwgc_started, true);
}

void bdwgc_start_once(void)
{
    pthread_once(&start_once, start);
}

BDWGC_EXPORT void GC_init(void)
{
    bdwgc_start();
}

BDWGC_EXPORT int GC_is_init_called(void)
{
    return atomic_load(&bdwgc_started);
}

BDWGC_EXPORT void GC_deinit(void)
{
}

BDWGC_EXPORT unsigned GC_get_version(void)
{
    return GC_VERSION_MAJOR << 16 | GC_VERSION_MINOR << 8 | GC_VERSION_MICRO;
}

/* ---- collections ---- */

/* What has become unreachable is reclaimed, or due, only after so many cycles. */
static unsigned cycles_needed(void)
{
    char text[16];
    if (gcmalloc_get_option("confirm", text, sizeof text) < 0)
        return 1;
    unsigned long value = strtoul(text, NULL, 10);
    return value < 1 ? 1 : value > CONFIRM_MOST ? CONFIRM_MOST : (unsigned)value;
}

static bool collect(GC_stop_func stop)
{
    int saved = errno;
    bool done = true;
    bdwgc_start();
    if (GC_dont_gc > 0)
        return false;
    if (start_callback != NULL)
        start_callback();
    for (unsigned i = cycles_needed(); i != 0 && done; i--)
        done = (stop == NULL || !stop()) && gcmalloc_collect() == 0;
    bdwgc_finalize_due();
    errno = saved;
    return done;
}

BDWGC_EXPORT void GC_gcollect(void)
{
    collect(stop_default);
}

BDWGC_EXPORT void GC_gcollect_and_unmap(void)
{
    int saved = errno;
    collect(NULL);
    gcmalloc_give_back();
    errno = saved;
}

BDWGC_EXPORT int GC_try_to_collect(GC_stop_func stop)
{
    return collect(stop);
}

BDWGC_EXPORT int GC_collect_a_little(void)
{
    bdwgc_start();
    bdwgc_finalize_due();
    return 0;
}

BDWGC_EXPORT void GC_start_incremental_collection(void)
{
    if (incremental)
        gcmalloc_collect_soon();
}

BDWGC_EXPORT void GC_disable(void)
{
    bdwgc_start();
    __atomic_add_fetch(&GC_dont_gc, 1, __ATOMIC_RELAXED);
    gcmalloc_disable();
}

/* One too many is not counted. */
BDWGC_EXPORT void GC_enable(void)
{
    if (__atomic_load_n(&GC_dont_gc, __ATOMIC_RELAXED) <= 0)
        return;
    __atomic_sub_fetch(&GC_dont_gc, 1, __ATOMIC_RELAXED);
    gcmalloc_enable();
}

BDWGC_EXPORT int GC_is_disabled(void)
{
    return GC_dont_gc != 0;
}

BDWGC_EXPORT void GC_enable_incremental(void)
{
    bdwgc_start();
    incremental = 1;
}

BDWGC_EXPORT int GC_is_incremental_mode(void)
{
    return incremental;
}

BDWGC_EXPORT int GC_incremental_protection_needs(void)
{
    return GC_PROTECTS_NONE;
}

/* ---- roots ---- */

static void change_roots(void *start_of, void *end, int (*change)(const void *start, size_t size))
{
    int saved = errno;
    bdwgc_start();
    if ((uintptr_t)end > (uintptr_t)start_of)
        change(start_of, (uintptr_t)end - (uintptr_t)start_of);
    errno = saved;
}

BDWGC_EXPORT void GC_add_roots(void *start_of, void *end)
{
    change_roots(start_of, end, gcmalloc_add_roots);
}

BDWGC_EXPORT void GC_remove_roots(void *start_of, void *end)
{
    change_roots(start_of, end, gcmalloc_remove_roots);
}

BDWGC_EXPORT void GC_exclude_static_roots(void *start_of, void *end)
{
    change_roots(start_of, end, gcmalloc_exclude);
}

BDWGC_EXPORT int GC_is_tmp_root(void *p)
{
    (void)p;
    return 0;
}

#define NOTHING(name, parameters, unused) \
    BDWGC_EXPORT void name parameters \
    { \
        unused; \
    }
NOTHING(GC_clear_roots, (void), (void)0)
NOTHING(GC_clear_exclusion_table, (void), (void)0)
NOTHING(GC_register_has_static_roots_callback, (GC_has_static_roots_func func), (void)func)
NOTHING(GC_register_displacement, (size_t offset), (void)offset)
NOTHING(GC_debug_register_displacement, (size_t offset), (void)offset)
NOTHING(GC_clear_mark_bit, (const void *block), (void)block)
NOTHING(GC_set_mark_bit, (const void *block), (void)block)
NOTHING(GC_push_all, (void *from, void *end), (void)from; (void)end)
NOTHING(GC_push_all_eager, (void *from, void *end), (void)from; (void)end)
NOTHING(GC_push_conditional, (void *from, void *end, int all), (void)from; (void)end; (void)all)
NOTHING(GC_push_finalizer_structures, (void), (void)0)
NOTHING(GC_start_performance_measurement, (void), (void)0)
NOTHING(GC_set_log_fd, (int fd), (void)fd)
NOTHING(GC_ignore_warn_proc, (char *format, GC_word value), (void)format; (void)value)

BDWGC_EXPORT void GC_set_max_heap_size(GC_word bytes)
{
    bdwgc_start();
    gcmalloc_set_limit(bytes);
}

/* The heap grows by itself. */
BDWGC_EXPORT int GC_expand_hp(size_t bytes)
{
    (void)bytes;
    bdwgc_start();
    return 1;
}

BDWGC_EXPORT void GC_set_free_space_divisor(GC_word divisor)
{
    bdwgc_start();
    if (divisor == 0)
        return;
    GC_free_space_divisor = divisor;
    GC_word percent = PERCENT_OF_DIVISOR / divisor;
    gcmalloc_set_percent(percent == 0 ? 1 : (int64_t)percent);
}

BDWGC_EXPORT GC_word GC_get_free_space_divisor(void)
{
    return GC_free_space_divisor;
}

/* ---- figures ---- */

/* Zeros without the library. The last cycle's allocation counters are not known: what is counted
 * "since the last collection" is what has been since this was asked last after one. */
static void read_stats(struct GC_prof_stats_s *out)
{
    static struct {
        uint64_t cycles, allocated, freed, reclaimed;
    } last;
    struct gcmalloc_stats s = {.size = sizeof s};
    int saved = errno;
    memset(out, 0, sizeof *out);
    bool known = gcmalloc_read_stats(&s) == 0;
    errno = saved;
    if (!known)
        return;
    bdwgc_lock();
    uint64_t freed = s.total_alloc - s.alloc;
    if (s.num_gc != last.cycles) {
        last.cycles = s.num_gc;
        last.allocated = s.total_alloc;
        last.freed = freed;
        last.reclaimed = s.reclaimed_bytes;
    }
    GC_gc_no = s.num_gc;
    *out = (struct GC_prof_stats_s){
        .heapsize_full = s.heap_sys,
        .free_bytes_full = s.heap_sys > s.alloc ? s.heap_sys - s.alloc : 0,
        .unmapped_bytes = s.heap_released,
        .bytes_allocd_since_gc = s.total_alloc - last.allocated,
        .allocd_bytes_before_gc = last.allocated,
        .non_gc_bytes = GC_non_gc_bytes,
        .gc_no = s.num_gc,
        .bytes_reclaimed_since_gc = s.reclaimed_bytes - last.reclaimed,
        .reclaimed_bytes_before_gc = last.reclaimed,
        .expl_freed_bytes_since_gc = freed - last.freed - (s.reclaimed_bytes - last.reclaimed),
        .obtained_from_os_bytes = s.sys + s.heap_released,
    };
    bdwgc_unlock();
}

#define FIGURE(type, name, expression) \
    BDWGC_EXPORT type name(void) \
    { \
        struct GC_prof_stats_s s; \
        read_stats(&s); \
        return expression; \
    }
FIGURE(GC_word, GC_get_gc_no, s.gc_no)
FIGURE(size_t, GC_get_heap_size, s.heapsize_full - s.unmapped_bytes)
FIGURE(size_t, GC_get_free_bytes, s.free_bytes_full - s.unmapped_bytes)
FIGURE(size_t, GC_get_unmapped_bytes, s.unmapped_bytes)
FIGURE(size_t, GC_get_bytes_since_gc, s.bytes_allocd_since_gc)
FIGURE(size_t, GC_get_expl_freed_bytes_since_gc, s.expl_freed_bytes_since_gc)
FIGURE(size_t, GC_get_total_bytes, s.allocd_bytes_before_gc + s.bytes_allocd_since_gc)
FIGURE(size_t, GC_get_obtained_from_os_bytes, s.obtained_from_os_bytes)
FIGURE(size_t, GC_get_memory_use, s.heapsize_full - s.free_bytes_full)

BDWGC_EXPORT unsigned long GC_get_full_gc_total_time(void)
{
    struct gcmalloc_stats s = {.size = sizeof s};
    return gcmalloc_read_stats(&s) == 0 ? s.pause_total_ns / 1000000 : 0;
}

static void put(GC_word *place, GC_word value)
{
    if (place != NULL)
        *place = value;
}

BDWGC_EXPORT void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_bytes, GC_word *unmapped,
                                         GC_word *since_gc, GC_word *total)
{
    struct GC_prof_stats_s s;
    read_stats(&s);
    put(heap, s.heapsize_full - s.unmapped_bytes);
    put(free_bytes, s.free_bytes_full - s.unmapped_bytes);
    put(unmapped, s.unmapped_bytes);
    put(since_gc, s.bytes_allocd_since_gc);
    put(total, s.allocd_bytes_before_gc + s.bytes_allocd_since_gc);
}

BDWGC_EXPORT size_t GC_get_prof_stats(struct GC_prof_stats_s *stats, size_t size)
{
    struct GC_prof_stats_s s;
    read_stats(&s);
    size_t known = size < sizeof s ? size : sizeof s;
    memcpy(stats, &s, known);
    memset((char *)stats + known, 0xff, size - known);
    return known;
}

BDWGC_EXPORT size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *stats, size_t size)
{
    return GC_get_prof_stats(stats, size);
}

BDWGC_EXPORT size_t GC_get_size_map_at(int i)
{
    (void)i;
    return SIZE_MAX;
}

BDWGC_EXPORT void GC_dump_named(const char *name)
{
    struct GC_prof_stats_s s;
    read_stats(&s);
    fprintf(stderr, "libgcmalloc: %s: %lu cycles, heap %lu bytes, %lu in use\n",
            name == NULL ? "dump" : name, s.gc_no, s.heapsize_full,
            s.heapsize_full - s.free_bytes_full);
}

BDWGC_EXPORT void GC_dump(void)
{
    GC_dump_named(NULL);
}

BDWGC_EXPORT void GC_dump_regions(void)
{
    GC_dump_named("regions");
}

BDWGC_EXPORT void GC_dump_finalization(void)
{
    struct gcmalloc_stats s = {.size = sizeof s};
    if (gcmalloc_read_stats(&s) == 0)
        fprintf(stderr, "libgcmalloc: %lu finalizers and %lu weak references are registered\n",
                s.finalizers, s.weak_references);
}

/* ---- calls back, settings ---- */

BDWGC_EXPORT void GC_abort_on_oom(void)
{
    static const char message[] = "Insufficient memory for the allocation";
    if (abort_func != NULL)
        abort_func(message);
    else
        fprintf(stderr, "%s\n", message);
    abort();
}

/* A setting with no place of its own that others could see. */
#define KEPT(type, name, value) \
    static type kept_##name = value; \
    BDWGC_SETTING(type, name, kept_##name)

BDWGC_SETTING(GC_oom_func, oom_fn, GC_oom_fn)
BDWGC_SETTING(GC_abort_func, abort_func, abort_func)
BDWGC_SETTING(GC_warn_proc, warn_proc, warn_proc)
BDWGC_SETTING(GC_stop_func, stop_func, stop_default)
BDWGC_SETTING(GC_start_callback_proc, start_callback, start_callback)
BDWGC_SETTING(GC_on_heap_resize_proc, on_heap_resize, GC_on_heap_resize)
BDWGC_SETTING(GC_on_collection_event_proc, on_collection_event, on_collection)
BDWGC_SETTING(GC_on_thread_event_proc, on_thread_event, on_thread)
BDWGC_SETTING(GC_push_other_roots_proc, push_other_roots, GC_push_other_roots)
BDWGC_SETTING(int, find_leak, GC_find_leak)
BDWGC_SETTING(int, all_interior_pointers, GC_all_interior_pointers)
BDWGC_SETTING(int, dont_expand, GC_dont_expand)
BDWGC_SETTING(int, full_freq, GC_full_freq)
BDWGC_SETTING(GC_word, non_gc_bytes, GC_non_gc_bytes)
BDWGC_SETTING(int, no_dls, GC_no_dls)
BDWGC_SETTING(GC_word, max_retries, GC_max_retries)
BDWGC_SETTING(int, dont_precollect, GC_dont_precollect)
BDWGC_SETTING(unsigned long, time_limit, GC_time_limit)
KEPT(GC_word, allocd_bytes_per_finalizer, 0)
KEPT(int, pages_executable, 0)
KEPT(size_t, min_bytes_allocd, 1)
KEPT(int, rate, 10)
KEPT(int, max_prior_attempts, 1)
KEPT(int, disable_automatic_collection, 0)
KEPT(int, force_unmap_on_gcollect, 0)
KEPT(int, manual_vdb_allowed, 0)
