/* foreign.c -- recognising and passing on what is not ours.
 *
 * `_dl_find_object` (glibc 2.35) tells without a lock whether an address lies in a loaded object.
 * libc's malloc never hands out such an address, with one exception: ld.so's minimal malloc, before
 * relocation, uses the tail of ld.so's own data; glibc never frees these blocks for real, so
 * neither do we. */
#include "mutator/foreign.h"

#include "base/atomic.h"

#include <dlfcn.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *p);
/* A function of ld.so's: its address tells ld.so from other objects. A variable's would not: in a
 * program that has a copy relocation for it, the variable lies in the program. */
extern void _dl_mcount(uintptr_t from, uintptr_t self);

static _Atomic uint64_t served;

static uintptr_t stack_pointer(void)
{
    return (uintptr_t)__builtin_frame_address(0);
}

static bool in_loader(const struct dl_find_object *object)
{
    uintptr_t probe = (uintptr_t)&_dl_mcount;
    return probe >= (uintptr_t)object->dlfo_map_start && probe < (uintptr_t)object->dlfo_map_end;
}

enum foreign_origin foreign_origin(const void *p, uintptr_t stack_hint)
{
    struct dl_find_object object;
    uintptr_t address = (uintptr_t)p;
    if (!is_aligned(address, GRANULE))
        return FOREIGN_MISALIGNED;
    if (_dl_find_object((void *)address, &object) == 0)
        return in_loader(&object) ? FOREIGN_LOADER : FOREIGN_STATIC;
    if (address >= stack_pointer() && address < stack_hint)
        return FOREIGN_STACK;
    return FOREIGN_LIBC;
}

const char *foreign_origin_text(enum foreign_origin origin)
{
    static const char *const texts[] = {
        [FOREIGN_LIBC] = "is libc's",
        [FOREIGN_LOADER] = "is the loader's",
        [FOREIGN_MISALIGNED] = "is not a multiple of 16, so no allocator's block",
        [FOREIGN_STATIC] = "is in the static data or code of the program or a library",
        [FOREIGN_STACK] = "is on this thread's stack",
    };
    return texts[origin];
}

/* libc sets its malloc up at the first call, and takes that for the only thread's: pthread_create
 * calls calloc. When all else is ours, two threads can be the first, each counts for the other, and
 * libc aborts when the second leaves (glibc 2.36 malloc.c, ptmalloc_init; arena.c,
 * attached_threads). */
void foreign_prepare(void)
{
    static _Atomic bool prepared;
    if (!atomic_exchange(&prepared, true))
        __libc_free(__libc_malloc(1));
}

static void *note_served(void *p)
{
    if (p != NULL)
        relaxed_add(&served, 1);
    return p;
}

void *foreign_malloc(size_t size)
{
    return note_served(__libc_malloc(size));
}

void *foreign_calloc(size_t size)
{
    return note_served(__libc_calloc(1, size));
}

void *foreign_realloc(void *p, size_t size)
{
    return __libc_realloc(p, size);
}

void *foreign_memalign(size_t alignment, size_t size)
{
    return note_served(__libc_memalign(alignment, size));
}

void foreign_free(void *p)
{
    __libc_free(p);
}

/* libc's malloc_usable_size is shadowed by ours and has no other name, so the chunk header is read:
 * the size lies before the block, with three flag bits, bit 1 = mapped on its own (malloc.c). */
size_t foreign_usable_size(const void *p)
{
    size_t header = ((const size_t *)p)[-1];
    size_t chunk = header & ~(size_t)7;
    size_t overhead = header & 2 ? 2 * sizeof(size_t) : sizeof(size_t);
    return chunk > overhead ? chunk - overhead : 0;
}

uint64_t foreign_served(void)
{
    return relaxed_load(&served);
}
