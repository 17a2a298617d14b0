/* bad_free.c -- one program error a run.   bad_free KIND
 *
 * Prints the address that it is about to free, and that of the block it belongs to (or "-"); under
 * the library it must then die of SIGABRT after one line that names both. */
#include <malloc.h>
#include <pthread.h>

#include "abi.h"

static long long global_words[16];

static void announce(const void *bad, const void *block)
{
    if (block != NULL)
        printf("%p %p\n", bad, block);
    else
        printf("%p -\n", bad);
    fflush(stdout);
}

static void free_at(char *bad, char *block)
{
    announce(bad, block);
    free(OPAQUE(bad));
}

static void double_free(size_t size, int neighbours)
{
    char *before[64], *after[64];
    for (int i = 0; i < 64; i++)
        CHECK((before[i] = malloc(size)) != NULL);
    char *block = malloc(size);
    CHECK(block != NULL);
    for (int i = 0; i < 64; i++)
        CHECK((after[i] = malloc(size)) != NULL);
    free(OPAQUE(block));
    for (int i = 0; i < neighbours; i++) {
        free(before[i]);
        free(after[i]);
    }
    free_at(block, block);
}

static void *free_in_thread(void *block)
{
    free(block);
    return NULL;
}

static void double_free_across_threads(void)
{
    char *block = malloc(100);
    CHECK(block != NULL);
    char *hidden = OPAQUE(block);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_in_thread, hidden) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    free_at(hidden, hidden);
}

static void interior(size_t size, size_t offset)
{
    char *block = malloc(size);
    CHECK(block != NULL);
    free_at(block + offset, block);
}

static void never_allocated(void)
{
    /* Slots behind the newest block of a class not used otherwise: the first that is free. */
    char *block = malloc(3000);
    CHECK(block != NULL);
    size_t step = malloc_usable_size(block);
    free_at(OPAQUE(block) + step * 3, NULL);
}

/* In the arena, but far beyond what was ever used. */
static void beyond(void)
{
    char *block = malloc(100);
    CHECK(block != NULL);
    free_at(OPAQUE(block) + (8ul << 30), NULL);
}

static void stack_address(void)
{
    long long words[16] = { 0 };
    free_at((char *)OPAQUE(&words[2]), NULL);
}

int main(int argc, char **argv)
{
    static char output[4096]; /* what is printed takes no block, and so not the one just freed */
    setvbuf(stdout, output, _IOFBF, sizeof output);
    CHECK(argc == 2);
    const char *kind = argv[1];
    if (strcmp(kind, "double_small") == 0)
        double_free(100, 0);
    else if (strcmp(kind, "double_large") == 0)
        double_free(300000, 0);
    else if (strcmp(kind, "double_huge") == 0)
        double_free(20000000, 0);
    else if (strcmp(kind, "double_neighbours") == 0)
        double_free(100, 64);
    else if (strcmp(kind, "double_thread") == 0)
        double_free_across_threads();
    else if (strcmp(kind, "interior_small") == 0)
        interior(1000, 48);
    else if (strcmp(kind, "interior_large") == 0)
        interior(3000000, 1 << 20);
    else if (strcmp(kind, "misaligned") == 0)
        interior(1000, 3);
    else if (strcmp(kind, "stack") == 0)
        stack_address();
    else if (strcmp(kind, "data") == 0)
        free_at((char *)OPAQUE(&global_words[2]), NULL);
    else if (strcmp(kind, "never") == 0)
        never_allocated();
    else if (strcmp(kind, "beyond") == 0)
        beyond();
    else
        CHECK(!"a known kind");
    puts("still here");
    return 0;
}
