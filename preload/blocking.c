/* blocking.c -- libc's blocking calls, made by a parked thread.
 *
 * All of them come through one piece of assembly, park_call: it saves what the program has in
 * registers, and the arguments, publishes that frame (mutator/park.h), calls libc's function,
 * withdraws the frame, and returns to the program unless the world is stopped.
 *
 * Functions that do more than wait are not among them: what they hold lies below the frame, and
 * what they do would be done while the world is stopped. lio_listio allocates and makes threads;
 * pthread_join and its kin free, unmap, and copy the thread's result. They wait on futexes, over
 * which a stop's signal changes nothing. splice and tee move what is in pipes: in the pause that
 * would be from one that is not read yet to one that has been (gc/queues.c).
 *
 * All are looked up when the library is constructed (or at a first call before that), since dlsym
 * takes the loader's lock, which may be held by a thread that waits for this one. If what stands
 * behind us is not libc (another preloaded library), it may run code of anybody's: then it is
 * called as by a running thread.
 *
 * Those that take a signal mask have a wrapper in signals.c in front of them, and a name of its own
 * here. syscall() is parked in a futex: so do Rust's and other runtimes sleep. seccomp, prctl,
 * close_range and limits have wrappers of their own (alone.c, limits.c); others through it may be
 * anything, and are only passed on.
 *
 * Some stops signal parked threads all the same (WORLD_EVERYBODY). If a call was interrupted by
 * such a stop and by nothing else, it is made again, for what is left of its time (again.c).
 *
 * Unwinding through the frame (cancellation, exceptions from signal handlers) withdraws it by the
 * personality routine: the program's clean-up code comes after that. */
#include "again.h"
#include "base/base.h"
#include "mutator/park.h"
#include "real.h"
#include "runtime.h"
#include "sys/next_symbol.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <unwind.h>

/* Exported under their own names. */
#define BLOCKING(X) \
    X(read) X(readv) X(pread) X(pread64) X(preadv) X(preadv64) X(preadv2) X(preadv64v2) \
    X(write) X(writev) X(pwrite) X(pwrite64) X(pwritev) X(pwritev64) X(pwritev2) X(pwritev64v2) \
    X(__read_chk) X(__pread_chk) X(__pread64_chk) \
    X(fsync) X(fdatasync) X(syncfs) X(sync_file_range) X(msync) X(copy_file_range) X(sendfile) \
    X(sendfile64) X(vmsplice) \
    X(open) X(open64) X(openat) X(openat64) X(creat) X(creat64) \
    X(__open_2) X(__open64_2) X(__openat_2) X(__openat64_2) \
    X(fcntl) X(fcntl64) X(ioctl) X(flock) X(lockf) X(lockf64) X(tcdrain) X(getrandom) \
    X(accept) X(accept4) X(connect) X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) \
    X(send) X(sendto) X(sendmsg) X(sendmmsg) X(__recv_chk) \
    X(poll) X(__poll_chk) X(select) X(epoll_wait) \
    X(pause) \
    X(wait) X(waitpid) X(wait3) X(wait4) X(waitid) \
    X(semop) X(semtimedop) \
    X(sem_wait) X(sem_timedwait) X(sem_clockwait) \
    X(pthread_cond_wait) X(pthread_cond_timedwait) X(pthread_cond_clockwait) \
    X(cnd_wait) X(cnd_timedwait) \
    X(pthread_barrier_wait) X(aio_suspend) X(aio_suspend64)

/* Called from signals.c, sleep.c and messages.c, as real_NAME. */
#define BLOCKING_HIDDEN(X) \
    X(ppoll) X(__ppoll_chk) X(pselect) X(epoll_pwait) X(epoll_pwait2) X(sigsuspend) \
    X(sigwait) X(sigwaitinfo) X(sigtimedwait) X(nanosleep) X(clock_nanosleep) \
    X(mq_send) X(mq_timedsend) X(mq_receive) X(mq_timedreceive) X(msgsnd) X(msgrcv)

#define BLOCKING_ALL(X) BLOCKING(X) BLOCKING_HIDDEN(X) X(__recvfrom_chk) X(syscall) X(vfork)

#define TARGET(name) struct blocking_target blocking_##name = {NULL, #name, 0};
BLOCKING_ALL(TARGET)
#undef TARGET

static struct blocking_target *const targets[] = {
#define TARGET(name) &blocking_##name,
    BLOCKING_ALL(TARGET)
#undef TARGET
};

void blocking_look_up(struct blocking_target *t);
_Unwind_Reason_Code blocking_personality(int version, _Unwind_Action actions,
                                         _Unwind_Exception_Class class,
                                         struct _Unwind_Exception *exception,
                                         struct _Unwind_Context *context);

/* 1: the thread has a place. */
__attribute__((used)) unsigned blocking_attach(void);
unsigned blocking_attach(void)
{
    return park_self != NULL || runtime_main_blocks();
}

#define STUB(symbol, visibility, name, entry) \
    __asm__(".text\n\t" \
            ".balign 16\n\t" \
            ".globl " #symbol "\n\t" \
            visibility \
            ".hidden blocking_" #name "\n\t" \
            ".type " #symbol ", @function\n" \
            #symbol ":\n\t" \
            ".cfi_startproc\n\t" \
            "lea blocking_" #name "(%rip), %r11\n\t" \
            entry \
            ".cfi_endproc\n\t" \
            ".size " #symbol ", . - " #symbol);
#define STUB_OPEN(name) STUB(name, "", name, "jmp park_call\n\t")
#define STUB_HIDDEN(name) STUB(real_##name, ".hidden real_" #name "\n\t", name, "jmp park_call\n\t")

BLOCKING(STUB_OPEN)
BLOCKING_HIDDEN(STUB_HIDDEN)
STUB(__recvfrom_chk, "", __recvfrom_chk, "jmp park_call_7\n\t") /* the only one with seven */
STUB(syscall, "", syscall, "cmp $202, %rdi\n\t" /* futex */
                           "je park_call_7\n\t"
                           "cmp $317, %rdi\n\t" /* seccomp */
                           "je alone_seccomp\n\t"
                           "cmp $157, %rdi\n\t" /* prctl */
                           "je alone_prctl\n\t"
                           "cmp $160, %rdi\n\t" /* setrlimit */
                           "je limits_setrlimit\n\t"
                           "cmp $302, %rdi\n\t" /* prlimit64 */
                           "je limits_prlimit\n\t"
                           "cmp $436, %rdi\n\t" /* close_range */
                           "je alone_close_range\n\t"
                           "jmp park_pass\n\t")

/* At a function's first call; all registers that may hold arguments are kept: rax, too, which tells
 * variadic functions of vector registers. The stack is as at the function's entry. */
#define LOOK_UP_FIRST \
    "1:\tcmpq $0, (%r11)\n\t" \
    "jne 2f\n\t" \
    "push %rbp\n\t" \
    ".cfi_def_cfa_offset 16\n\t" \
    ".cfi_offset %rbp, -16\n\t" \
    "mov %rsp, %rbp\n\t" \
    ".cfi_remember_state\n\t" \
    ".cfi_def_cfa_register %rbp\n\t" \
    SAVE_ARGUMENTS \
    "mov %r11, %rdi\n\t" \
    "call blocking_look_up\n\t" \
    RESTORE_ARGUMENTS \
    ".cfi_restore_state\n\t" \
    "pop %rbp\n\t" \
    ".cfi_def_cfa_offset 8\n\t" \
    ".cfi_restore %rbp\n" \
    "2:\t"
/* 64 bytes. */
#define SAVE_ARGUMENTS \
    "push %rax\n\tpush %rdi\n\tpush %rsi\n\tpush %rdx\n\tpush %rcx\n\tpush %r8\n\tpush %r9\n\t" \
    "push %r11\n\t"
#define RESTORE_ARGUMENTS \
    "pop %r11\n\tpop %r9\n\tpop %r8\n\tpop %rcx\n\tpop %rdx\n\tpop %rsi\n\tpop %rdi\n\t" \
    "pop %rax\n\t"

/* r11: the target. `argument` pushes 8 bytes: one more argument on the stack, or nothing of
 * meaning. */
#define PARK_CALL(name, argument) \
    __asm__(".text\n\t" \
            ".balign 16\n\t" \
            ".type " #name ", @function\n" \
            #name ":\n\t" \
            ".cfi_startproc\n\t" \
            ".cfi_personality 0x1b, blocking_personality\n\t" \
            LOOK_UP_FIRST \
            "mov park_self@gottpoff(%rip), %r10\n\t" \
            "mov %fs:(%r10), %r10\n\t" \
            "test %r10, %r10\n\t" \
            "jz " #name "_first\n\t" \
            "cmpq $0, 16(%r11)\n\t" \
            "je park_pass\n\t" \
            "push %rbp\n\t" \
            ".cfi_def_cfa_offset 16\n\t" \
            ".cfi_offset %rbp, -16\n\t" \
            "mov %rsp, %rbp\n\t" \
            ".cfi_def_cfa_register %rbp\n\t" \
            "push %rbx\n\t" \
            ".cfi_offset %rbx, -24\n\t" \
            "push %r12\n\t" \
            ".cfi_offset %r12, -32\n\t" \
            "push %r13\n\t" \
            "push %r14\n\t" \
            ".cfi_offset %r14, -48\n\t" \
            "push %r15\n\t" \
            "push %rdi\n\tpush %rsi\n\tpush %rdx\n\tpush %rcx\n\tpush %r8\n\tpush %r9\n\t" \
            argument \
            "mov %r10, %rbx\n\t" \
            "mov (%rbx), %r12\n\t" /* what it was: 0, but for calls within calls */ \
            "movq $0, 48(%rbx)\n\t" /* neither woken nor handled */ \
            "cmpl $0, park_interrupts(%rip)\n\t" \
            "jne 7f\n" \
            "8:\tmov %rsp, (%rbx)\n\t" \
            "cmpl $0, park_stopping(%rip)\n\t" /* .inv.parked */ \
            "jne 5f\n" \
            "3:\tmov %r11, %r14\n\t" \
            "call *(%r11)\n\t" \
            "cmpl $0, 48(%rbx)\n\t" \
            "jne 9f\n" \
            "10:\tmov %r12, (%rbx)\n\t" \
            "cmpl $0, park_stopping(%rip)\n\t" \
            "jne 6f\n" \
            "4:\tmov -8(%rbp), %rbx\n\t" \
            "mov -16(%rbp), %r12\n\t" \
            "mov -32(%rbp), %r14\n\t" \
            ".cfi_remember_state\n\t" \
            "leave\n\t" \
            ".cfi_def_cfa %rsp, 8\n\t" \
            "ret\n\t" \
            ".cfi_restore_state\n" \
            "5:\t" SAVE_ARGUMENTS "call park_wait\n\t" RESTORE_ARGUMENTS "jmp 3b\n" \
            "6:\tpush %rax\n\tpush %rax\n\tcall park_wait\n\tpop %rax\n\tpop %rax\n\tjmp 4b\n" \
            "7:\t" SAVE_ARGUMENTS "call again_begin\n\t" RESTORE_ARGUMENTS "jmp 8b\n" \
            "9:\tmov %r14, %rdi\n\t" \
            "mov %rsp, %rsi\n\t" \
            "mov %rax, %rdx\n\t" \
            "call again_if_woken\n\t" \
            "jmp 10b\n\t" \
            ".cfi_endproc\n\t" \
            ".size " #name ", . - " #name)

/* The thread has no place: it gets one if it is the main thread, before its first allocation; then
 * the call begins anew. */
#define PARK_FIRST(name) \
    __asm__(".text\n\t" \
            ".balign 16\n\t" \
            ".type " #name "_first, @function\n" \
            #name "_first:\n\t" \
            ".cfi_startproc\n\t" \
            "push %rbp\n\t" \
            ".cfi_def_cfa_offset 16\n\t" \
            ".cfi_offset %rbp, -16\n\t" \
            "mov %rsp, %rbp\n\t" \
            ".cfi_def_cfa_register %rbp\n\t" \
            SAVE_ARGUMENTS \
            "call blocking_attach\n\t" \
            "mov %eax, %r10d\n\t" \
            RESTORE_ARGUMENTS \
            "pop %rbp\n\t" \
            ".cfi_def_cfa %rsp, 8\n\t" \
            ".cfi_restore %rbp\n\t" \
            "test %r10d, %r10d\n\t" \
            "jnz " #name "\n\t" \
            "jmp park_pass\n\t" \
            ".cfi_endproc\n\t" \
            ".size " #name "_first, . - " #name "_first")

PARK_FIRST(park_call);
PARK_FIRST(park_call_7);
PARK_CALL(park_call, "push %r9\n\t");
PARK_CALL(park_call_7, "push 16(%rbp)\n\t");

/* As a running thread. */
__asm__(".text\n\t"
        ".balign 16\n\t"
        ".type park_pass, @function\n"
        "park_pass:\n\t"
        ".cfi_startproc\n\t"
        LOOK_UP_FIRST
        "jmp *(%r11)\n\t"
        ".cfi_endproc\n\t"
        ".size park_pass, . - park_pass");

/* The child runs on its parent's stack, with its thread-local storage, and must not park in its
 * name: if it were killed there, the parent would go on, parked. So it has no place; the parent has
 * it back when it goes on. Over the call, which returns twice, nothing on the stack lasts: the
 * place is in r9, the way back in r10, which libc's vfork and the kernel leave alone. */
__asm__(".text\n\t"
        ".balign 16\n\t"
        ".globl vfork, __vfork\n\t"
        ".hidden blocking_vfork\n\t"
        ".type vfork, @function\n\t"
        ".type __vfork, @function\n"
        "vfork:\n"
        "__vfork:\n\t"
        ".cfi_startproc\n\t"
        "lea blocking_vfork(%rip), %r11\n\t"
        LOOK_UP_FIRST
        "cmpq $0, 16(%r11)\n\t"
        "je 4f\n\t"
        "mov park_self@gottpoff(%rip), %r8\n\t"
        "mov %fs:(%r8), %r9\n\t"
        "test %r9, %r9\n\t"
        "jz 4f\n\t"
        "pop %r10\n\t"
        ".cfi_def_cfa_offset 0\n\t"
        ".cfi_register %rip, %r10\n\t"
        "movq $0, %fs:(%r8)\n\t"
        "movl $1, 12(%r9)\n\t" /* away */
        "call *(%r11)\n\t"
        "push %r10\n\t"
        ".cfi_def_cfa_offset 8\n\t"
        ".cfi_offset %rip, -8\n\t"
        "test %eax, %eax\n\t"
        "jz 3f\n\t"
        "movl $0, 12(%r9)\n\t"
        "mov %r9, %fs:(%r8)\n"
        "3:\tret\n"
        "4:\tjmp *(%r11)\n\t"
        ".cfi_endproc\n\t"
        ".size vfork, . - vfork\n\t"
        ".size __vfork, . - __vfork");

static bool is_libc(const char *path)
{
    static const char *const names[] = {"libc.so.", "libpthread.so.", "librt.so."};
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void set(struct blocking_target *t, void *found, bool parks)
{
    t->parks = parks;
    if (!parks && t == &blocking_vfork)
        park_forbid();
    atomic_thread_fence(memory_order_release);
    *(void *volatile *)&t->function = found;
}

static void set_found(struct blocking_target *t, void *found)
{
    struct dl_find_object object;
    set(t, found, _dl_find_object(found, &object) == 0 && is_libc(object.dlfo_link_map->l_name));
}

/* Several threads may come here for the same one; they find the same. */
void blocking_look_up(struct blocking_target *t)
{
    set_found(t, real_find(t->name));
}

/* What this libc does not have stays unknown, unless it is called. */
static void set_others(void)
{
    for (size_t i = 0; i < GC_COUNT(targets); i++) {
        void *found = targets[i]->function == NULL ? dlsym(RTLD_NEXT, targets[i]->name) : NULL;
        if (found != NULL)
            set_found(targets[i], found);
    }
}

void blocking_start(void)
{
    struct next_symbol found[GC_COUNT(targets)];
    const struct link_map *last = NULL;
    bool parks = false;
    for (size_t i = 0; i < GC_COUNT(targets); i++)
        found[i].name = targets[i]->name;
    next_symbol_find(found, GC_COUNT(found), targets);
    for (size_t i = 0; i < GC_COUNT(targets); i++) {
        if (found[i].object == NULL || targets[i]->function != NULL)
            continue;
        if (found[i].object != last)
            parks = is_libc(found[i].object->l_name);
        last = found[i].object;
        set(targets[i], found[i].address, parks);
    }
    set_others();
}

_Unwind_Reason_Code blocking_personality(int version, _Unwind_Action actions,
                                         _Unwind_Exception_Class class,
                                         struct _Unwind_Exception *exception,
                                         struct _Unwind_Context *context)
{
    (void)version;
    (void)class;
    (void)exception;
    (void)context;
    if (actions & _UA_CLEANUP_PHASE)
        park_end();
    return _URC_CONTINUE_UNWIND;
}
