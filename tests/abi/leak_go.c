/* leak_go.c -- the leak of Go's literature, in C: each block is written and dropped.
 *
 * 10 blocks of 50,000,000 bytes, then 10 of 100,000,000. In Go the collector runs about once a
 * block and the heap ends at nothing. */
#include "abi.h"

static NOINLINE void drop(size_t size)
{
    char *block = malloc(size);
    CHECK(block != NULL);
    memset(block, 1, size);
    block = OPAQUE(block);
    CHECK(block[size - 1] == 1);
}

int main(void)
{
    for (int i = 0; i < 20; i++) {
        drop(i < 10 ? 50000000 : 100000000);
        stack_clear();
    }
    puts("dropped 20 blocks");
    return 0;
}
