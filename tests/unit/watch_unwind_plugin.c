/* watch_unwind_plugin.c -- built twice, with two frame sizes: the same instructions at the same
 * addresses, with different unwind tables. And a lazily bound call whose resolver calls back. */

#ifndef FRAME
#error "FRAME: bytes below the return address, 8 modulo 16, at most 120"
#endif
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

__asm__(".globl plugin_call\n"
        ".type plugin_call, @function\n"
        "plugin_call:\n"
        ".cfi_startproc\n"
        "subq $" TEXT(FRAME) ", %rsp\n"
        ".cfi_adjust_cfa_offset " TEXT(FRAME) "\n"
        "call *%rdi\n"
        "addq $" TEXT(FRAME) ", %rsp\n"
        ".cfi_adjust_cfa_offset -" TEXT(FRAME) "\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size plugin_call, . - plugin_call\n");

void (*plugin_hook)(void);

static int answer(void)
{
    return 42;
}

/* Runs inside the dynamic linker, called from its lazy binding code. */
__attribute__((used)) static int (*resolve(void))(void)
{
    if (plugin_hook)
        plugin_hook();
    return answer;
}

int plugin_lazy(void) __attribute__((ifunc("resolve")));
int plugin_call_lazy(void);
int plugin_call_lazy(void)
{
    return plugin_lazy() + 1;
}
