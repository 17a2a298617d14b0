/* signal.c -- rt_sigaction, and the restorer that it needs on x86-64.
 *
 * Unwinders know a signal frame by the very bytes of the restorer, and look up the byte before it:
 * hence the nop. */
#include "sys/signal.h"

#include "sys/syscall.h"

enum { KERNEL_RESTORER = 0x04000000 };

void signal_restorer(void);

__asm__(".text\n\t"
        ".balign 16\n\t"
        "nop\n\t"
        ".globl signal_restorer\n\t"
        ".hidden signal_restorer\n\t"
        ".type signal_restorer, @function\n"
        "signal_restorer:\n\t"
        "mov $15, %rax\n\t"
        "syscall\n\t"
        ".size signal_restorer, . - signal_restorer");

long signal_action(int signal, const struct signal_action *set, struct signal_action *old)
{
    return syscall4(__NR_rt_sigaction, signal, (long)set, (long)old, sizeof(set->mask));
}

long signal_put(int signal, struct signal_action set)
{
    set.flags |= KERNEL_RESTORER;
    set.restorer = signal_restorer;
    return signal_action(signal, &set, NULL);
}

long signal_install(int signal, uint64_t flags, uint64_t mask,
                    void (*handler)(int signal, siginfo_t *info, void *context))
{
    return signal_put(signal, (struct signal_action){.handler = handler,
                                                     .flags = flags | SA_SIGINFO | SA_ONSTACK,
                                                     .mask = mask});
}

uint64_t signal_block(uint64_t set)
{
    uint64_t old = 0;
    set &= ~(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGSYS));
    syscall4(__NR_rt_sigprocmask, SIG_BLOCK, (long)&set, (long)&old, sizeof(set));
    return set & ~old;
}

void signal_unblock(uint64_t blocked)
{
    syscall4(__NR_rt_sigprocmask, SIG_UNBLOCK, (long)&blocked, 0, sizeof(blocked));
}
