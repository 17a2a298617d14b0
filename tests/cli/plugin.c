/* plugin.c -- a plugin, built twice with another name, PLACE, of the same code. */
#include <stdlib.h>

void plugin(void);

static __attribute__((noinline)) void PLACE(void)
{
    volatile char *block = malloc(160);
    block[0] = 1;
}

__attribute__((visibility("default"))) void plugin(void)
{
    PLACE();
    __asm__ volatile("" ::: "memory");
}
