/* 009-pointer-in-code -- a pointer in the middle of an instruction.
 *
 * HotSpot's inline caches hold their CompiledICHolder, a block of malloc's, nowhere but in the
 * instruction that loads its address, `movabs $address, %rax`, which begins at any byte. Where only
 * multiples of four were looked at, javac crashed in handle_ic_miss_helper_internal.
 *
 * Functions of 11 bytes lie one after another in a writable and executable mapping, so that
 * their pointers begin at every byte of a word and cross every border of pages. They are the only
 * ones to their blocks, are called, and change places while another thread leaks. Runs with a cycle
 * every 5,000 allocations. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { COUNT = 50000, LEAKS = 1500000, SWAPS = 64 };

/* volatile: a compiler that copied it in pieces would hide it. */
struct __attribute__((packed)) function {
    unsigned char load[2];
    int *volatile block;
    unsigned char end;
};

static struct function *code;
static atomic_int over;

/* Calls it: the processor must agree that this is code. */
static int *block_of(const struct function *f)
{
    int *(*call)(void);
    memcpy(&call, &(const void *){f}, sizeof call);
    return call();
}

static __attribute__((noinline)) void fill(void)
{
    for (int i = 0; i < COUNT; i++) {
        int *block = malloc(24);
        for (int k = 0; k < 6; k++)
            block[k] = i;
        memcpy(code[i].load, (unsigned char[]){0x48, 0xb8}, 2);
        code[i].block = block;
        code[i].end = 0xc3;
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

static void swap_some(unsigned *random)
{
    for (int i = 0; i < SWAPS; i++) {
        *random = *random * 1664525 + 1013904223;
        struct function *a = &code[*random % COUNT], *b = &code[(*random >> 8) % COUNT];
        int *block = a->block;
        a->block = b->block;
        b->block = block;
    }
}

/* Each block once, as it was filled. */
static int wrong(void)
{
    static char seen[COUNT];
    int count = 0;
    for (int i = 0; i < COUNT; i++) {
        const int *block = block_of(&code[i]);
        unsigned number = (unsigned)block[0];
        if (number >= COUNT || seen[number]++ != 0) {
            count++;
            continue;
        }
        for (int k = 1; k < 6; k++)
            count += block[k] != block[0];
    }
    return count;
}

int main(void)
{
    unsigned random = 1;
    pthread_t thread;
    code = mmap(NULL, COUNT * sizeof *code, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return 2;
    fill();
    if (pthread_create(&thread, NULL, leak, NULL) != 0)
        return 2;
    while (!atomic_load(&over))
        swap_some(&random);
    pthread_join(thread, NULL);
    int count = wrong();
    if (count != 0)
        printf("%d blocks or words of blocks that are in use have changed\n", count);
    return count != 0;
}
