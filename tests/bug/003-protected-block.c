/* 003-protected-block -- a program may take away the right to read a page of its own heap block.
 *
 * Coroutine libraries put guard pages into malloc'ed stacks. The marker read such a block by plain
 * loads and died. What the page holds still counts: the only pointer to another block lies in it.
 * Runs with a cycle every 100 allocations, each block reclaimed as soon as it is unreachable. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, PAGES = 3, ALLOCATIONS = 50000, SIZE = 64 };

static char *guarded;

__attribute__((noinline)) static void hide(void)
{
    char *secret = malloc(SIZE);
    memset(secret, 0x5a, SIZE);
    memcpy(guarded + PAGE + 128, &secret, sizeof(secret));
}

static int intact(void)
{
    char *secret;
    memcpy(&secret, guarded + PAGE + 128, sizeof(secret));
    for (int i = 0; i < SIZE; i++)
        if (secret[i] != 0x5a)
            return 0;
    return 1;
}

int main(void)
{
    void *block = NULL;
    if (posix_memalign(&block, PAGE, PAGES * PAGE) != 0)
        return 2;
    guarded = block;
    hide();
    if (mprotect(guarded + PAGE, PAGE, PROT_NONE) != 0)
        return 2;
    for (int i = 0; i < ALLOCATIONS; i++) {
        char *leaked = malloc(SIZE);
        memset(leaked, i, SIZE);
        __asm__ volatile("" : : "r"(leaked) : "memory");
    }
    if (mprotect(guarded + PAGE, PAGE, PROT_READ | PROT_WRITE) != 0)
        return 2;
    if (!intact())
        printf("the block behind the protected page was reclaimed\n");
    return !intact();
}
