/* own_thread.c -- clone(), with what libc would have set up.
 *
 * A thread made by pthread_create would count for libc: when the program's own threads have ended
 * the process must end, setuid() would signal it and wait, and creating it takes libc's locks and
 * allocates, in the middle of somebody's malloc. So the thread is the kernel's only.
 *
 *   .inv.tls     Thread-local variables of this library (initial-exec) lie at fixed negative
 *                offsets from the thread pointer; all start as zeros. So zeroed memory with a
 *                thread pointer near its end will do. Behind it lie the fields of libc's thread
 *                descriptor which compiled code reads: its own address, the stack protector's
 *                canary and the pointer guard.
 *   .inv.libc    Such a thread calls memcpy and its like, and nothing else of libc.
 *   .inv.files   With own_files it unshares the table of descriptors, and starts with an empty one:
 *                the program never meets ours, and no file that the program closes stays open.
 *                The kernel makes that table by copying the first 64 descriptors and closing them,
 *                which for a POSIX message queue undoes the process's mq_notify: no such thread may
 *                be started after one, and none be on its way (collector_forbid_thread).
 *
 * The kernel clears and wakes `tid` when the thread is gone from its memory: then the stack can be
 * used again. */
#include "gc/own_thread.h"

#include "base/atomic.h"
#include "base/check.h"
#include "heap/meta.h"
#include "mutator/entry.h"
#include "mutator/park.h"
#include "mutator/thread_cache.h"
#include "sys/lock.h"
#include "sys/signal.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <errno.h>
#include <linux/close_range.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>

enum {
    STACK_BYTES = 256 << 10,
    /* Our threads compute for as long as there is work. A thread of the program that wakes up does
     * not wait for the end of a slice of the kernel's choice, 3 ms, but of this. */
    SLICE_NS = 200000,
    /* Below the thread pointer, at least: libc's and our static thread-local storage. */
    TLS_BYTES = 64 << 10,
    /* Above it: what lies in struct pthread (2,368 bytes in glibc 2.36). */
    DESCRIPTOR_BYTES = 8 << 10,
};

/* Written by starters, one at a time; read by the collector. */
static struct own_thread *_Atomic first;

/* The part of libc's thread descriptor that compiled code knows (System V ABI, i386 and x86-64
 * psABI; glibc's sysdeps/x86_64/nptl/tls.h). */
struct descriptor {
    void *self;
    void *dtv;
    void *self_too;
    int32_t multiple_threads, gscope;
    uintptr_t sysinfo, canary, pointer_guard;
};

static struct descriptor *current_descriptor(void)
{
    struct descriptor *d;
    __asm__("mov %%fs:0, %0" : "=r"(d));
    return d;
}

/* Do all our thread-local variables fit below the thread pointer? */
static bool tls_fits(void)
{
    uintptr_t tp = (uintptr_t)current_descriptor();
    return tp - (uintptr_t)&thread_cache < TLS_BYTES && tp - (uintptr_t)&entry_stack < TLS_BYTES &&
           tp - (uintptr_t)&park_self < TLS_BYTES;
}

static struct descriptor *new_descriptor(char *memory)
{
    struct descriptor *mine = current_descriptor();
    struct descriptor *d = (void *)(memory + STACK_BYTES + TLS_BYTES);
    memset(memory + STACK_BYTES, 0, TLS_BYTES + DESCRIPTOR_BYTES);
    d->self = d->self_too = d;
    d->multiple_threads = 1;
    d->canary = mine->canary;
    d->pointer_guard = mine->pointer_guard;
    return d;
}

static int thread_main(void *argument)
{
    struct own_thread *t = argument;
    uint64_t all = SIGNAL_ALL;
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof(all));
    syscall4(__NR_prctl, PR_SET_NAME, (long)t->name, 0, 0);
    task_set_slice(SLICE_NS);
    if (t->own_files)
        t->own_files = syscall3(__NR_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) == 0;
    release_store(&t->settled, 1);
    futex_wake(&t->settled, 1);
    t->run(t->data);
    return 0;
}

/* libc's clone() under the name that no program, and no wrapper, stands in front of. */
extern int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

static long start(struct own_thread *t)
{
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                      CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    uint64_t blocked = signal_block(SIGNAL_ALL);
    int saved = errno;
    int tid = __clone(thread_main, t->memory + STACK_BYTES, flags, t, (pid_t *)(uintptr_t)&t->tid,
                      new_descriptor(t->memory), (pid_t *)(uintptr_t)&t->tid);
    errno = saved;
    signal_unblock(blocked);
    return tid;
}

/* Memory, and a place in the list, for good. */
bool own_thread_prepare(struct own_thread *t)
{
    if (t->memory != NULL)
        return true;
    char *memory = meta_alloc(STACK_BYTES + TLS_BYTES + DESCRIPTOR_BYTES);
    if (memory == NULL)
        return false;
    t->next = acquire_load(&first);
    release_store(&first, t);
    compiler_barrier();
    t->memory = memory; /* last: a fork may come in between */
    return true;
}

bool own_thread_start(struct own_thread *t, const char *name, bool own_files,
                      void (*run)(void *data), void *data)
{
    GC_CHECK(acquire_load(&t->tid) == 0);
    if (!tls_fits() || !own_thread_prepare(t))
        return false;
    t->name = name;
    t->own_files = own_files;
    t->run = run;
    t->data = data;
    release_store(&t->settled, 0);
    t->id = (int32_t)start(t);
    while (t->id > 0 && acquire_load(&t->settled) == 0)
        futex_wait(&t->settled, 0);
    return t->id > 0;
}

bool own_thread_has(int32_t tid)
{
    for (struct own_thread *t = acquire_load(&first); t != NULL; t = t->next)
        if ((int32_t)acquire_load(&t->tid) == tid)
            return true;
    return false;
}

uint32_t own_thread_count(void)
{
    uint32_t count = 0;
    for (struct own_thread *t = acquire_load(&first); t != NULL; t = t->next)
        count += acquire_load(&t->tid) != 0;
    return count;
}

void own_thread_after_fork(void)
{
    for (struct own_thread *t = acquire_load(&first); t != NULL; t = t->next) {
        release_store(&t->tid, 0);
        t->id = 0;
    }
}

void own_thread_join(struct own_thread *t)
{
    /* The kernel's wake-up is not a private one. */
    for (uint32_t tid; (tid = acquire_load(&t->tid)) != 0;)
        futex_wait_shared(&t->tid, tid);
    /* Gone from our memory, it is still on its way out of the process for some 10 us: unshare() and
     * its like would see a second thread. */
    while (t->id > 0 && syscall3(__NR_tgkill, syscall0(__NR_getpid), t->id, 0) == 0)
        syscall0(__NR_sched_yield);
    t->id = 0;
}
