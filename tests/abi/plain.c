/* plain.c -- a workload of known result, for runs in odd surroundings.   plain [MEGABYTES]
 *
 * 4,000 slots of blocks are replaced, resized and checked at random; every tenth block that goes is
 * leaked instead of freed. Prints a checksum. */
#include "abi.h"

enum { SLOTS = 4000 };

static struct {
    unsigned char *block;
    size_t size;
    unsigned seed;
} slots[SLOTS];

static NOINLINE void slot_drop(unsigned i, uint32_t r)
{
    if (slots[i].block == NULL)
        return;
    CHECK(pattern_holds(slots[i].block, slots[i].size, slots[i].seed));
    if (r % 10 != 0)
        free(slots[i].block);
    slots[i].block = NULL;
}

static NOINLINE void slot_make(unsigned i, uint32_t r)
{
    slots[i].size = 1 + r % (r % 97 == 0 ? 60000 : 700);
    slots[i].seed = r >> 8;
    slots[i].block = malloc(slots[i].size);
    CHECK(slots[i].block != NULL);
    pattern_fill(slots[i].block, slots[i].size, slots[i].seed);
}

static NOINLINE void slot_resize(unsigned i, uint32_t r)
{
    size_t size = 1 + r % 2000;
    unsigned char *block = realloc(slots[i].block, size);
    CHECK(block != NULL);
    CHECK(pattern_holds(block, size < slots[i].size ? size : slots[i].size, slots[i].seed));
    slots[i].block = block;
    slots[i].size = size;
    pattern_fill(block, size, slots[i].seed);
}

int main(int argc, char **argv)
{
    size_t total = (argc > 1 ? strtoul(argv[1], NULL, 10) : 20) << 20;
    uint32_t state = 1;
    uint64_t sum = 0;
    for (size_t done = 0; done < total;) {
        uint32_t r = random_next(&state);
        unsigned i = r % SLOTS;
        if (slots[i].block != NULL && r % 3 == 0) {
            slot_resize(i, random_next(&state));
        } else {
            slot_drop(i, random_next(&state));
            slot_make(i, random_next(&state));
        }
        done += slots[i].size;
        sum = sum * 31 + slots[i].block[slots[i].size / 2];
    }
    printf("sum %016lx\n", (unsigned long)sum);
    return 0;
}
