/* veil.c -- masks, actions and alternate stacks, twice: the kernel's and the program's.
 *
 * Theory: a page fault while SIGSEGV is blocked kills the process, and so does a caught system call
 * while SIGSYS is. Programs block everything in their workers, handlers block everything while they
 * run, libc does it around clone. So for the length of a phase the kernel has the two signals
 * blocked nowhere, and what the program set is kept here: it is given back when it asks, and to the
 * kernel when the phase ends.
 *
 *   .inv.unblocked  Under the veil no task has a VEILED signal blocked but inside handlers of ours:
 *                   not by its mask (veil_enter, veil_sigprocmask), not by a handler's sa_mask
 *                   (veil_begin, veil_sigaction), not by a frame it returns through
 *                   (veil_before_sigreturn).
 *   .inv.masked     masked[signal] is what is missing from the kernel's sa_mask of this signal.
 *   .inv.stack      Every task has an alternate stack that is never shielded: its own, or one of
 *                   ours where it has none or a small one. Without it a coroutine that touches its
 *                   stack, shielded in the heap, would die in the attempt to push the signal frame
 *                   there.
 *   .inv.kernel     The kernel writes to a task's memory outside of its system calls: the rseq area
 *                   (a failure kills), the word it clears at the thread's end. Both lie about the
 *                   thread pointer, which is kept open, as is the stack where it runs.
 *
 * Frames. The kernel stores mask and alternate stack of the interrupted code in each signal frame,
 * and restores them from there. One made before the phase has the program's values: they are veiled
 * when the task returns through it. One made under the veil and returned through after the phase
 * leaves the task with our alternate stack, which stays mapped, and without its VEILED signals
 * blocked: known, and not mended.
 *
 * Our stacks are ordinary anonymous memory, so that the roots' scan finds the registers of a task
 * that was stopped on one.
 *
 *   .inv.worn       What frames have left on one is no longer anybody's: it is given to the kernel
 *                   when the next phase begins, or at least one in which its task does not run on
 *                   it. Else what a task had in its registers at its last fault would be reached
 *                   for as long as it sleeps. */
#include "gc/veil.h"

#include "base/atomic.h"
#include "base/check.h"
#include "gc/shield.h"
#include "gc/trap_table.h"
#include "gc/world.h"
#include "sys/mem.h"
#include "sys/syscall.h"

#include <errno.h>
#include <sys/mman.h>

enum {
    TASKS_MOST = 4096,
    SIGNALS = 64,
    /* The largest frame (AMX) is 11 KiB; a handler of the program's that asked for an alternate
     * stack without setting one runs here, too. Touched as it is used. */
    STACK_SIZE = 64 << 10,
    /* A frame with AVX-512 takes 3.5 KiB, a handler of ours 2, and one frame more may be on top. */
    STACK_LEAST = 16 << 10,
    /* Static thread-local storage below the thread pointer, with newer libcs' rseq area, and struct
     * pthread above it. */
    POINTER_BELOW = 64 << 10,
    POINTER_ABOVE = 8 << 10,
    /* Frames further below where a task was interrupted are on another stack. */
    SAME_STACK = 8 << 20,
};
/* Flags that the kernel knows, and shows again. */
#define FLAGS_KNOWN 0xdc000807u

struct veiled_task {
    int32_t tid;
    bool alive, inside;
    bool worn;                /* `stack` may hold old frames */
    uint64_t hidden;          /* VEILED signals that the program believes blocked */
    uintptr_t entered_at;     /* its stack pointer then */
    char *stack;              /* ours, or NULL: made when it is needed */
    stack_t own;              /* the program's, in place of which it is set */
};

static struct {
    /* Under shield_lock; a task's own record is its own. */
    struct veiled_task tasks[TASKS_MOST];
    _Atomic uint32_t count;
    char *spare[TASKS_MOST];  /* stacks of tasks that ended */
    uint32_t spares;
    /* Under shield_lock. */
    uint64_t masked[SIGNALS + 1];
    struct signal_action program[2]; /* of the VEILED */
} veil GC_LARGE;

static int32_t my_tid(void)
{
    return (int32_t)syscall0(__NR_gettid);
}

static struct veiled_task *task_of(int32_t tid)
{
    uint32_t count = acquire_load(&veil.count);
    for (uint32_t i = 0; i < count; i++)
        if (veil.tasks[i].tid == tid)
            return &veil.tasks[i];
    return NULL;
}

static uint64_t *mask_of(ucontext_t *context)
{
    return (uint64_t *)(void *)&context->uc_sigmask;
}

static uintptr_t stack_pointer_of(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
}

/* Of program[]; -1: not one of the two. */
static int index_of(int signal)
{
    return signal == SIGSEGV ? 0 : signal == SIGSYS ? 1 : -1;
}

/* ---- alternate stacks ---- */

static void keep_stack_open(const struct veiled_task *t)
{
    if (t->stack != NULL)
        shield_keep_open((uintptr_t)t->stack, STACK_SIZE);
}

static char *stack_make(void)
{
    shield_lock();
    char *stack = veil.spares == 0 ? NULL : veil.spare[--veil.spares];
    shield_unlock();
    if (stack == NULL) {
        stack = mem_map(STACK_SIZE);
        if (stack != NULL)
            syscall3(__NR_mprotect, (long)stack, PAGE_SIZE, PROT_NONE);
    }
    return stack;
}

/* In the frames of a task that never had one the flag is not set. */
static bool is_disabled(const stack_t *s)
{
    return (s->ss_flags & SS_DISABLE) != 0 || s->ss_size == 0;
}

static bool is_ours(const struct veiled_task *t, const stack_t *s)
{
    return t->stack != NULL && s->ss_sp == t->stack + PAGE_SIZE;
}

static bool is_wanting(const stack_t *s)
{
    return is_disabled(s) || s->ss_size < STACK_LEAST;
}

/* .inv.worn */
static void wipe_stack(struct veiled_task *t)
{
    t->worn = !mem_discard(t->stack + PAGE_SIZE, STACK_SIZE - PAGE_SIZE);
}

static bool give_stack(struct veiled_task *t, stack_t *in_frame)
{
    if (is_ours(t, in_frame))
        return true;
    if (!is_wanting(in_frame)) {
        shield_keep_open((uintptr_t)in_frame->ss_sp, in_frame->ss_size);
        return true;
    }
    if (t->stack == NULL) {
        t->stack = stack_make();
        if (t->stack == NULL)
            return false;
    }
    keep_stack_open(t);
    t->worn = true;
    t->own = *in_frame;
    t->own.ss_flags &= ~SS_ONSTACK;
    *in_frame = (stack_t){.ss_sp = t->stack + PAGE_SIZE, .ss_size = STACK_SIZE - PAGE_SIZE};
    return true;
}

/* The kernel refuses to change the alternate stack of a task that runs on it, which it tells by the
 * stack pointer at that moment; nothing else uses that, for all signals are blocked. To put it into
 * the frame is not enough: since Linux 6.12 a return restores it before the stack pointer. */
static void set_stack(const stack_t *to)
{
    long result = __NR_sigaltstack;
    __asm__ volatile("mov %%rsp, %%r12\n\t"
                     "mov $4096, %%esp\n\t"
                     "syscall\n\t"
                     "mov %%r12, %%rsp"
                     : "+a"(result)
                     : "D"(to), "S"(0)
                     : "rcx", "r11", "r12", "memory");
}

static void take_stack(const struct veiled_task *t, stack_t *in_frame)
{
    if (!is_ours(t, in_frame))
        return;
    *in_frame = is_disabled(&t->own) ? (stack_t){.ss_flags = SS_DISABLE} : t->own;
    set_stack(in_frame);
}

void veil_give_stack(ucontext_t *context)
{
    if (!is_wanting(&context->uc_stack))
        return;
    struct veiled_task *t = task_of(my_tid());
    if (t != NULL)
        give_stack(t, &context->uc_stack);
}

/* ---- tasks ---- */

static struct veiled_task *task_add(int32_t tid)
{
    uint32_t count = relaxed_load(&veil.count);
    if (count == TASKS_MOST)
        return NULL;
    veil.tasks[count] = (struct veiled_task){.tid = tid};
    release_store(&veil.count, count + 1);
    return &veil.tasks[count];
}

/* World stopped: some task runs on it, or would. In fork's child that may be one whose record was
 * another's. */
static bool is_used(const char *stack)
{
    size_t count;
    uintptr_t start = (uintptr_t)stack;
    const struct stopped_task *stopped = world_tasks(&count);
    bool used = false;
    for (size_t i = 0; i < count; i++)
        used |= stopped[i].stack_pointer - start < STACK_SIZE ||
                stopped[i].alternate - start < STACK_SIZE;
    return used;
}

static void spare_stack(struct veiled_task *t)
{
    if (t->worn)
        wipe_stack(t);
    if (veil.spares < TASKS_MOST)
        veil.spare[veil.spares++] = t->stack;
}

/* Records of tasks that are gone make room. */
static void forget_dead(void)
{
    uint32_t kept = 0, count = relaxed_load(&veil.count);
    for (uint32_t i = 0; i < count; i++) {
        struct veiled_task *t = &veil.tasks[i];
        if (t->alive)
            veil.tasks[kept++] = *t;
        else if (t->stack != NULL && !is_used(t->stack))
            spare_stack(t);
    }
    relaxed_store(&veil.count, kept);
}

/* Its frame for the stop is on it, too, if it runs there. In the kernel's eyes it may still have
 * it, by a frame of the last phase: then it stays worn. */
static void wipe_if_left(struct veiled_task *t, const struct stopped_task *s)
{
    uintptr_t start = (uintptr_t)t->stack;
    bool runs_there = s->stack_pointer - start < STACK_SIZE || s->frame - start < STACK_SIZE;
    if (!t->worn || runs_there)
        return;
    wipe_stack(t);
    t->worn |= s->alternate == start + PAGE_SIZE;
}

static bool know_tasks(void)
{
    size_t count;
    const struct stopped_task *stopped = world_tasks(&count);
    for (uint32_t i = 0; i < relaxed_load(&veil.count); i++)
        veil.tasks[i].alive = veil.tasks[i].inside = false;
    for (size_t i = 0; i < count; i++) {
        struct veiled_task *t = task_of(stopped[i].tid);
        if (t == NULL)
            t = task_add(stopped[i].tid);
        if (t == NULL)
            return false;
        t->alive = true;
        wipe_if_left(t, &stopped[i]);
        keep_stack_open(t);
        shield_keep_stack(stopped[i].stack_pointer);
        shield_keep_open(stopped[i].alternate, stopped[i].alternate_size);
        if (stopped[i].thread_pointer != 0)
            shield_keep_open(stopped[i].thread_pointer - POINTER_BELOW,
                             POINTER_BELOW + POINTER_ABOVE);
    }
    forget_dead();
    return true;
}

static void hide(struct veiled_task *t, uint64_t *mask)
{
    t->hidden = *mask & VEILED;
    *mask &= ~VEILED;
}

bool veil_enter(ucontext_t *context)
{
    struct veiled_task *t = task_of(my_tid());
    if (t == NULL || !give_stack(t, &context->uc_stack))
        return false;
    if (!t->inside) {
        hide(t, mask_of(context));
        t->entered_at = stack_pointer_of(context);
        t->inside = true;
    }
    return true;
}

bool veil_leave(ucontext_t *context)
{
    struct veiled_task *t = task_of(my_tid());
    if (t == NULL || !t->inside)
        return false;
    take_stack(t, &context->uc_stack);
    *mask_of(context) |= t->hidden;
    t->hidden = 0;
    t->inside = false;
    return true;
}

uint64_t veil_hidden(void)
{
    const struct veiled_task *t = task_of(my_tid());
    return t == NULL ? 0 : t->hidden;
}

bool veil_born(uint64_t hidden)
{
    shield_lock();
    struct veiled_task *t = task_of(my_tid()); /* the number may be a dead task's */
    if (t == NULL)
        t = task_add(my_tid());
    shield_unlock();
    stack_t stack = {.ss_flags = SS_DISABLE};
    if (t == NULL || !give_stack(t, &stack))
        return false;
    t->hidden = hidden;
    t->entered_at = 0;
    t->inside = true;
    return syscall2(__NR_sigaltstack, (long)&stack, 0) == 0;
}

void veil_resume(ucontext_t *context, uint64_t hidden)
{
    struct veiled_task *t = task_of(my_tid());
    if (t != NULL && t->inside) {
        t->hidden = hidden;
        return;
    }
    *mask_of(context) |= hidden;
    if (t != NULL)
        take_stack(t, &context->uc_stack);
}

/* ---- actions ---- */

static bool has_handler(const struct signal_action *a)
{
    return (uintptr_t)a->handler != (uintptr_t)SIG_DFL &&
           (uintptr_t)a->handler != (uintptr_t)SIG_IGN;
}

static bool is_others(int signal)
{
    return signal != SIGKILL && signal != SIGSTOP && signal != world_signal() &&
           index_of(signal) < 0;
}

/* Handlers block neither of the two. */
static void strip_masks(void)
{
    struct signal_action action;
    for (int signal = 1; signal <= SIGNALS; signal++) {
        veil.masked[signal] = 0;
        if (!is_others(signal) || signal_action(signal, NULL, &action) != 0 ||
            !has_handler(&action) || (action.mask & VEILED) == 0)
            continue;
        veil.masked[signal] = action.mask & VEILED;
        action.mask &= ~VEILED;
        signal_action(signal, &action, NULL);
    }
}

static void restore_masks(void)
{
    struct signal_action action;
    for (int signal = 1; signal <= SIGNALS; signal++) {
        if (veil.masked[signal] == 0 || signal_action(signal, NULL, &action) != 0)
            continue;
        action.mask |= veil.masked[signal];
        veil.masked[signal] = 0;
        signal_action(signal, &action, NULL);
    }
}

static void take_over(int signal, veil_handler_fn *handler)
{
    int i = index_of(signal);
    GC_CHECK(signal_action(signal, NULL, &veil.program[i]) == 0 &&
             signal_install(signal, 0, SIGNAL_ALL, handler) == 0);
}

const char *veil_begin(veil_handler_fn *on_segv, veil_handler_fn *on_sys)
{
    if (!know_tasks())
        return "too many threads for the mprotect barrier";
    strip_masks();
    take_over(SIGSEGV, on_segv);
    take_over(SIGSYS, on_sys);
    return NULL;
}

void veil_end(void)
{
    signal_action(SIGSEGV, &veil.program[0], NULL);
    signal_action(SIGSYS, &veil.program[1], NULL);
    restore_masks();
}

bool veil_dies_of(int signal)
{
    struct signal_action action = {0};
    if (has_handler(&veil.program[index_of(signal)]))
        return false;
    signal_action(signal, &action, NULL);
    return true;
}

bool veil_ignores(void)
{
    return (uintptr_t)veil.program[0].handler == (uintptr_t)SIG_IGN ||
           (uintptr_t)veil.program[1].handler == (uintptr_t)SIG_IGN;
}

/* The task has its parent's number in the table, and its frame; all others are gone. Who runs on
 * such a stack goes on there: it is nobody's from now on. */
void veil_after_fork(ucontext_t *context)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    veil_end();
    for (uint32_t i = 0; i < relaxed_load(&veil.count); i++) {
        struct veiled_task *t = &veil.tasks[i];
        if (t->stack == NULL)
            continue;
        if (context != NULL && context->uc_stack.ss_sp == t->stack + PAGE_SIZE)
            take_stack(t, &context->uc_stack);
        if (here - (uintptr_t)t->stack >= STACK_SIZE)
            spare_stack(t);
    }
    relaxed_store(&veil.count, 0);
}

/* ---- system calls ---- */

/* Of a VEILED signal: only the record changes. */
static void swap_action(int i, const struct signal_action *set, struct signal_action *old)
{
    *old = veil.program[i];
    if (set == NULL)
        return;
    veil.program[i] = *set;
    veil.program[i].mask &= ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
    veil.program[i].flags &= FLAGS_KNOWN;
}

static long change_action(int signal, const struct signal_action *set, struct signal_action *old)
{
    int i = index_of(signal);
    if (i >= 0) {
        swap_action(i, set, old);
        return 0;
    }
    struct signal_action stripped;
    if (set != NULL) {
        stripped = *set;
        stripped.mask &= ~VEILED;
    }
    long result = signal_action(signal, set == NULL ? NULL : &stripped, old);
    if (result != 0)
        return result;
    old->mask |= veil.masked[signal];
    if (set != NULL)
        veil.masked[signal] = set->mask & VEILED;
    return 0;
}

long veil_sigaction(int signal, uintptr_t set, uintptr_t old, size_t size)
{
    struct signal_action new, before;
    if (size != sizeof new.mask || signal < 1 || signal > SIGNALS)
        return -EINVAL;
    if (set != 0 && !trap_peek(&new, set, sizeof new))
        return -EFAULT;
    shield_lock();
    long result = change_action(signal, set == 0 ? NULL : &new, &before);
    shield_unlock();
    if (result == 0 && old != 0 && !trap_poke(old, &before, sizeof before))
        return -EFAULT;
    return result;
}

static bool change_mask(uint64_t *mask, int how, uint64_t set)
{
    if (how == SIG_BLOCK)
        *mask |= set;
    else if (how == SIG_UNBLOCK)
        *mask &= ~set;
    else if (how == SIG_SETMASK)
        *mask = set;
    else
        return false;
    *mask &= ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
    return true;
}

long veil_sigprocmask(ucontext_t *context, int how, uintptr_t set, uintptr_t old, size_t size)
{
    struct veiled_task *t = task_of(my_tid());
    uint64_t *real = mask_of(context), new = 0, before = *real | (t == NULL ? 0 : t->hidden);
    uint64_t mask = before;
    if (size != sizeof new)
        return -EINVAL;
    if (set != 0) {
        if (!trap_peek(&new, set, sizeof new))
            return -EFAULT;
        if (!change_mask(&mask, how, new))
            return -EINVAL;
        if (t != NULL)
            t->hidden = mask & VEILED;
        *real = mask & ~VEILED;
    }
    return old == 0 || trap_poke(old, &before, sizeof before) ? 0 : -EFAULT;
}

/* The call shall find what the program believes: no stack at all where there is one of ours. If it
 * sets none, the next frame gives ours back. */
void veil_before_sigaltstack(ucontext_t *context, uintptr_t set)
{
    struct veiled_task *t = task_of(my_tid());
    stack_t new;
    if (t != NULL)
        take_stack(t, &context->uc_stack);
    if (set != 0 && trap_peek(&new, set, sizeof new))
        shield_keep_open((uintptr_t)new.ss_sp, new.ss_size);
}

/* Was the frame made under the veil, so that it lacks what is hidden? */
static bool is_veiled(const struct veiled_task *t, uintptr_t frame)
{
    return t->entered_at == 0 || (frame < t->entered_at && t->entered_at - frame < SAME_STACK);
}

void veil_before_sigreturn(ucontext_t *context, uintptr_t (*moved)(uintptr_t pc))
{
    uintptr_t at = stack_pointer_of(context); /* of the frame's ucontext */
    enum { SIZE = offsetof(ucontext_t, uc_sigmask) + sizeof(uint64_t) };
    ucontext_t frame;
    struct veiled_task *t = task_of(my_tid());
    if (t == NULL || !trap_peek(&frame, at, SIZE))
        return;
    uint64_t mask = *mask_of(&frame) & VEILED;
    t->hidden = is_veiled(t, at) ? t->hidden | mask : mask;
    *mask_of(&frame) &= ~VEILED;
    give_stack(t, &frame.uc_stack);
    frame.uc_mcontext.gregs[REG_RIP] =
        (greg_t)moved((uintptr_t)frame.uc_mcontext.gregs[REG_RIP]);
    trap_poke(at, &frame, SIZE);
}
