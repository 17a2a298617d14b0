/* limits.c -- a program that limits its own address space.
 *
 * The kernel counts our reservation, of which nothing is used: the program's next mmap would fail.
 * So the reservation is shrunk before the limit comes into force; and once more after that, if what
 * else there is in the process leaves no room. A call that the kernel then refuses has made the
 * reservation smaller, and nothing else.
 *
 * What another process sets (prlimit --pid), or a system call without libc, is not seen; and where
 * a filter of system calls is in force (sys/sandbox.h) nothing is done. */
#include "base/base.h"
#include "gc/trap_table.h"
#include "real.h"
#include "runtime.h"
#include "sys/sandbox.h"

#include <errno.h>

/* A filter of system calls in force may know none of ours. */
static bool concerns_us(pid_t pid, int resource, const struct rlimit *limit)
{
    return resource == RLIMIT_AS && limit != NULL && !sandbox_on() &&
           (pid == 0 || pid == getpid());
}

/* The kernel's reader of `limit` says EFAULT where we would die. */
static void coming(pid_t pid, int resource, const struct rlimit *limit)
{
    struct rlimit copy;
    real_resolve();
    if (concerns_us(pid, resource, limit) &&
        trap_peek(&copy, (uintptr_t)limit, sizeof copy))
        runtime_limit_coming(copy.rlim_cur);
}

static void called(pid_t pid, int resource, const struct rlimit *limit)
{
    int saved = errno;
    if (concerns_us(pid, resource, limit))
        runtime_limit_set();
    errno = saved;
}

#define LIMITED(type, pid, resource, limit, call) \
    coming(pid, (int)resource, limit); \
    type result = call; \
    called(pid, (int)resource, limit); \
    return result

/* Under both of their names; <sys/resource.h> would turn the one into the other. */
#define SETRLIMIT(function, symbol) \
    GC_EXPORT int function(__rlimit_resource_t, const struct rlimit *) __asm__(symbol); \
    int function(__rlimit_resource_t resource, const struct rlimit *limit) \
    { \
        LIMITED(int, 0, resource, limit, real.setrlimit(resource, limit)); \
    }

#define PRLIMIT(function, symbol) \
    GC_EXPORT int function(pid_t, __rlimit_resource_t, const struct rlimit *, struct rlimit *) \
        __asm__(symbol); \
    int function(pid_t pid, __rlimit_resource_t resource, const struct rlimit *limit, \
                 struct rlimit *old) \
    { \
        LIMITED(int, pid, resource, limit, real.prlimit(pid, resource, limit, old)); \
    }

SETRLIMIT(set_limit, "setrlimit")
SETRLIMIT(set_limit64, "setrlimit64")
PRLIMIT(process_limit, "prlimit")
PRLIMIT(process_limit64, "prlimit64")

/* syscall(SYS_setrlimit) and syscall(SYS_prlimit64), from blocking.c. */
long limits_setrlimit(long number, long resource, const struct rlimit *limit);
long limits_setrlimit(long number, long resource, const struct rlimit *limit)
{
    LIMITED(long, 0, resource, limit, real.syscall(number, resource, limit));
}

long limits_prlimit(long number, long pid, long resource, const struct rlimit *limit,
                    struct rlimit *old);
long limits_prlimit(long number, long pid, long resource, const struct rlimit *limit,
                    struct rlimit *old)
{
    LIMITED(long, (pid_t)pid, resource, limit, real.syscall(number, pid, resource, limit, old));
}
