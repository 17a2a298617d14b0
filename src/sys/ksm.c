/* ksm.c -- the first line of /proc/thread-self/ksm_stat.
 *
 * A page that is merged gets a new page table entry, in which nothing is left of a userfaultfd's
 * protection: it reads as written, and nobody has written it. A service manager may switch merging
 * on for whole processes (prctl PR_SET_MEMORY_MERGE), and old leaks are what is merged first.
 *
 * `ksm_rmap_items` counts the pages that the kernel has looked at, long before it merges the first.
 * The file is there if the kernel can merge at all (Linux 6.1). A process that may not be dumped
 * cannot read it. */
#include "sys/ksm.h"

#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static const char path[] = "/proc/thread-self/ksm_stat", key[] = "ksm_rmap_items ";

bool ksm_looks_by(const char *text)
{
    const char *at = strstr(text, key);
    return at == NULL || at[sizeof key - 1] != '0';
}

bool ksm_looks_at_us(void)
{
    char text[512];
    long fd = syscall3(__NR_open, (long)path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd != -ENOENT;
    long got = syscall3(__NR_read, fd, (long)text, sizeof text - 1);
    syscall1(__NR_close, fd);
    text[got > 0 ? got : 0] = '\0';
    return ksm_looks_by(text);
}
