/* dl.c -- dlopen without RTLD_DEEPBIND, and dlclose.
 *
 * A library loaded with RTLD_DEEPBIND binds to libc's own malloc and free, and then libc's free
 * gets our blocks. The flag is taken out, as AddressSanitizer does.
 *
 * dlopen finds the calling object (for its RUNPATH, $ORIGIN and namespace) by its return
 * address, so the wrapper must leave that in place: it is a jump, not a call. */
#include "base/base.h"
#include "real.h"
#include "runtime.h"

#include <dlfcn.h>

_Static_assert(RTLD_DEEPBIND == 8, "the mask below");

/* The address of libc's dlopen, for the jump. */
__attribute__((used)) static void *resolved_dlopen(void)
{
    real_resolve();
    return (void *)(uintptr_t)real.dlopen;
}

__asm__(".text\n\t"
        ".globl dlopen\n\t"
        ".type dlopen, @function\n"
        "dlopen:\n\t"
        ".cfi_startproc\n\t"
        "push %rdi\n\t"
        ".cfi_adjust_cfa_offset 8\n\t"
        "push %rsi\n\t"
        ".cfi_adjust_cfa_offset 8\n\t"
        "sub $8, %rsp\n\t"
        ".cfi_adjust_cfa_offset 8\n\t"
        "call resolved_dlopen\n\t"
        "add $8, %rsp\n\t"
        ".cfi_adjust_cfa_offset -8\n\t"
        "pop %rsi\n\t"
        ".cfi_adjust_cfa_offset -8\n\t"
        "pop %rdi\n\t"
        ".cfi_adjust_cfa_offset -8\n\t"
        "and $-9, %esi\n\t"
        "jmp *%rax\n\t"
        ".cfi_endproc\n\t"
        ".size dlopen, . - dlopen");

GC_EXPORT int dlclose(void *handle)
{
    real_resolve();
    struct modules_seen *seen = runtime_library_closing();
    int result = real.dlclose(handle);
    runtime_library_closed(seen);
    return result;
}
