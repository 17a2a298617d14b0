/* sys_sandbox.c -- memory still comes from the kernel when only mmap is left. */
#include "sys/sandbox.h"

#include "child.h"
#include "base/base.h"
#include "sys/mem.h"

#include <asm/unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#define ALLOW(name) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Any other call than these ends the process. */
static void enter(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(mmap), ALLOW(munmap), ALLOW(write), ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {GC_COUNT(filter), filter};
    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    sandbox_set(true);
    EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
}

static void memory(void)
{
    enum { SIZE = 16 * PAGE_SIZE };
    EXPECT(!sandbox_on());
    char *range = mem_reserve(SIZE);
    EXPECT(range != NULL && mem_commit(range, PAGE_SIZE));
    range[0] = 1;
    enter();
    EXPECT(sandbox_on() && mem_commit(range + PAGE_SIZE, SIZE - PAGE_SIZE));
    for (size_t i = PAGE_SIZE; i < SIZE; i += PAGE_SIZE)
        range[i] = 2;
    EXPECT(range[0] == 1 && range[SIZE - PAGE_SIZE] == 2);
    EXPECT(!mem_discard(range, SIZE) && range[0] == 1);
    EXPECT(mem_map(PAGE_SIZE) != NULL);
    mem_release(range, SIZE);
}

static void test_memory(void)
{
    EXPECT(child_passes(memory));
}

UNIT_MAIN(TEST(test_memory))
