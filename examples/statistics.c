/* statistics.c -- what the collector knows of this program, and what it can be asked.
 *
 *     cc -o statistics statistics.c $(pkg-config --cflags gcmalloc)
 *     LD_PRELOAD=libgcmalloc.so ./statistics
 *
 * Runs without the library, too: then there is nothing to tell. */
#include <gcmalloc.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOST = 10000 };

/* Nobody keeps their addresses. */
static void lose(void)
{
    for (int i = 0; i < LOST; i++)
        *(char *volatile *)malloc(100) = NULL;
}

static void show(const char *when)
{
    struct gcmalloc_stats s = {.size = sizeof s};
    if (gcmalloc_read_stats(&s) != 0) {
        printf("%s: no figures: %s\n", when, gcmalloc_reason());
        return;
    }
    printf("%s: %" PRIu64 " blocks of %" PRIu64 " bytes, %" PRIu64 " allocated and %" PRIu64
           " freed so far, %" PRIu32 " cycles, %" PRIu64 " leaks reclaimed\n",
           when, s.heap_objects, s.alloc, s.mallocs, s.frees, s.num_gc, s.reclaimed_blocks);
}

int main(void)
{
    show("at first");
    lose();
    show("with leaks");
    /* While this is the moment not to be stopped: */
    gcmalloc_disable();
    lose();
    gcmalloc_enable();
    /* The leaks are due after `confirm` cycles, and reclaimed when the process has passed probation:
     * GCMALLOC=probation=0 does without. */
    for (int i = 0; i < 3 && gcmalloc_active(); i++)
        if (gcmalloc_collect() != 0)
            printf("no cycle: %s\n", gcmalloc_reason());
    show("after three cycles");
    return 0;
}
