/* gc_own_stack.c -- the switch of stacks: where it lands, what it saves, what it restores. */
#include "gc/own_stack.h"

#include "unit.h"

enum { SIZE = 64 << 10, SAVED = 6 };

static char stack_one[SIZE] __attribute__((aligned(16)));
static char stack_two[SIZE] __attribute__((aligned(16)));

/* Fills rbx, rbp, r12-r15 from saved[], calls call_on_stack(function, argument, top), and writes
 * the six back to saved[]. */
void call_with_registers(uintptr_t *saved, void (*function)(void *, uintptr_t), void *argument,
                         void *top);
__asm__(".text\n\t"
        ".globl call_with_registers\n\t"
        ".hidden call_with_registers\n\t"
        ".type call_with_registers, @function\n"
        "call_with_registers:\n\t"
        "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
        "push %rdi\n\t"
        "mov (%rdi), %rbx\n\tmov 8(%rdi), %rbp\n\tmov 16(%rdi), %r12\n\t"
        "mov 24(%rdi), %r13\n\tmov 32(%rdi), %r14\n\tmov 40(%rdi), %r15\n\t"
        "mov %rsi, %rdi\n\tmov %rdx, %rsi\n\tmov %rcx, %rdx\n\t"
        "call call_on_stack\n\t"
        "pop %rdi\n\t"
        "mov %rbx, (%rdi)\n\tmov %rbp, 8(%rdi)\n\tmov %r12, 16(%rdi)\n\t"
        "mov %r13, 24(%rdi)\n\tmov %r14, 32(%rdi)\n\tmov %r15, 40(%rdi)\n\t"
        "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\t"
        "ret\n\t"
        ".size call_with_registers, . - call_with_registers");

struct seen {
    uintptr_t frame, low, old;   /* in the callee; of the caller's stack; an address in main's */
    unsigned calls;
    const uintptr_t *saved;      /* to be found from `low` upward */
    unsigned found;
};

static GC_NOINLINE void note(void *argument, uintptr_t low)
{
    struct seen *s = argument;
    s->frame = (uintptr_t)__builtin_frame_address(0);
    s->low = low;
    s->calls++;
    if (s->saved == NULL)
        return;
    /* What a scan from `low` sees first: the six registers, before anything of the caller. */
    const uintptr_t *words = (const uintptr_t *)low;
    for (unsigned i = 0; i < SAVED; i++)
        for (unsigned at = 0; at < SAVED; at++)
            s->found += words[at] == s->saved[i];
    /* And the callee may do what it likes with them. */
    __asm__ volatile("xor %%ebx, %%ebx\n\txor %%r12d, %%r12d\n\txor %%r13d, %%r13d\n\t"
                     "xor %%r14d, %%r14d\n\txor %%r15d, %%r15d"
                     :
                     :
                     : "rbx", "r12", "r13", "r14", "r15", "cc");
}

static bool within(uintptr_t address, const char *stack)
{
    return address - (uintptr_t)stack < SIZE;
}

static void test_switch(void)
{
    struct seen s = {0};
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    call_on_stack(note, &s, stack_one + SIZE);
    EXPECT(s.calls == 1 && within(s.frame, stack_one));
    EXPECT(s.frame > (uintptr_t)stack_one + SIZE - 64); /* nothing of the stack is wasted */
    EXPECT(s.low < here && here - s.low < 4096 && is_aligned(s.low, 8));
}

static void test_alignment(void)
{
    for (size_t less = 0; less < 64; less += 16) {
        struct seen s = {0};
        call_on_stack(note, &s, stack_one + SIZE - less);
        EXPECT(is_aligned(s.frame, 16)); /* as any function finds it: rbp after push rbp */
        EXPECT(s.frame < (uintptr_t)stack_one + SIZE - less);
    }
}

static void test_registers(void)
{
    uintptr_t saved[SAVED], before[SAVED];
    for (unsigned i = 0; i < SAVED; i++)
        before[i] = saved[i] = 0xabcdef0011223300 + i;
    struct seen s = {.saved = before};
    call_with_registers(saved, note, &s, stack_one + SIZE);
    EXPECT(s.calls == 1 && s.found == SAVED);
    EXPECT(memcmp(saved, before, sizeof saved) == 0);
}

static void call_again(void *argument, uintptr_t low)
{
    struct seen *s = argument;
    s->old = low;
    call_on_stack(note, s, stack_two + SIZE);
}

static void test_nested(void)
{
    struct seen s = {0};
    call_on_stack(call_again, &s, stack_one + SIZE);
    EXPECT(within(s.frame, stack_two) && within(s.low, stack_one));
    EXPECT(!within(s.old, stack_one) && !within(s.old, stack_two));
}

enum { DEEP = 48 << 10 };

static GC_NOINLINE void go_deep(void *argument, uintptr_t low)
{
    volatile char frame[DEEP];
    (void)low;
    for (size_t i = 0; i < DEEP; i++)
        frame[i] = 0x33;
    *(bool *)argument = frame[DEEP / 2] == 0x33;
}

static void test_uses_it(void)
{
    bool good = false;
    memset(stack_one, 0x11, sizeof stack_one);
    memset(stack_two, 0x22, sizeof stack_two);
    call_on_stack(go_deep, &good, stack_one + SIZE);
    EXPECT(good);
    size_t used = 0;
    while (used < SIZE && stack_one[used] == 0x11)
        used++;
    EXPECT(SIZE - used > DEEP);
    for (size_t i = 0; i < SIZE; i++)
        if (stack_two[i] != 0x22 && !EXPECT(!"the neighbour is untouched"))
            break;
}

/* Vector state and the direction flag are the caller's business: a double survives a switch. */
static void test_floating_point(void)
{
    volatile double x = 1.5;
    double y = x * 3;
    struct seen s = {0};
    call_on_stack(note, &s, stack_one + SIZE);
    EXPECT(y == x * 3);
}

UNIT_MAIN(TEST(test_switch), TEST(test_alignment), TEST(test_registers), TEST(test_nested),
          TEST(test_uses_it), TEST(test_floating_point))
