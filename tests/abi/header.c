/* header.c -- gcmalloc.h alone, with all warnings: in C11 and, by another name, in C++11. */
#include "gcmalloc.h"

#include <stdio.h>

/* An address can be taken, and another file may take it, too. */
static int (*volatile active)(void) = gcmalloc_active;

int main(void)
{
    struct gcmalloc_stats s;
    s.size = sizeof s;
    int there = gcmalloc_read_stats(&s) == 0;
    printf("%s\n", there == active() && there == (gcmalloc_reason() == NULL || there) ? "done" : "odd");
    return 0;
}
