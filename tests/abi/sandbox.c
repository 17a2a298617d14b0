/* sandbox.c -- a program that gives up system calls, and dies of any but those it names.
 *
 *     sandbox prctl|syscall
 *
 * The list is what glibc's own malloc, threads and exit need, and limits. The filter comes when the heap is in
 * use and, in `syscall`, while another thread allocates; afterwards the heap grows, shrinks, and is
 * used by a new thread. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "abi.h"

#define ALLOW(name) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(brk), ALLOW(mprotect), ALLOW(madvise),
    ALLOW(futex), ALLOW(getrandom), ALLOW(clone), ALLOW(clone3), ALLOW(rseq),
    ALLOW(set_robust_list), ALLOW(rt_sigaction), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn),
    ALLOW(write), ALLOW(fstat), ALLOW(newfstatat), ALLOW(exit), ALLOW(exit_group),
    ALLOW(prlimit64),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};

static struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};

static atomic_bool stop;

static void *allocate_on(void *unused)
{
    while (!atomic_load(&stop))
        pressure(1 << 20, 0);
    return unused;
}

static void *allocate(void *unused)
{
    pressure(20 << 20, 0);
    return unused;
}

static void enter(int by_syscall)
{
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (by_syscall)
        CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) ==
              0);
    else
        CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
}

/* What is refused changes nothing. */
static void fail_to_enter(void)
{
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) == -1 && errno == EFAULT);
    CHECK(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0);
    pressure(20 << 20, 0);
}

int main(int argc, char **argv)
{
    int by_syscall = argc > 1 && strcmp(argv[1], "syscall") == 0;
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    pthread_t beside, after;
    char *kept = malloc(100000);
    pattern_fill(kept, 100000, 1);
    pressure(50 << 20, 0);
    fail_to_enter();
    if (by_syscall)
        CHECK(pthread_create(&beside, NULL, allocate_on, NULL) == 0);
    enter(by_syscall);
    pressure(100 << 20, 1);
    CHECK(setrlimit(RLIMIT_AS, &unlimited) == 0);
    CHECK(pthread_create(&after, NULL, allocate, NULL) == 0 && pthread_join(after, NULL) == 0);
    for (int i = 0; i < 100; i++) {
        char *large = malloc(1 << 20);
        memset(large, i, 1 << 20);
        large = realloc(large, 3 << 20);
        CHECK(large != NULL && large[(1 << 20) - 1] == i);
        free(large);
    }
    atomic_store(&stop, 1);
    if (by_syscall)
        CHECK(pthread_join(beside, NULL) == 0);
    CHECK(pattern_holds(kept, 100000, 1));
    CHECK(write(STDOUT_FILENO, "done\n", 5) == 5);
    return 0;
}
