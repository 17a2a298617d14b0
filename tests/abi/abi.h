/* abi.h -- what the small programs of this directory share.
 *
 * They are programs as anyone would write them: they know nothing of the library, pass without it,
 * and say on standard error and by exit status 1 what went wrong. Blocks carry a pattern made of a
 * seed and their size, so that a byte changed by somebody else's allocation is found. */
#ifndef ABI_H
#define ABI_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CHECK(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: failed: %s (errno %d)\n", __FILE__, __LINE__, #x, errno); \
            _exit(1); \
        } \
    } while (0)

#define NOINLINE __attribute__((noinline))
#define EXPORT __attribute__((visibility("default")))

/* Hides from the compiler where a value comes from and that it is known. */
#ifdef __cplusplus
extern "C++" {
template <typename T> static inline T opaque_copy(T value)
{
    __asm__ volatile("" : "+r"(value) : : "memory");
    return value;
}
}
#define OPAQUE(value) opaque_copy(value)
#else
#define OPAQUE(value) \
    ({ \
        __typeof__((value) + 0) opaque_value = (value); \
        __asm__ volatile("" : "+r"(opaque_value) : : "memory"); \
        opaque_value; \
    })
#endif

static inline unsigned char pattern_byte(size_t i, unsigned seed)
{
    return (unsigned char)((i * 131 + seed * 29 + 7) >> 1);
}

static inline void pattern_fill(void *block, size_t size, unsigned seed)
{
    unsigned char *bytes = (unsigned char *)block;
    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern_byte(i, seed);
}

static inline int pattern_holds(const void *block, size_t size, unsigned seed)
{
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != pattern_byte(i, seed))
            return 0;
    return 1;
}

/* Overwrites the part of the stack that earlier calls used, and the caller-saved registers. */
EXPORT void stack_clear(void);

/* Runs a function in a thread of its own, whose stack is gone afterwards: no word of it remains. */
EXPORT void run_and_forget(void (*function)(void));

/* Allocates `total` bytes in blocks of mixed sizes, all bytes written; frees them unless `leak`. */
EXPORT void pressure(size_t total, int leak);

/* What a program can be told to do, by the name of a function kind_NAME. */
struct kind {
    const char *name;
    void (*run)(void);
};
#define KIND(name) { #name, kind_##name }

/* Runs the kind of that name, and ends the process well. */
EXPORT __attribute__((noreturn)) void run_kind(const struct kind *kinds, size_t count,
                                               const char *name);

/* A small generator, so that every run does the same. */
static inline uint32_t random_next(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

#ifdef __cplusplus
}
#endif

#endif
