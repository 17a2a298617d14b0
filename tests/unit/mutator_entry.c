/* mutator_entry.c -- the stub at the edge of the program's stack: what it notes, saves, and puts
 * back. */
#include "mutator/entry.h"

#include "unit.h"

#include <pthread.h>

/* What the targets saw. */
static uintptr_t seen_stack, seen_sp, first, second;
static unsigned depth;

void *stub_two(void *a, void *b);
void *stub_nested(void *a, void *b);
void *target_two(void *a, void *b);
void *target_nested(void *a, void *b);

ENTRY_STUB(stub_two, target_two);
ENTRY_STUB(stub_nested, target_nested);

__attribute__((used)) void *target_two(void *a, void *b)
{
    seen_stack = entry_stack;
    seen_sp = (uintptr_t)__builtin_frame_address(0);
    first = (uintptr_t)a;
    second = (uintptr_t)b;
    return (void *)(first ^ second);
}

__attribute__((used)) void *target_nested(void *a, void *b)
{
    uintptr_t mine = entry_stack;
    uintptr_t left = (uintptr_t)a;
    EXPECT(mine != 0 && mine > (uintptr_t)__builtin_frame_address(0));
    depth++;
    if (left != 0) {
        stub_nested((void *)(left - 1), b);
        EXPECT(entry_stack == mine); /* an inner stub puts back what it found */
    } else {
        stub_two(a, b);
        EXPECT(seen_stack < mine && entry_stack == mine);
    }
    return (void *)(left + 1);
}

static void test_arguments(void)
{
    EXPECT(entry_stack == 0);
    EXPECT(stub_two((void *)0x1234, (void *)0xff00) == (void *)(0x1234 ^ 0xff00));
    EXPECT(first == 0x1234 && second == 0xff00 && entry_stack == 0);
    EXPECT(stub_two(NULL, NULL) == NULL && first == 0 && second == 0);
}

/* .inv.entry: from the noted stack pointer on lie the arguments; the target's frames lie below. */
static void test_on_the_stack(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    stub_two((void *)0xabcdef01, (void *)0x10fedcba);
    EXPECT(seen_stack != 0 && seen_sp < seen_stack && seen_stack < here);
    EXPECT(is_aligned(seen_stack, 16)); /* as the ABI wants it at a call */
}

/* Reads the stub's frame while it stands. */
static bool frame_has[2], frame_has_saved;

void *stub_reader(void *a, void *b);
void *target_reader(void *a, void *b);
ENTRY_STUB(stub_reader, target_reader);

__attribute__((used)) void *target_reader(void *a, void *b)
{
    const uintptr_t *words = (const uintptr_t *)entry_stack;
    for (unsigned i = 0; i < 9; i++) {
        frame_has[0] |= words[i] == (uintptr_t)a;
        frame_has[1] |= words[i] == (uintptr_t)b;
        frame_has_saved |= words[i] == 0x5afe5afe5afe5afe;
    }
    return NULL;
}

/* Calls the stub with every callee-saved register set; returns how many came back changed. */
static unsigned long call_with_registers(void *(*stub)(void *, void *))
{
    register void *function __asm__("rax") = (void *)(uintptr_t)stub;
    __asm__ volatile(
        "sub $128, %%rsp\n\t" /* the red zone */
        "push %%rbp\n\tpush %%rbx\n\t"
        "mov $0x5afe5afe5afe5afe, %%rbx\n\t"
        "lea 1(%%rbx), %%rbp\n\tlea 2(%%rbx), %%r12\n\tlea 3(%%rbx), %%r13\n\t"
        "lea 4(%%rbx), %%r14\n\tlea 5(%%rbx), %%r15\n\t"
        "mov $0x1111, %%edi\n\tmov $0x2222, %%esi\n\t"
        "mov %%rsp, %%rdx\n\tand $-16, %%rsp\n\tpush %%rdx\n\tpush %%rdx\n\t"
        "call *%%rax\n\t"
        "pop %%rdx\n\tmov %%rdx, %%rsp\n\t"
        "mov $0x5afe5afe5afe5afe, %%rax\n\txor %%ecx, %%ecx\n\t"
        "cmp %%rax, %%rbx\n\tsetne %%cl\n\t"
        "inc %%rax\n\tcmp %%rax, %%rbp\n\tsetne %%ch\n\tor %%ch, %%cl\n\t"
        "inc %%rax\n\tcmp %%rax, %%r12\n\tsetne %%ch\n\tor %%ch, %%cl\n\t"
        "inc %%rax\n\tcmp %%rax, %%r13\n\tsetne %%ch\n\tor %%ch, %%cl\n\t"
        "inc %%rax\n\tcmp %%rax, %%r14\n\tsetne %%ch\n\tor %%ch, %%cl\n\t"
        "inc %%rax\n\tcmp %%rax, %%r15\n\tsetne %%ch\n\tor %%ch, %%cl\n\t"
        "movzbl %%cl, %%eax\n\t"
        "pop %%rbx\n\tpop %%rbp\n\tadd $128, %%rsp\n\t"
        : "+r"(function)
        :
        : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
          "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
    return (unsigned long)function;
}

static GC_NOINLINE void check_registers(void)
{
    EXPECT(call_with_registers(stub_two) == 0 && first == 0x1111 && second == 0x2222);
    EXPECT(call_with_registers(stub_reader) == 0);
    EXPECT(frame_has[0] && frame_has[1]);
    EXPECT(frame_has_saved); /* the program's registers are found by who scans from there */
    EXPECT(entry_stack == 0);
}

static void test_registers(void)
{
    check_registers();
}

static void test_nesting(void)
{
    depth = 0;
    EXPECT(stub_nested((void *)50, NULL) == (void *)51);
    EXPECT(depth == 51 && entry_stack == 0);
}

static void *on_thread(void *outer)
{
    EXPECT(entry_stack == 0); /* another thread's own */
    stub_two(outer, NULL);
    EXPECT(seen_stack != 0 && seen_stack != *(uintptr_t *)outer && entry_stack == 0);
    return NULL;
}

static void test_threads(void)
{
    pthread_t thread;
    entry_stack = 4096;
    uintptr_t mine = entry_stack;
    pthread_create(&thread, NULL, on_thread, &mine);
    pthread_join(thread, NULL);
    EXPECT(entry_stack == 4096);
    stub_two(NULL, NULL);
    EXPECT(entry_stack == 4096);
    entry_stack = 0;
}

UNIT_MAIN(TEST(test_arguments), TEST(test_on_the_stack), TEST(test_registers), TEST(test_nesting),
          TEST(test_threads))
