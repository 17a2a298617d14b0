/* malloc_abi.c -- the C allocation functions that the library exports.
 *
 * Each is glibc's function with glibc's corner cases (malloc(3), posix_memalign(3), glibc 2.36
 * malloc.c). The fast paths are inline; a miss starts the library if it has not started yet, and
 * goes on in mutator/alloc.c. */
#include "mutator/alloc.h"
#include "heap/heap.h"
#include "heap/heap_stats.h"
#include "heap/page_heap.h"
#include "mutator/entry.h"
#include "mutator/thread_cache.h"
#include "runtime.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The largest value of M_MXFAST that glibc takes. */
enum { MXFAST_MOST = 20 * sizeof(size_t) };

GC_EXPORT void cfree(void *p);
GC_EXPORT void free_sized(void *p, size_t size);
GC_EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size);

/* Out of the fast paths: what follows runs behind a stub (entry.h), with the allocator started. */
void *malloc_miss(size_t size);
void *calloc_miss(size_t count, size_t size);
void *realloc_miss(void *p, size_t size);
void *aligned_miss(size_t alignment, size_t size);
void *malloc_slow(size_t size);
void *calloc_slow(size_t count, size_t size);
void *realloc_slow(void *p, size_t size);
void *aligned_slow(size_t alignment, size_t size);

ENTRY_STUB(malloc_miss, malloc_slow);
ENTRY_STUB(calloc_miss, calloc_slow);
ENTRY_STUB(realloc_miss, realloc_slow);
ENTRY_STUB(aligned_miss, aligned_slow);

void *malloc_slow(size_t size)
{
    runtime_start();
    return alloc_malloc(size);
}

void *calloc_slow(size_t count, size_t size)
{
    runtime_start();
    return alloc_calloc(count, size);
}

void *realloc_slow(void *p, size_t size)
{
    runtime_start();
    return alloc_realloc(p, size);
}

void *aligned_slow(size_t alignment, size_t size)
{
    runtime_start();
    return alloc_aligned(alignment, size);
}

static GC_NOINLINE void *malloc_medium(size_t size)
{
    void *block = size < SIZE_CLASS_MAX ? cache_pop(size_class_of_medium(size + hot.pad)) : NULL;
    return GC_LIKELY(block != NULL) ? block : malloc_miss(size);
}

GC_EXPORT void *malloc(size_t size)
{
    if (GC_UNLIKELY(size > SIZE_CLASS_TABLE_MAX))
        return malloc_medium(size);
    void *block = cache_pop(size_class_small[(size + hot.pad + GRANULE - 1) >> GRANULE_SHIFT]);
    return GC_LIKELY(block != NULL) ? block : malloc_miss(size);
}

static GC_NOINLINE void free_miss(void *p)
{
    runtime_start();
    alloc_free(p);
}

GC_EXPORT void free(void *p)
{
    if (GC_UNLIKELY(!cache_push(p)))
        free_miss(p);
}

static GC_NOINLINE void *calloc_medium(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes >= SIZE_CLASS_MAX)
        return calloc_miss(count, size);
    void *block = cache_pop(size_class_of(bytes + hot.pad));
    return GC_LIKELY(block != NULL) ? memset(block, 0, bytes) : calloc_miss(count, size);
}

GC_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (GC_UNLIKELY(__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_CLASS_TABLE_MAX))
        return calloc_medium(count, size);
    void *block = cache_pop(size_class_small[(bytes + hot.pad + GRANULE - 1) >> GRANULE_SHIFT]);
    return GC_LIKELY(block != NULL) ? memset(block, 0, bytes) : calloc_miss(count, size);
}

/* A small block of `old` bytes moves. Until it is freed it is in a register, or on the stack. */
static GC_NOINLINE void *move_small(void *p, size_t old, size_t size)
{
    void *to = cache_pop(size_class_of(size + hot.pad));
    if (GC_UNLIKELY(to == NULL))
        return realloc_miss(p, size);
    memcpy(to, p, size_min(old, size));
    if (GC_UNLIKELY(!cache_push(p)))
        free_miss(p);
    return to;
}

GC_EXPORT void *realloc(void *p, size_t size)
{
    if (p == NULL)
        return malloc(size);
    size_t old = cache_size_of(p);
    if (GC_UNLIKELY(old == 0 || size == 0 || size >= SIZE_CLASS_MAX))
        return realloc_miss(p, size);
    return alloc_stays(old, size) ? p : move_small(p, old, size);
}

GC_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, bytes);
}

/* `alignment` is a power of two. */
static void *aligned(size_t alignment, size_t size)
{
    if (alignment <= GRANULE)
        return malloc(size);
    bool small = size < SIZE_CLASS_MAX;
    void *block = small ? cache_pop(size_class_of_aligned(size + hot.pad, alignment)) : NULL;
    return GC_LIKELY(block != NULL) ? block : aligned_miss(alignment, size);
}

GC_EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (alignment % sizeof(void *) != 0 || !is_power_of_two(alignment))
        return EINVAL;
    int saved = errno;
    void *block = aligned(alignment, size);
    errno = saved;
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}

/* glibc rounds other alignments up to the next power of two. */
GC_EXPORT void *memalign(size_t alignment, size_t size)
{
    if (alignment > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    size_t power = GRANULE;
    while (power < alignment)
        power *= 2;
    return aligned(power, size);
}

GC_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

GC_EXPORT void *valloc(size_t size)
{
    return aligned(PAGE_SIZE, size);
}

GC_EXPORT void *pvalloc(size_t size)
{
    if (size > SIZE_MAX - PAGE_SIZE) {
        errno = ENOMEM;
        return NULL;
    }
    return aligned(PAGE_SIZE, align_up(size, PAGE_SIZE));
}

GC_EXPORT size_t malloc_usable_size(void *p)
{
    size_t size = cache_size_of(p);
    if (GC_LIKELY(size != 0))
        return size - hot.pad;
    runtime_start();
    return alloc_usable_size(p);
}

GC_EXPORT void free_sized(void *p, size_t size)
{
    (void)size;
    free(p);
}

GC_EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    free(p);
}

GC_EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    runtime_start();
    return relaxed_load(&hot.granules) != 0 && heap_trim() != 0;
}

/* What old programs, linked before glibc 2.26, call. */
GC_EXPORT void cfree(void *p)
{
    free(p);
}

/* glibc's parameters mean nothing here: they are accepted, and refused as glibc refuses them.
 * M_PERTURB too: the fast path looks at no option, so that blocks are filled from the start
 * (junk=1, zero_on_free=1) or not at all. */
GC_EXPORT int mallopt(int parameter, int value)
{
    return parameter != M_MXFAST || (value >= 0 && value <= MXFAST_MOST);
}

/* arena: bytes of slabs that have memory, in use or free, but for large blocks; hblks, hblkhd:
 * these; uordblks: in use, cached blocks included. A free slab that was given back to the kernel,
 * or that has never been written, is not counted. */
GC_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct mallinfo2 m = {0};
    if (!runtime_started() || relaxed_load(&hot.granules) == 0)
        return m;
    struct page_heap_stats pages = page_heap_stats();
    size_t large = (size_t)relaxed_load(&heap_stats.large);
    size_t slabs = pages.top_slabs - pages.free_slabs + pages.dirty_slabs;
    size_t all = slabs << SLAB_SHIFT;
    m.hblks = relaxed_load(&heap_stats.large_count);
    m.hblkhd = large;
    m.arena = all - size_min(large, all);
    m.uordblks = (size_t)heap_used() - size_min(large, (size_t)heap_used());
    m.fordblks = m.arena - size_min(m.uordblks, m.arena);
    m.ordblks = pages.dirty_slabs;
    m.keepcost = size_min((size_t)pages.dirty_slabs << SLAB_SHIFT, m.fordblks);
    return m;
}

static int as_int(size_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int)value;
}

GC_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){.arena = as_int(m.arena), .ordblks = as_int(m.ordblks),
                             .hblks = as_int(m.hblks), .hblkhd = as_int(m.hblkhd),
                             .uordblks = as_int(m.uordblks), .fordblks = as_int(m.fordblks),
                             .keepcost = as_int(m.keepcost)};
}

static void write_stats(void)
{
    struct mallinfo2 m = mallinfo2();
    fprintf(stderr, "Arena 0:\nsystem bytes     = %10zu\nin use bytes     = %10zu\n", m.arena,
            m.uordblks);
    fprintf(stderr, "Total (incl. mmap):\nsystem bytes     = %10zu\nin use bytes     = %10zu\n",
            m.arena + m.hblkhd, m.uordblks + m.hblkhd);
    fprintf(stderr, "large blocks     = %10zu\nlarge bytes      = %10zu\n", m.hblks, m.hblkhd);
    struct runtime_trust t = runtime_trust();
    fprintf(stderr, "Collector:\ncycles           = %10u\nreclaimed blocks = %10lu\n", t.cycles,
            t.reclaimed_blocks);
    fprintf(stderr, "contradictions   = %10lu\nprobation passed = %10u of %u\n", t.contradictions,
            t.passed, t.needed);
    fprintf(stderr, "interlock        = %s\n", t.interlock != NULL ? t.interlock : "none");
}

/* No point of cancellation, though a stream is written. */
GC_EXPORT void malloc_stats(void)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    write_stats();
    pthread_setcancelstate(before, &before);
}

/* Bytes of slabs ever used. */
static size_t most_used(void)
{
    bool any = runtime_started() && relaxed_load(&hot.granules) != 0;
    return any ? (size_t)page_heap_stats().top_slabs << SLAB_SHIFT : 0;
}

/* One heap, whatever the threads; no list of sizes. */
GC_EXPORT int malloc_info(int flags, FILE *stream)
{
    if (flags != 0)
        return EINVAL;
    struct mallinfo2 m = mallinfo2();
    size_t most = most_used(); /* after: it only grows */
    fprintf(stream,
            "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n"
            "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
            "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
            "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
            "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n"
            "</heap>\n",
            m.ordblks, m.fordblks, m.arena, most, m.arena, m.arena);
    fprintf(stream,
            "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
            "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
            "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
            "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
            "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n"
            "</malloc>\n",
            m.ordblks, m.fordblks, m.hblks, m.hblkhd, m.arena, most, m.arena, m.arena);
    return 0;
}
