/* leaks.c -- what the command must name: a static function, inlined calls, plugins that come and
 * go.   leaks COUNT [PLUGIN PLUGIN]: COUNT blocks of 96 bytes, and one of 160 in each plugin. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* Keeps a call from becoming a jump. */
#define STAY() __asm__ volatile("" ::: "memory")

void *kept[4];

static inline __attribute__((always_inline)) void innermost(void)
{
    volatile char *block = malloc(96);
    block[0] = 1;
}

static inline __attribute__((always_inline)) void middle(void)
{
    innermost();
}

static __attribute__((noinline)) void outer(void)
{
    middle();
    STAY();
}

static __attribute__((noinline)) void keep(void)
{
    kept[0] = malloc(100000);
    kept[1] = malloc(200000);
    STAY();
}

/* Leaves nothing of the blocks on the stack that main's own calls use. */
static __attribute__((noinline)) void wipe(void)
{
    volatile char room[8192];
    for (size_t i = 0; i < sizeof(room); i++)
        room[i] = 0;
}

static int use(const char *path)
{
    void *plugin = dlopen(path, RTLD_NOW);
    void (*call)(void) = plugin ? (void (*)(void))dlsym(plugin, "plugin") : NULL;
    if (call == NULL)
        return 1;
    call();
    return dlclose(plugin);
}

int main(int argc, char **argv)
{
    keep();
    for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--)
        outer();
    for (int i = 2; i < argc; i++) /* from one place, and they lie at one place, too */
        if (use(argv[i]) != 0)
            return 1;
    wipe();
    puts("done");
    return 0;
}
