/* entry.h -- where the program's stack ends and ours begins.
 *
 * The slow paths run on the program's stack, and their frames are full of what earlier calls left
 * there: addresses of blocks that the program has long dropped, which a conservative scan would
 * take for references. So each slow path is entered through a stub that saves the program's
 * callee-saved registers and the arguments on the stack, and notes its stack pointer: a cycle that
 * starts further down scans from there, and never sees our own frames.
 *
 *   .inv.entry   Whatever of the program's a slow path still needs is in the stub's frame: the
 *                arguments (realloc's old block may be referenced from nowhere else). */
#ifndef GC_ENTRY_H
#define GC_ENTRY_H

#include "base/base.h"

/* The innermost stub's frame on this thread; 0 outside of all stubs. */
extern __thread uintptr_t entry_stack;

/* Defines `name` as a hidden function that enters `target` (both of at most two arguments in
 * registers) through a stub. At file scope, once for each name. */
#define ENTRY_STUB(name, target) \
    __asm__(".text\n\t" \
            ".globl " #name "\n\t" \
            ".hidden " #name "\n\t" \
            ".type " #name ", @function\n" \
            #name ":\n\t" \
            ".cfi_startproc\n\t" \
            "push %rbp\n\t" \
            ".cfi_def_cfa_offset 16\n\t" \
            ".cfi_offset %rbp, -16\n\t" \
            "mov %rsp, %rbp\n\t" \
            ".cfi_def_cfa_register %rbp\n\t" \
            "push %rbx\n\t" \
            "push %r12\n\t" \
            "push %r13\n\t" \
            "push %r14\n\t" \
            "push %r15\n\t" \
            "push %rdi\n\t" \
            "push %rsi\n\t" \
            "mov entry_stack@gottpoff(%rip), %rax\n\t" \
            "push %fs:(%rax)\n\t" \
            "mov %rsp, %fs:(%rax)\n\t" \
            "call " #target "\n\t" \
            "mov entry_stack@gottpoff(%rip), %rcx\n\t" \
            "pop %fs:(%rcx)\n\t" \
            "leave\n\t" \
            ".cfi_def_cfa %rsp, 8\n\t" \
            "ret\n\t" \
            ".cfi_endproc\n\t" \
            ".size " #name ", . - " #name)

#endif
