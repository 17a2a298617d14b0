/* refusing.c -- runs a program in a sandbox like a container's.   refusing CALL ERROR PROGRAM ARGS...
 *
 * A filter of system calls answers pidfd_getfd, or pidfd_open, with EPERM or ENOSYS; it is inherited
 * over exec. This program is run without the library. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"

int main(int argc, char **argv)
{
    CHECK(argc > 3);
    unsigned call = strcmp(argv[1], "pidfd_open") == 0 ? SYS_pidfd_open : SYS_pidfd_getfd;
    unsigned error = strcmp(argv[2], "ENOSYS") == 0 ? ENOSYS : EPERM;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
    CHECK(syscall((long)call, -1, 0, 0) == -1 && errno == (int)error);
    execvp(argv[3], argv + 3);
    CHECK(0);
}
