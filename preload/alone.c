/* alone.c -- calls that the collector's thread must not be there for.
 *
 * setuid() and its kin change one thread in the kernel; libc makes all its threads follow, but does
 * not know ours, which would keep the old rights. unshare() and setns() refuse some namespaces to a
 * process of more than one thread. So our thread ends before such a call; the next collection makes
 * a new one, with the rights of the thread that it is made by. */
#include "base/base.h"
#include "real.h"
#include "runtime.h"

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
