/* mutator_foreign.c -- where addresses that are not ours come from, and libc's blocks. */
#include "mutator/foreign.h"

#include "unit.h"

#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

extern void *__libc_stack_end;
extern void _dl_mcount(uintptr_t from, uintptr_t self);

static char initialised[64] __attribute__((aligned(16))) = "data";
static char zero[64] __attribute__((aligned(16)));

static void test_origin(void)
{
    uintptr_t hint = (uintptr_t)__libc_stack_end;
    char local[64] __attribute__((aligned(16))) = "";
    void *small = malloc(10), *big = malloc(10 << 20);
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(foreign_origin(small, hint) == FOREIGN_LIBC);
    EXPECT(foreign_origin(big, hint) == FOREIGN_LIBC);
    EXPECT(foreign_origin(mapped, hint) == FOREIGN_LIBC); /* as far as can be told */
    EXPECT(foreign_origin((char *)small + 8, hint) == FOREIGN_MISALIGNED);
    EXPECT(foreign_origin(initialised, hint) == FOREIGN_STATIC);
    EXPECT(foreign_origin(zero, hint) == FOREIGN_STATIC);
    EXPECT(foreign_origin((void *)((uintptr_t)stdout & ~(uintptr_t)15), hint) == FOREIGN_STATIC);
    EXPECT(foreign_origin(local, hint) == FOREIGN_STACK);
    EXPECT(foreign_origin(local, 0) == FOREIGN_LIBC); /* nothing known of the stack */
    EXPECT(foreign_origin((void *)((uintptr_t)&_dl_mcount & ~(uintptr_t)15), hint) ==
           FOREIGN_LOADER);
    EXPECT(_r_debug.r_version > 0); /* so that the linker copies it here, which must not matter */
    free(small);
    free(big);
    munmap(mapped, 4096);
}

static void *on_thread(void *data)
{
    char local[64] __attribute__((aligned(16))) = "", *outer = data;
    uintptr_t hint = (uintptr_t)__builtin_frame_address(0);
    EXPECT(foreign_origin(local, hint + 4096) == FOREIGN_STACK);
    EXPECT(foreign_origin(outer, hint + 4096) == FOREIGN_LIBC); /* another thread's */
    return NULL;
}

static void test_other_stack(void)
{
    pthread_t thread;
    char local[64] __attribute__((aligned(16))) = "";
    pthread_create(&thread, NULL, on_thread, local);
    pthread_join(thread, NULL);
}

static void test_texts(void)
{
    for (enum foreign_origin o = FOREIGN_LIBC; o <= FOREIGN_STACK; o++)
        EXPECT(strncmp(foreign_origin_text(o), "is ", 3) == 0);
    EXPECT(strstr(foreign_origin_text(FOREIGN_STACK), "stack") != NULL);
}

/* The chunk header says what libc's own function says, for small and mapped blocks. */
static void test_usable_size(void)
{
    for (size_t size = 1; size < (size_t)4 << 20; size = size * 5 / 3 + 1) {
        void *p = foreign_malloc(size), *q = foreign_memalign(256, size);
        EXPECT(p != NULL && foreign_usable_size(p) == malloc_usable_size(p));
        EXPECT(q != NULL && foreign_usable_size(q) == malloc_usable_size(q));
        EXPECT(foreign_usable_size(p) >= size && is_aligned((uintptr_t)q, 256));
        memset(p, 1, foreign_usable_size(p));
        foreign_free(p);
        foreign_free(q);
    }
}

static void test_served(void)
{
    uint64_t before = foreign_served();
    char *p = foreign_malloc(100), *q = foreign_calloc(1000), *r = foreign_memalign(64, 5);
    EXPECT(foreign_served() == before + 3);
    for (unsigned i = 0; i < 1000; i++)
        EXPECT(q[i] == 0);
    strcpy(p, "contents");
    p = foreign_realloc(p, 100000);
    EXPECT_TEXT(p, "contents");
    EXPECT(foreign_served() == before + 3); /* a block that was counted */
    errno = 0;
    EXPECT(foreign_malloc(PTRDIFF_MAX) == NULL && errno == ENOMEM);
    EXPECT(foreign_served() == before + 3); /* refused, not served */
    foreign_free(p);
    foreign_free(q);
    foreign_free(r);
    foreign_free(NULL);
}

UNIT_MAIN(TEST(test_origin), TEST(test_other_stack), TEST(test_texts), TEST(test_usable_size),
          TEST(test_served))
