/* alone.c -- calls that the collector's thread must not be there for.
 *
 * setuid() and its kin change one thread in the kernel; libc makes all its threads follow, but does
 * not know ours, which would keep the old rights. unshare() and setns() refuse some namespaces to a
 * process of more than one thread. So our thread ends before such a call; the next collection makes
 * a new one, with the rights of the thread that it is made by. Its deputy (gc/deputy.c) has the
 * program's descriptors: it ends before the program leaves them to it (close_range).
 *
 * A filter of system calls may end the process at our next one (sys/sandbox.h): before it comes
 * into force the collector ends for good. Programs set it by prctl(), or, as libseccomp does, by
 * syscall(). */
#include "base/base.h"
#include "real.h"
#include "runtime.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"

#include <errno.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#define ALONE(name, parameters, arguments) \
    GC_EXPORT int name parameters \
    { \
        real_resolve(); \
        runtime_retire_collector(); \
        return real.name arguments; \
    }

ALONE(setuid, (uid_t uid), (uid))
ALONE(setgid, (gid_t gid), (gid))
ALONE(seteuid, (uid_t uid), (uid))
ALONE(setegid, (gid_t gid), (gid))
ALONE(setreuid, (uid_t real_id, uid_t effective), (real_id, effective))
ALONE(setregid, (gid_t real_id, gid_t effective), (real_id, effective))
ALONE(setresuid, (uid_t real_id, uid_t effective, uid_t saved), (real_id, effective, saved))
ALONE(setresgid, (gid_t real_id, gid_t effective, gid_t saved), (real_id, effective, saved))
ALONE(setgroups, (size_t count, const gid_t *groups), (count, groups))
ALONE(initgroups, (const char *user, gid_t group), (user, group))
ALONE(unshare, (int flags), (flags))
ALONE(setns, (int fd, int type), (fd, type))

static void leave_table(unsigned long flags)
{
    if (flags & CLOSE_RANGE_UNSHARE)
        runtime_retire_collector();
}

/* libc has it only since glibc 2.34, as the bare system call. */
int close_range(unsigned first, unsigned last, int flags);
GC_EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    leave_table((unsigned long)flags);
    long result = syscall3(__NR_close_range, first, last, flags);
    if (result < 0)
        errno = (int)-result;
    return result < 0 ? -1 : 0;
}

/* syscall(SYS_close_range), from blocking.c. */
long alone_close_range(long number, unsigned long first, unsigned long last, unsigned long flags);
long alone_close_range(long number, unsigned long first, unsigned long last, unsigned long flags)
{
    real_resolve();
    leave_table(flags);
    return real.syscall(number, first, last, flags);
}

/* One filter may follow another. The result may be a descriptor. */
#define FILTERED(type, call) \
    if (sandbox_on()) \
        return call; \
    runtime_sandbox(true); \
    type result = call; \
    if (result < 0) \
        runtime_sandbox(false); \
    return result

GC_EXPORT int prctl(int option, ...)
{
    unsigned long a[4];
    va_list list;
    va_start(list, option);
    for (int i = 0; i < 4; i++) /* what the caller did not pass is not looked at */
        a[i] = va_arg(list, unsigned long);
    va_end(list);
    real_resolve();
    if (option != PR_SET_SECCOMP)
        return real.prctl(option, a[0], a[1], a[2], a[3]);
    FILTERED(int, real.prctl(option, a[0], a[1], a[2], a[3]));
}

/* syscall(SYS_seccomp), from blocking.c. */
long alone_seccomp(long number, unsigned long operation, unsigned long flags, void *arguments);
long alone_seccomp(long number, unsigned long operation, unsigned long flags, void *arguments)
{
    real_resolve();
    if (operation != SECCOMP_SET_MODE_STRICT && operation != SECCOMP_SET_MODE_FILTER)
        return real.syscall(number, operation, flags, arguments);
    FILTERED(long, real.syscall(number, operation, flags, arguments));
}

/* syscall(SYS_prctl), likewise. */
long alone_prctl(long number, unsigned long option, unsigned long a, unsigned long b,
                 unsigned long c, unsigned long d);
long alone_prctl(long number, unsigned long option, unsigned long a, unsigned long b,
                 unsigned long c, unsigned long d)
{
    real_resolve();
    if (option != PR_SET_SECCOMP)
        return real.syscall(number, option, a, b, c, d);
    FILTERED(long, real.syscall(number, option, a, b, c, d));
}
