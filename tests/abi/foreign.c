/* foreign.c -- memory that one allocator made and another is asked to free.   foreign libc|plugin
 *
 * `libc` takes blocks from __libc_malloc, which no interposition reaches, as ld.so's early blocks
 * and plugins bound to libc do. `plugin PATH` loads a library with RTLD_DEEPBIND, whose own malloc
 * is then libc's, and passes strings both ways. */
#include <dlfcn.h>
#include <malloc.h>

#include "abi.h"

extern void *__libc_malloc(size_t size);

static void libc_blocks(void)
{
    for (size_t size = 1; size < 3000000; size = size * 3 + 1) {
        char *block = __libc_malloc(size);
        CHECK(block != NULL && malloc_usable_size(block) >= size);
        pattern_fill(block, size, 5);
        block = realloc(block, size * 2);
        CHECK(block != NULL && pattern_holds(block, size, 5));
        free(block);
        block = __libc_malloc(size);
        CHECK(block != NULL);
        block = realloc(block, size / 2 + 1);
        CHECK(block != NULL);
        free(block);
        free(__libc_malloc(size));
    }
    char *block = __libc_malloc(10);
    CHECK(realloc(block, 0) == NULL);
}

static void plugin_strings(const char *path)
{
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    CHECK(plugin != NULL);
    char *(*copy)(const char *);
    void (*drop)(char *);
    *(void **)&copy = dlsym(plugin, "plugin_copy");
    *(void **)&drop = dlsym(plugin, "plugin_drop");
    CHECK(copy != NULL && drop != NULL);
    for (int i = 0; i < 20000; i++) {
        char text[400];
        memset(text, 'a' + i % 26, sizeof text);
        text[i % 399] = '\0';
        char *theirs = copy(text), *ours = strdup(text);
        CHECK(theirs != NULL && ours != NULL);
        CHECK(strcmp(theirs, text) == 0);
        free(theirs);
        drop(ours);
    }
    CHECK(dlclose(plugin) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    if (strcmp(argv[1], "plugin") == 0)
        plugin_strings(argv[2]);
    else
        libc_blocks();
    puts("done");
    return 0;
}
