/* gc_deputy.c -- a thread that has the program's descriptors, and does what it is told with them. */
#include "gc/deputy.h"

#include "child.h"
#include "gc/own_thread.h"
#include "heap/heap.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

enum { TIMES = 1000 };

static struct {
    int32_t tid;
    unsigned done;
    int fd;                     /* to look at */
    bool there;
} seen;

static void look(void *data)
{
    EXPECT(data == &seen);
    seen.tid = (int32_t)syscall0(__NR_gettid);
    seen.done++;
    seen.there = syscall3(__NR_fcntl, seen.fd, F_GETFD, 0) >= 0;
}

static bool shows(int fd)
{
    seen.fd = fd;
    deputy_do(look, &seen);
    return seen.there;
}

static void works(void)
{
    EXPECT(heap_init(64 * MIB, false) && !deputy_is_there());
    deputy_dismiss();
    EXPECT(deputy_hire() && deputy_is_there() && deputy_hire());
    for (unsigned i = 0; i < TIMES; i++) {
        int fd = open("/dev/null", O_RDONLY);
        EXPECT(fd >= 0 && shows(fd) && seen.done == 2 * i + 1);
        EXPECT(close(fd) == 0 && !shows(fd) && seen.done == 2 * i + 2);
    }
    EXPECT(seen.tid != getpid() && own_thread_has(seen.tid) && task_count() == 2);
    deputy_dismiss();
    EXPECT(!deputy_is_there() && !own_thread_has(seen.tid) && task_count() == 1);
    EXPECT(deputy_hire() && shows(1));
    deputy_dismiss();
}

/* What the program closes is closed. */
static void holds_nothing(void)
{
    int ends[2];
    EXPECT(heap_init(64 * MIB, false) && pipe(ends) == 0 && deputy_hire() && shows(ends[1]));
    EXPECT(close(ends[1]) == 0 && read(ends[0], (char[1]){0}, 1) == 0);
    EXPECT(open("/dev/null", O_RDONLY) == ends[1]); /* no number is taken */
    deputy_dismiss();
}

static void child_of_fork(void)
{
    own_thread_after_fork();
    EXPECT(!deputy_is_there());
    deputy_dismiss();
    EXPECT(deputy_hire() && shows(1) && own_thread_has(seen.tid));
    deputy_dismiss();
}

static void forked(void)
{
    EXPECT(heap_init(64 * MIB, false) && deputy_hire());
    EXPECT(child_passes(child_of_fork));
    EXPECT(shows(1));
    deputy_dismiss();
}

/* ---- is it needed? ---- */

static void refuse(unsigned call, unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {GC_COUNT(filter), filter};
    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
}

static void refused(void)
{
    refuse(__NR_pidfd_getfd, EPERM);
    EXPECT(deputy_is_needed());
}

static void unknown(void)
{
    refuse(__NR_pidfd_getfd, ENOSYS);
    EXPECT(deputy_is_needed());
}

static void nothing_to_ask(void)
{
    refuse(__NR_pidfd_open, EPERM);
    EXPECT(deputy_is_needed());
}

/* Other filters are no reason, and the question leaves no trace. */
static void lent(void)
{
    int next = dup(0);
    EXPECT(close(next) == 0 && !deputy_is_needed());
    refuse(__NR_ptrace, EPERM);
    EXPECT(!deputy_is_needed() && dup(0) == next);
}

IN_CHILD(works)
IN_CHILD(holds_nothing)
IN_CHILD(forked)
IN_CHILD(refused)
IN_CHILD(unknown)
IN_CHILD(nothing_to_ask)
IN_CHILD(lent)

UNIT_MAIN(TEST(test_works), TEST(test_holds_nothing), TEST(test_forked), TEST(test_refused),
          TEST(test_unknown), TEST(test_nothing_to_ask), TEST(test_lent))
