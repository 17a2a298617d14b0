/* abi.c -- the helpers of abi.h that must be functions with a name: reports show it. */
#include "abi.h"

#include <pthread.h>
#include <sys/mman.h>

NOINLINE void stack_clear(void)
{
    volatile char area[256 * 1024];
    for (size_t i = 0; i < sizeof area; i++)
        area[i] = 0;
    __asm__ volatile("xor %%eax,%%eax; xor %%ecx,%%ecx; xor %%edx,%%edx; xor %%esi,%%esi;"
                     "xor %%edi,%%edi; xor %%r8d,%%r8d; xor %%r9d,%%r9d; xor %%r10d,%%r10d;"
                     "xor %%r11d,%%r11d; pxor %%xmm0,%%xmm0; pxor %%xmm1,%%xmm1;"
                     "pxor %%xmm2,%%xmm2; pxor %%xmm3,%%xmm3; pxor %%xmm4,%%xmm4;"
                     "pxor %%xmm5,%%xmm5; pxor %%xmm6,%%xmm6; pxor %%xmm7,%%xmm7"
                     : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory",
                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
}

static void *call(void *function)
{
    ((void (*)(void))(uintptr_t)function)();
    stack_clear();
    return NULL;
}

NOINLINE void run_and_forget(void (*function)(void))
{
    size_t size = 8 << 20;
    void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(stack != MAP_FAILED && pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, size) == 0);
    CHECK(pthread_create(&thread, &attributes, call, (void *)(uintptr_t)function) == 0);
    CHECK(pthread_join(thread, NULL) == 0 && pthread_attr_destroy(&attributes) == 0);
    CHECK(munmap(stack, size) == 0);
    stack_clear();
}

NOINLINE void pressure(size_t total, int leak)
{
    uint32_t state = 2463534242u;
    for (size_t done = 0; done < total;) {
        uint32_t r = random_next(&state);
        size_t size = r % 64 == 0 ? 20000 + r / 64 % 200000 : 8 + r / 64 % 2000;
        char *block = malloc(size);
        CHECK(block != NULL);
        memset(block, 0xA5, size);
        block = OPAQUE(block);
        if (!leak)
            free(block);
        done += size;
    }
}

void run_kind(const struct kind *kinds, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(kinds[i].name, name) != 0)
            continue;
        kinds[i].run();
        puts("done");
        exit(0);
    }
    CHECK(!"a known kind");
    abort();
}
