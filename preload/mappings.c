/* mappings.c -- a program that changes the mapping of a block.
 *
 * mprotect or mmap(MAP_FIXED) on pages inside a block is not forbidden (guard pages of stacks that
 * lie in the heap). While a mark is under way the marker may be reading just there, and would die
 * of it; so it is told before. And all of them pass the gate at which a mapping is armed
 * (map_gate.h). */
#include "base/base.h"
#include "gc/map_gate.h"
#include "gc/roots.h"
#include "heap/meta.h"
#include "real.h"
#include "runtime.h"
#include "sys/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/shm.h>

static bool in_heap(const void *start, size_t size)
{
    uintptr_t low = (uintptr_t)start;
    return size != 0 && low < relaxed_load(&arena.end) && low + size > arena.base;
}

static bool begin(const void *start, size_t size)
{
    real_resolve();
    bool heap = in_heap(start, size);
    if (heap)
        runtime_heap_mapping_begin();
    map_gate_enter();
    return heap;
}

static void end(bool heap)
{
    int saved = errno;
    map_gate_leave();
    if (heap)
        runtime_heap_mapping_end();
    errno = saved;
}

#define ANNOUNCED(start, size, type, call) \
    bool heap = begin(start, size); \
    type result = call; \
    end(heap); \
    return result

/* Under both of its names; <sys/mman.h> would turn the one into the other. */
#define MMAP(function, symbol) \
    GC_EXPORT void *function(void *, size_t, int, int, int, off_t) __asm__(symbol); \
    void *function(void *start, size_t size, int protection, int flags, int fd, off_t offset) \
    { \
        if (flags & MAP_FIXED) \
            roots_note_unmap(); \
        ANNOUNCED(start, flags &MAP_FIXED ? size : 0, void *, \
                  real.mmap(start, size, protection, flags, fd, offset)); \
    }

MMAP(map, "mmap")
MMAP(map64, "mmap64")

GC_EXPORT int munmap(void *start, size_t size)
{
    roots_note_unmap();
    ANNOUNCED(start, size, int, real.munmap(start, size));
}

GC_EXPORT int mprotect(void *start, size_t size, int protection)
{
    ANNOUNCED(start, size, int, real.mprotect(start, size, protection));
}

GC_EXPORT int pkey_mprotect(void *start, size_t size, int protection, int key)
{
    ANNOUNCED(start, size, int, real.pkey_mprotect(start, size, protection, key));
}

GC_EXPORT void *mremap(void *start, size_t old_size, size_t new_size, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    void *to = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) ? va_arg(list, void *) : NULL;
    va_end(list);
    bool to_heap = flags & MREMAP_FIXED && in_heap(to, new_size);
    roots_note_unmap();
    bool heap = begin(to_heap ? to : start, to_heap ? new_size : old_size);
    mem_move_begin();
    void *result = real.mremap(start, old_size, new_size, flags, to);
    mem_move_end();
    end(heap);
    return result;
}

GC_EXPORT int shmdt(const void *start)
{
    real_resolve();
    roots_note_unmap();
    return real.shmdt(start);
}

GC_EXPORT void *shmat(int id, const void *start, int flags)
{
    real_resolve();
    if (flags & SHM_REMAP)
        roots_note_unmap();
    return real.shmat(id, start, flags);
}
