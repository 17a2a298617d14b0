/* syscall.h -- raw system calls, x86-64 Linux.
 *
 * They return the kernel's answer: a value, or -errno. errno itself is never touched, no libc
 * function is entered, and no cancellation point is passed, so every floor above may use them at
 * any time: before libc is relocated, in a signal handler, and while the world is stopped. */
#ifndef GC_SYSCALL_H
#define GC_SYSCALL_H

#include <asm/unistd.h>

static inline long syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
static inline long syscall4(long nr, long a, long b, long c, long d)
{
    long ret;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return ret;
}
static inline long syscall3(long nr, long a, long b, long c)
{
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return ret;
}
static inline long syscall2(long nr, long a, long b)
{
    return syscall3(nr, a, b, 0);
}
static inline long syscall1(long nr, long a)
{
    return syscall3(nr, a, 0, 0);
}
static inline long syscall0(long nr)
{
    return syscall3(nr, 0, 0, 0);
}

#endif
