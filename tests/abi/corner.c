/* corner.c -- what glibc 2.36 promises of malloc and its relatives, case by case.   corner [BIG]
 *
 * Passes on glibc itself, which makes it the measure. BIG (megabytes, 64 if not given) bounds the
 * largest realloc. Values that the compiler would see through are passed through OPAQUE(). */
#include <malloc.h>

#include "abi.h"

#define HUGE ((size_t)PTRDIFF_MAX + 1)

extern void free_sized(void *block, size_t size) __attribute__((weak));
extern void free_aligned_sized(void *block, size_t align, size_t size) __attribute__((weak));

static int aligned_to(const void *block, size_t align)
{
    return ((uintptr_t)block & (align - 1)) == 0;
}

static NOINLINE void expect_enomem(void *block)
{
    CHECK(OPAQUE(block) == NULL && errno == ENOMEM);
    errno = 0;
}

static void zero_sizes(void)
{
    char *a = malloc(0), *b = malloc(0), *c = calloc(0, 8), *d = calloc(8, 0);
    CHECK(a && b && c && d && a != b && c != d && b != c);
    CHECK(malloc_usable_size(NULL) == 0);
    free(a);
    free(b);
    free(c);
    free(d);
    free(NULL);
    char *e = realloc(NULL, 0);
    CHECK(e != NULL);
    CHECK(realloc(e, OPAQUE((size_t)0)) == NULL);
}

static void impossible_sizes(void)
{
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 4096, HUGE, HUGE + 4096,
                                    (size_t)PTRDIFF_MAX };
    char *kept = malloc(100);
    CHECK(kept != NULL);
    pattern_fill(kept, 100, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = OPAQUE(sizes[i]);
        errno = 0;
        expect_enomem(malloc(size));
        expect_enomem(calloc(size, 1));
        expect_enomem(calloc(1, size));
        expect_enomem(realloc(NULL, size));
        expect_enomem(realloc(kept, size));
        expect_enomem(memalign(64, size));
        expect_enomem(valloc(size));
        expect_enomem(pvalloc(size));
        void *untouched = kept;
        CHECK(posix_memalign(&untouched, 64, size) == ENOMEM && untouched == kept);
        errno = 0;
    }
    CHECK(pattern_holds(kept, 100, 1));
    free(kept);
}

static void products_that_overflow(void)
{
    char *kept = malloc(100);
    CHECK(kept != NULL);
    pattern_fill(kept, 100, 2);
    errno = 0;
    expect_enomem(calloc(OPAQUE(SIZE_MAX / 2), 3));
    expect_enomem(calloc(3, OPAQUE(SIZE_MAX / 2)));
    expect_enomem(calloc(OPAQUE((size_t)1 << 32), (size_t)1 << 32));
    expect_enomem(reallocarray(NULL, OPAQUE(SIZE_MAX / 2), 3));
    expect_enomem(reallocarray(kept, OPAQUE((size_t)1 << 33), (size_t)1 << 31));
    CHECK(pattern_holds(kept, 100, 2));
    kept = reallocarray(kept, 100, 10);
    CHECK(kept != NULL && pattern_holds(kept, 100, 2));
    free(kept);
}

static void errno_is_preserved(void)
{
    static const size_t sizes[] = { 1, 100, 5000, 100000, 2000000, 50000000 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *block = malloc(sizes[i]);
        CHECK(block != NULL);
        block[0] = 1;
        errno = 77;
        free(OPAQUE(block));
        CHECK(errno == 77);
    }
    errno = 77;
    free(malloc(100));
    CHECK(errno == 77);
    errno = 0;
}

static void posix_alignments(void)
{
    static const size_t bad[] = { 0, 1, 2, 4, 3, 12, 24, 40, 100, 4097 };
    void *block = &block;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        errno = 5;
        CHECK(posix_memalign(&block, OPAQUE(bad[i]), 100) == EINVAL && block == &block);
        CHECK(errno == 5);
    }
    for (size_t align = 8; align <= 64u << 20; align *= 2) {
        for (size_t size = 1; size < 300000; size = size * 7 + 1) {
            CHECK(posix_memalign(&block, align, size) == 0);
            CHECK(block != NULL && aligned_to(block, align) && malloc_usable_size(block) >= size);
            pattern_fill(block, size, 3);
            CHECK(pattern_holds(block, size, 3));
            free(block);
        }
    }
    CHECK(posix_memalign(&block, 64, 0) == 0);
    free(block);
}

/* glibc 2.36 rounds an alignment that is no power of two up to one, in all three. */
static void other_alignments(void)
{
    for (size_t align = 0; align < 5000; align = align < 70 ? align + 1 : align * 2 - 3) {
        size_t power = 1;
        while (power < align)
            power *= 2;
        char *a = memalign(OPAQUE(align), 100), *b = aligned_alloc(OPAQUE(align), 100);
        CHECK(a != NULL && b != NULL && aligned_to(a, power) && aligned_to(b, power));
        CHECK(aligned_to(a, 16) && aligned_to(b, 16));
        a = realloc(a, 1000);
        CHECK(a != NULL);
        free(a);
        free(b);
    }
    errno = 0;
    char *none = memalign(OPAQUE(SIZE_MAX), 8);
    CHECK(OPAQUE(none) == NULL && errno == EINVAL);
    errno = 0;
}

static void pages(void)
{
    for (size_t size = 0; size < 100000; size = size * 3 + 1) {
        char *a = valloc(size), *b = pvalloc(size);
        CHECK(a != NULL && b != NULL && aligned_to(a, 4096) && aligned_to(b, 4096));
        CHECK(malloc_usable_size(b) >= (size + 4095) / 4096 * 4096);
        free(a);
        free(b);
    }
}

static void every_size(void)
{
    for (size_t size = 0; size < 70000; size += size < 2100 ? 1 : 61) {
        char *a = malloc(size), *b = calloc(1, size);
        CHECK(a != NULL && b != NULL && aligned_to(a, 16) && aligned_to(b, 16));
        size_t usable = malloc_usable_size(a);
        CHECK(usable >= size);
        for (size_t i = 0; i < size; i++)
            CHECK(b[i] == 0);
        memset(a, 0xFF, usable);
        memset(b, 0xFF, malloc_usable_size(b));
        free(a);
        free(b);
    }
}

/* Blocks come back dirty from the free lists; calloc must clear them, of every size. */
static void cleared_again(void)
{
    for (size_t size = 1; size < 5000000; size = size * 2 + 1) {
        for (int round = 0; round < 5; round++) {
            char *block = calloc(size / 2 + 1, 2);
            CHECK(block != NULL);
            for (size_t i = 0; i < size / 2 * 2 + 2; i++)
                CHECK(block[i] == 0);
            memset(block, 0xEE, malloc_usable_size(block));
            free(OPAQUE(block));
        }
    }
}

static void resize_steps(size_t first, size_t last)
{
    size_t size = first;
    char *block = malloc(size);
    CHECK(block != NULL);
    pattern_fill(block, size, 8);
    while (size < last) {
        size_t larger = size + size / 8 + 1;
        block = realloc(block, larger);
        CHECK(block != NULL && aligned_to(block, 16) && malloc_usable_size(block) >= larger);
        CHECK(pattern_holds(block, size, 8));
        pattern_fill(block, larger, 8);
        size = larger;
    }
    while (size > first) {
        size = size - size / 8 - 1;
        block = realloc(block, size);
        CHECK(block != NULL && malloc_usable_size(block) >= size && pattern_holds(block, size, 8));
    }
    free(block);
}

static void resize_by_one(void)
{
    char *block = NULL;
    for (size_t size = 1; size < 5000; size++) {
        block = realloc(block, size);
        CHECK(block != NULL);
        block[size - 1] = (char)pattern_byte(size - 1, 4);
    }
    CHECK(pattern_holds(block, 4999, 4));
    for (size_t size = 4999; size > 0; size--) {
        block = realloc(block, size);
        CHECK(block != NULL);
        CHECK(pattern_holds(block, size, 4));
        size -= size > 50 ? 37 : 0;
    }
    free(block);
}

/* One word per page is enough to see that pages kept their place. */
static void resize_big(size_t megabytes)
{
    size_t size = 1 << 20;
    char *block = malloc(size), *neighbour = malloc(3 << 20);
    CHECK(block != NULL && neighbour != NULL);
    pattern_fill(neighbour, 3 << 20, 1);
    for (size_t i = 0; i < size; i += 4096)
        *(size_t *)(block + i) = i;
    for (; size < megabytes << 20; size *= 2) {
        block = realloc(block, size * 2);
        CHECK(block != NULL);
        for (size_t i = 0; i < size; i += 4096)
            CHECK(*(size_t *)(block + i) == i);
        for (size_t i = size; i < size * 2; i += 4096)
            *(size_t *)(block + i) = i;
    }
    for (; size > 1000; size /= 3) {
        block = realloc(block, size);
        CHECK(block != NULL);
        for (size_t i = 0; i + 8 <= size; i += 4096)
            CHECK(*(size_t *)(block + i) == i);
    }
    CHECK(pattern_holds(neighbour, 3 << 20, 1));
    free(block);
    free(neighbour);
}

static void aligned_blocks_resize(void)
{
    for (size_t align = 32; align <= 1 << 20; align *= 2) {
        char *block = memalign(align, 3000);
        CHECK(block != NULL);
        pattern_fill(block, 3000, 2);
        block = realloc(block, 300000);
        CHECK(block != NULL && pattern_holds(block, 3000, 2));
        block = realloc(block, 2000);
        CHECK(block != NULL && pattern_holds(block, 2000, 2));
        free(block);
    }
}

static void sized_frees(void)
{
    if (free_sized != NULL)
        free_sized(malloc(100), 100);
    if (free_aligned_sized != NULL)
        free_aligned_sized(aligned_alloc(64, 128), 64, 128);
}

static void statistics(void)
{
    static char text[1 << 20];
    size_t size = 40u << 20;
    struct mallinfo2 before = mallinfo2();
    char *block = malloc(size);
    CHECK(block != NULL);
    struct mallinfo2 after = mallinfo2();
    CHECK(after.uordblks + after.hblkhd >= before.uordblks + before.hblkhd + size);
    CHECK(after.uordblks < (size_t)1 << 40 && after.arena < (size_t)1 << 42);
    free(block);
    FILE *stream = fmemopen(text, sizeof text, "w");
    CHECK(stream != NULL && malloc_info(0, stream) == 0 && fclose(stream) == 0);
    CHECK(strncmp(text, "<malloc", 7) == 0 && strstr(text, "</malloc>") != NULL);
    errno = 0;
    CHECK(malloc_info(1, stdout) != 0);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_ARENA_MAX, 2) == 1);
    int trimmed = malloc_trim(0);
    CHECK(trimmed == 0 || trimmed == 1);
}

int main(int argc, char **argv)
{
    zero_sizes();
    impossible_sizes();
    products_that_overflow();
    errno_is_preserved();
    posix_alignments();
    other_alignments();
    pages();
    every_size();
    cleared_again();
    resize_steps(1, 100000);
    resize_steps(60000, 9000000);
    resize_by_one();
    resize_big(argc > 1 ? strtoul(argv[1], NULL, 10) : 64);
    aligned_blocks_resize();
    sized_frees();
    statistics();
    puts("all corners hold");
    return 0;
}
