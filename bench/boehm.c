/* boehm.c -- Boehm's collector in the place of malloc, for comparison: a preload library.
 *
 * What the program itself allocates comes from GC_malloc, and is collected when nothing points to
 * it. What libc and the loader allocate (buffers, dtv) is uncollectable: it hangs on thread control
 * blocks, which the collector does not see. Who calls is read off the return address: the
 * program's own text, or anybody else's. free() frees.
 *
 * Threads are registered by a start routine of ours around the program's. Markers: as many as
 * cores, the collector's default (GC_MARKERS). With BOEHM_GCTRACE=1 each collection prints its stop
 * as a line of Go's gctrace format, in which the whole collection is the last of the three times.
 *
 *     LD_PRELOAD=boehm.so PROGRAM */
#define _GNU_SOURCE
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* The program's own, not ours: the linker resolves them against the executable only if it exports
 * them, so they are read from /proc/self/maps. */
static uintptr_t text_begin, text_end;
static bool trace, ready;

static struct {
    size_t used;
    _Alignas(16) char bytes[1 << 20];
} early;

struct start {
    void *(*routine)(void *);
    void *argument;
};

/* ---- the trace ------------------------------------------------------------------------------- */

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void GC_CALLBACK on_event(GC_EventType event)
{
    static uint64_t first, stopped;
    static size_t before;
    uint64_t now = clock_ns();
    if (first == 0)
        first = now;
    if (event == GC_EVENT_PRE_STOP_WORLD) {
        stopped = now;
        before = GC_get_heap_size() - GC_get_free_bytes();
    }
    if (event != GC_EVENT_POST_START_WORLD)
        return;
    char line[160];
    uint64_t us = (now - stopped) / 1000, at = (stopped - first) / 1000000;
    size_t live = GC_get_heap_size() - GC_get_free_bytes();
    int n = snprintf(line, sizeof line,
                     "gc %lu @%lu.%03lus 0%%: 0.000+0.000+%lu.%03lu ms clock, %zu->%zu->%zu MB\n",
                     (unsigned long)GC_get_gc_no(), at / 1000, at % 1000, us / 1000, us % 1000,
                     before >> 20, before >> 20, live >> 20);
    if (write(2, line, (size_t)n) != n)
        trace = false;
}

/* ---- before the collector is there ----------------------------------------------------------- */

/* GC_INIT itself calls functions of libc that allocate; its memory is ours, zero, and stays. */
static void *early_new(size_t size)
{
    size_t at = early.used + (-early.used & 15);
    if (size > sizeof early.bytes || at > sizeof early.bytes - size)
        return NULL;
    early.used = at + size;
    return early.bytes + at;
}

static bool is_early(const void *block)
{
    return (uintptr_t)block - (uintptr_t)early.bytes < sizeof early.bytes;
}

/* ---- start ----------------------------------------------------------------------------------- */

static bool parse_range(const char *line, const char *program)
{
    unsigned long begin, end;
    char flags[8], path[512] = "";
    if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %511s", &begin, &end, flags, path) < 3)
        return false;
    if (flags[2] != 'x' || strcmp(path, program))
        return false;
    text_begin = begin;
    text_end = end;
    return true;
}

static void find_text(void)
{
    char program[512], line[1024];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps) && !parse_range(line, program))
        ;
    if (maps)
        fclose(maps);
}

__attribute__((constructor)) static void start(void)
{
    GC_INIT();
    ready = true;
    GC_allow_register_threads();
    GC_set_warn_proc(GC_ignore_warn_proc);
    const char *wanted = getenv("BOEHM_GCTRACE");
    trace = wanted && *wanted == '1';
    if (trace)
        GC_set_on_collection_event(on_event);
    find_text();
}

/* ---- malloc ---------------------------------------------------------------------------------- */

static bool from_program(void *caller)
{
    return (uintptr_t)caller - text_begin < text_end - text_begin;
}

static void *block_new(size_t size, void *caller)
{
    if (!ready)
        return early_new(size);
    return from_program(caller) ? GC_malloc(size) : GC_malloc_uncollectable(size);
}

#define BLOCK(size) block_new(size, __builtin_return_address(0))

EXPORT void *malloc(size_t size)
{
    return BLOCK(size);
}

/* GC_malloc's memory is zero. */
EXPORT void *calloc(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    return BLOCK(count * size);
}

/* GC_realloc keeps the kind of the block that it is given. */
EXPORT void *realloc(void *block, size_t size)
{
    if (is_early(block)) {
        void *copy = BLOCK(size);
        size_t rest = (size_t)(early.bytes + sizeof early.bytes - (char *)block);
        return copy ? memcpy(copy, block, size < rest ? size : rest) : NULL;
    }
    return block ? GC_realloc(block, size) : BLOCK(size);
}

EXPORT void free(void *block)
{
    if (!is_early(block))
        GC_free(block);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return GC_memalign(alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return GC_memalign(alignment, size);
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size)
{
    *block = GC_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}

EXPORT size_t malloc_usable_size(void *block)
{
    return block && !is_early(block) ? GC_size(block) : 0;
}

/* ---- threads --------------------------------------------------------------------------------- */

static void unregister(void *unused)
{
    (void)unused;
    GC_unregister_my_thread();
}

static void *thread_main(void *argument)
{
    struct start todo = *(struct start *)argument;
    struct GC_stack_base base;
    void *result;
    GC_get_stack_base(&base);
    GC_register_my_thread(&base);
    GC_free(argument);
    pthread_cleanup_push(unregister, NULL);
    result = todo.routine(todo.argument);
    pthread_cleanup_pop(1);
    return result;
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*routine)(void *), void *argument)
{
    static int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    /* The collector's own markers are no mutators: they must not be registered. */
    if (!from_program(__builtin_return_address(0)))
        return next(thread, attributes, routine, argument);
    struct start *todo = GC_malloc_uncollectable(sizeof *todo);
    if (!todo)
        return EAGAIN;
    *todo = (struct start){routine, argument};
    return next(thread, attributes, thread_main, todo);
}
