/* pointer_guard.h -- the number with which libc disguises addresses that it stores.
 *
 * setjmp keeps rbp, rsp and the return address as rol(value ^ guard, 17), so that an overflow into
 * a jmp_buf cannot choose where longjmp goes. The guard is the same in all threads of a process
 * (glibc: tcbhead_t.pointer_guard, PTR_MANGLE). Any thread of libc's. */
#ifndef GC_POINTER_GUARD_H
#define GC_POINTER_GUARD_H

#include "base/base.h"

enum { POINTER_GUARD_ROTATION = 17 };

GC_INLINE uint64_t pointer_guard(void)
{
    uint64_t guard;
    __asm__ volatile("mov %%fs:0x30, %0" : "=r"(guard));
    return guard;
}

#endif
