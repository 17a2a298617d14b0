/* broken.c -- a malloc with a bug, to see whether the model tests would notice one.
 *
 * glibc's malloc under a thin layer that, once in PERIOD calls, does what BROKEN names:
 *
 *     overlap    malloc returns the middle of the block it returned the time before
 *     scribble   free writes one byte into the block that malloc returned last
 *     calloc     calloc returns memory with one byte that is not zero
 *     realloc    realloc loses the last byte
 *     align      memalign and the like return 16 bytes beyond what was asked for
 *     enomem     malloc fails without setting errno where it must fail
 *     early      malloc frees a block that it gave out some calls before, as a collector does that
 *                has not seen a pointer
 *
 * Only blocks of 96 to 4,096 bytes are hit, so that the C library's own small ones mostly stay
 * whole. A test preloads it and expects a model test to fail; nothing else should link it. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PERIOD = 500, LEAST = 96, MOST = 4096, REMEMBERED = 16 };

#define EXPORT __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

EXPORT void *aligned_alloc(size_t align, size_t size);
EXPORT void *memalign(size_t align, size_t size);
EXPORT int posix_memalign(void **out, size_t align, size_t size);
EXPORT size_t malloc_usable_size(void *p);

static _Atomic(unsigned char *) last, remembered[REMEMBERED];
static _Atomic unsigned calls;

/* What `overlap` gave out last. */
static _Atomic(unsigned char *) planted;
static _Atomic size_t planted_size;

static int is_bug(const char *name)
{
    const char *bug = getenv("BROKEN");
    return bug && !strcmp(bug, name);
}

/* Is this call the one in PERIOD, and the bug `name` the one that was asked for? */
static int strikes(const char *name, size_t size)
{
    if (size < LEAST || size > MOST || !is_bug(name))
        return 0;
    return atomic_fetch_add(&calls, 1) % PERIOD == PERIOD - 1;
}

/* Keeps the last few blocks; returns the one that falls out. */
static unsigned char *remember(unsigned char *p)
{
    static _Atomic unsigned at;
    return atomic_exchange(&remembered[atomic_fetch_add(&at, 1) % REMEMBERED], p);
}

static void forget(unsigned char *p)
{
    unsigned char *expected = p;
    atomic_compare_exchange_strong(&last, &expected, NULL);
    for (unsigned i = 0; i < REMEMBERED; i++) {
        expected = p;
        atomic_compare_exchange_strong(&remembered[i], &expected, NULL);
    }
}

EXPORT void *malloc(size_t size)
{
    unsigned char *before = atomic_load(&last);
    if (before && strikes("overlap", size)) {
        atomic_store(&planted_size, size);
        atomic_store(&planted, before + LEAST / 2);
        return before + LEAST / 2;
    }
    unsigned char *p = __libc_malloc(size);
    if (!p && is_bug("enomem"))
        errno = 0;
    if (p && size >= LEAST && size <= MOST) {
        atomic_store(&last, p);
        unsigned char *old = remember(p);
        if (old && strikes("early", size))
            __libc_free(old);
    }
    return p;
}

EXPORT void free(void *p)
{
    forget(p);
    unsigned char *victim = atomic_load(&last);
    if (victim && strikes("scribble", LEAST))
        victim[LEAST / 2] ^= 0x55;
    __libc_free(p);
}

EXPORT void *calloc(size_t count, size_t size)
{
    unsigned char *p = __libc_calloc(count, size);
    if (p && strikes("calloc", count * size))
        p[LEAST / 2] = 1;
    return p;
}

EXPORT void *realloc(void *p, size_t size)
{
    forget(p);
    unsigned char *to = __libc_realloc(p, size);
    if (p && to && strikes("realloc", size))
        to[LEAST / 4] ^= 0x55;
    return to;
}

EXPORT void *memalign(size_t align, size_t size)
{
    unsigned char *p = __libc_memalign(align, size + 32);
    return p && align > 16 && strikes("align", size) ? p + 16 : p;
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    void *p = memalign(align, size);
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

/* glibc would look for the header of a block that has none. */
EXPORT size_t malloc_usable_size(void *p)
{
    if (p == atomic_load(&planted))
        return atomic_load(&planted_size);
    size_t (*next)(void *);
    *(void **)&next = dlsym(RTLD_NEXT, "malloc_usable_size");
    return next(p);
}
