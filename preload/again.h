/* again.h -- a blocking call that a stop of the world has interrupted, made again.
 *
 * Thread safety: the calling thread's own, while it is parked. */
#ifndef GC_AGAIN_H
#define GC_AGAIN_H

#include <stddef.h>
#include <stdint.h>

/* A function that blocks. Read by the assembly of blocking.c. */
struct blocking_target {
    void *function;      /* NULL: not looked up yet */
    const char *name;
    uint64_t parks;      /* 0: it is called as by a running thread */
};
_Static_assert(offsetof(struct blocking_target, function) == 0 &&
                   offsetof(struct blocking_target, parks) == 16,
               "blocking.c knows it");

/* Its arguments, as they lie on the stack. */
struct blocking_arguments {
    long stacked, r9, r8, rcx, rdx, rsi, rdi;
};

/* A call begins with these arguments, and may be interrupted: notes the time. The last parameter
 * lies on the stack, where the assembly has saved it. */
void again_begin(long rdi, long rsi, long rdx, long rcx, long r8, long r9,
                 const struct blocking_target *t);
/* The call has returned `result`, and a stop's signal has come meanwhile. If that alone has ended
 * it, makes it again, until it ends by itself. Returns its result, errno set accordingly. */
long again_if_woken(const struct blocking_target *t, const struct blocking_arguments *a,
                    long result);

#endif
