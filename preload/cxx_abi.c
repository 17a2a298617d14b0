/* cxx_abi.c -- operator new and delete, under their mangled names (Itanium C++ ABI).
 *
 * C has no exceptions, so std::bad_alloc is thrown by libstdc++'s own __throw_bad_alloc, and the
 * new handler asked of std::get_new_handler: weak references, bound when libstdc++ is loaded with
 * the program, else looked up when memory has run out. The nothrow forms have to catch what a new
 * handler throws; when memory has run out they leave that to libstdc++'s own, which call our
 * throwing forms. */
#include "base/base.h"

#include <dlfcn.h>
#include <stdlib.h>

typedef void new_handler(void);

extern void throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));
extern new_handler *get_new_handler(void) __asm__("_ZSt15get_new_handlerv") __attribute__((weak));

static void *find(void *bound, const char *name)
{
    return bound != NULL ? bound : dlsym(RTLD_DEFAULT, name);
}

static new_handler *current_handler(void)
{
    union {
        void *address;
        new_handler *(*call)(void);
    } get = {.address = find((void *)(uintptr_t)get_new_handler, "_ZSt15get_new_handlerv")};
    return get.address == NULL ? NULL : get.call();
}

static void throw_out_of_memory(void)
{
    union {
        void *address;
        void (*call)(void);
    } throw = {.address = find((void *)(uintptr_t)throw_bad_alloc, "_ZSt17__throw_bad_allocv")};
    if (throw.address != NULL)
        throw.call();
    abort();
}

static void *allocate(size_t size, size_t alignment)
{
    return alignment <= GRANULE ? malloc(size) : aligned_alloc(alignment, size);
}

/* [new.delete.single]: try, call the handler, try again, until there is none. */
static GC_COLD void *out_of_memory(size_t size, size_t alignment)
{
    void *block = NULL;
    while (block == NULL) {
        new_handler *handler = current_handler();
        if (handler == NULL)
            throw_out_of_memory();
        handler();
        block = allocate(size, alignment);
    }
    return block;
}

static void *new_block(size_t size, size_t alignment)
{
    void *block = allocate(size, alignment);
    return GC_LIKELY(block != NULL) ? block : out_of_memory(size, alignment);
}

static GC_COLD void *out_of_memory_nothrow(const char *symbol, size_t size, size_t alignment,
                                           const void *tag)
{
    union {
        void *address;
        void *(*plain)(size_t, const void *);
        void *(*aligned)(size_t, size_t, const void *);
    } next = {.address = dlsym(RTLD_NEXT, symbol)};
    if (next.address == NULL)
        return NULL;
    return alignment == 0 ? next.plain(size, tag) : next.aligned(size, alignment, tag);
}

static void *new_block_nothrow(const char *symbol, size_t size, size_t alignment, const void *tag)
{
    void *block = allocate(size, alignment);
    return GC_LIKELY(block != NULL) ? block : out_of_memory_nothrow(symbol, size, alignment, tag);
}

#define NEW(symbol, function, parameters, alignment) \
    GC_EXPORT void *function parameters __asm__(symbol); \
    void *function parameters \
    { \
        return new_block(size, alignment); \
    }

#define NEW_NOTHROW(symbol, function, parameters, alignment) \
    GC_EXPORT void *function parameters __asm__(symbol); \
    void *function parameters \
    { \
        return new_block_nothrow(symbol, size, alignment, tag); \
    }

#define DELETE(symbol, function, ...) \
    GC_EXPORT void function(void *p, ##__VA_ARGS__) __asm__(symbol); \
    void function(void *p, ##__VA_ARGS__) \
    { \
        free(p); \
    }

#pragma GCC diagnostic ignored "-Wunused-parameter"

NEW("_Znwm", cxx_new, (size_t size), 0)
NEW("_Znam", cxx_new_array, (size_t size), 0)
NEW_NOTHROW("_ZnwmRKSt9nothrow_t", cxx_new_nothrow, (size_t size, const void *tag), 0)
NEW_NOTHROW("_ZnamRKSt9nothrow_t", cxx_new_array_nothrow, (size_t size, const void *tag), 0)
NEW("_ZnwmSt11align_val_t", cxx_new_aligned, (size_t size, size_t align), align)
NEW("_ZnamSt11align_val_t", cxx_new_array_aligned, (size_t size, size_t align), align)
NEW_NOTHROW("_ZnwmSt11align_val_tRKSt9nothrow_t", cxx_new_aligned_nothrow,
    (size_t size, size_t align, const void *tag), align)
NEW_NOTHROW("_ZnamSt11align_val_tRKSt9nothrow_t", cxx_new_array_aligned_nothrow,
    (size_t size, size_t align, const void *tag), align)

DELETE("_ZdlPv", cxx_delete)
DELETE("_ZdaPv", cxx_delete_array)
DELETE("_ZdlPvm", cxx_delete_sized, size_t size)
DELETE("_ZdaPvm", cxx_delete_array_sized, size_t size)
DELETE("_ZdlPvRKSt9nothrow_t", cxx_delete_nothrow, const void *tag)
DELETE("_ZdaPvRKSt9nothrow_t", cxx_delete_array_nothrow, const void *tag)
DELETE("_ZdlPvSt11align_val_t", cxx_delete_aligned, size_t align)
DELETE("_ZdaPvSt11align_val_t", cxx_delete_array_aligned, size_t align)
DELETE("_ZdlPvmSt11align_val_t", cxx_delete_sized_aligned, size_t size, size_t align)
DELETE("_ZdaPvmSt11align_val_t", cxx_delete_array_sized_aligned, size_t size, size_t align)
DELETE("_ZdlPvSt11align_val_tRKSt9nothrow_t", cxx_delete_aligned_nothrow, size_t align,
       const void *tag)
DELETE("_ZdaPvSt11align_val_tRKSt9nothrow_t", cxx_delete_array_aligned_nothrow, size_t align,
       const void *tag)
