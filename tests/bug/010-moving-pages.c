/* 010-moving-pages.c -- large blocks that grow while the mprotect barrier is up.
 *
 * realloc moves the pages of a large block by way of a mapping that exists for some microseconds.
 * The collector saw it among the program's, shielded it, and found nothing there when the phase
 * ended: "check failed: protect(unit, next, PROT_READ | PROT_WRITE)". It took some thousands of
 * moves; so several threads move, and cycles follow each other closely. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 2, MOVES = 1500, SMALL = 1 << 20, LARGE = 3 << 20, STEP = 4096 };

static int wrong;

static void grow(unsigned seed)
{
    unsigned char *block = malloc(SMALL);
    if (block == NULL)
        exit(2);
    for (size_t i = 0; i < SMALL; i += STEP)
        block[i] = (unsigned char)(i / STEP + seed);
    block = realloc(block, LARGE);
    if (block == NULL)
        exit(2);
    for (size_t i = 0; i < SMALL; i += STEP)
        wrong += block[i] != (unsigned char)(i / STEP + seed);
    free(block);
}

static void *move(void *data)
{
    for (unsigned i = 0; i < MOVES; i++) {
        grow(i);
        free(strdup("a cycle comes by allocations"));
    }
    return data;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, move, NULL) != 0)
            return 2;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    puts(wrong == 0 ? "ok" : "a page did not arrive");
    return wrong != 0;
}
