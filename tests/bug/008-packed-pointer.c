/* 008-packed-pointer -- a pointer that lies in the middle of two words.
 *
 * Ruby packs the struct of its input buffers: a pointer and three ints, two of them in a row, so
 * that one pointer lies at a multiple of four only. Where words were looked at whole, a buffer that
 * was in use was reclaimed, and Ruby could not read its own script to the end.
 *
 * Arrays of such structs lie in small and large blocks, in static data, on a stack and in a mapping,
 * so that pointers cross every border at which a marker may cut what it reads. They are the only
 * ones to their blocks, and change places while another thread leaks. Runs with a cycle every 5,000
 * allocations. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LARGE = 60000, MAPPED = 20000, STATIC = 8000, STACK = 2000, SMALL = 5000, LEAKS = 1500000 };
enum { COUNT = LARGE + MAPPED + STATIC + STACK + SMALL, SWAPS = 64 };

/* volatile: copied as a whole, a pointer would lie in the halves of two registers for a moment. */
struct __attribute__((packed)) entry {
    int number;
    int *volatile block;
    int unused;
};

/* Four to a block: the second and the fourth are misaligned. */
struct small {
    struct entry entries[4];
};

static struct entry static_entries[STATIC];
static struct entry *large, *mapped, *stack;
static struct small **small;
static atomic_int over;

static struct entry *entry_at(unsigned i)
{
    if (i < LARGE)
        return &large[i];
    if ((i -= LARGE) < MAPPED)
        return &mapped[i];
    if ((i -= MAPPED) < STATIC)
        return &static_entries[i];
    if ((i -= STATIC) < STACK)
        return &stack[i];
    i -= STACK;
    return &small[i / 4]->entries[i % 4];
}

static __attribute__((noinline)) void fill(void)
{
    for (unsigned i = 0; i < COUNT; i++) {
        int *block = malloc(24);
        for (int k = 0; k < 6; k++)
            block[k] = (int)i;
        entry_at(i)->number = (int)i;
        entry_at(i)->block = block;
    }
}

static void *leak(void *unused)
{
    for (int i = 0; i < LEAKS; i++) {
        int *block = malloc(24);
        memset(block, 0xff, 24);
        __asm__ volatile("" : : "r"(block) : "memory");
    }
    atomic_store(&over, 1);
    return unused;
}

static int wrong(void)
{
    int count = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        const struct entry *e = entry_at(i);
        for (int k = 0; k < 6; k++)
            count += e->block[k] != e->number;
    }
    return count;
}

int main(void)
{
    struct entry on_stack[STACK];
    unsigned random = 1;
    pthread_t thread;
    stack = on_stack;
    large = malloc(LARGE * sizeof *large);
    small = malloc(SMALL / 4 * sizeof *small);
    mapped = mmap(NULL, MAPPED * sizeof *mapped, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < SMALL / 4; i++)
        small[i] = malloc(sizeof **small);
    fill();
    if (pthread_create(&thread, NULL, leak, NULL) != 0)
        return 2;
    while (!atomic_load(&over))
        for (int i = 0; i < SWAPS; i++) {
            random = random * 1664525 + 1013904223;
            struct entry *a = entry_at(random % COUNT), *b = entry_at((random >> 8) % COUNT);
            int *block = a->block, number = a->number;
            a->block = b->block;
            a->number = b->number;
            b->block = block;
            b->number = number;
        }
    pthread_join(thread, NULL);
    int count = wrong();
    if (count != 0)
        printf("%d words of blocks that are in use have changed\n", count);
    return count != 0;
}
