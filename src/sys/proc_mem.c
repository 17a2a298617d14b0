/* proc_mem.c -- memory read by the kernel, so that nothing faults.
 *
 * The program may unmap or protect a range at any moment outside the pause. A load of ours would
 * then die; the kernel's copy returns short. process_vm_readv on ourselves is about as fast as
 * memcpy, needs no privilege, but honours PROT_NONE; /proc/thread-self/mem copies through a bounce
 * page and ignores protection (unless the kernel is built or booted to forbid that: then it reads
 * nothing).
 *
 *   .inv.prefix   What is returned is a prefix: bytes past the count are unspecified.
 *   .inv.whole    The copy stops at the first page that neither way can read, not before.
 *
 * Traps
 *   - The manual calls partial transfers of process_vm_readv a matter of whole iovec elements. The
 *     kernel in fact stops at the page; neither is relied on: after a refusal the rest of that one
 *     page is tried alone, the second way.
 *   - /proc/thread-self/mem belongs to the address space it was opened in: a fork's child must open
 *     its own, or it reads its parent. The id is asked anew each time for the same reason.
 *   - It is the thread's id, and /proc/thread-self: a main thread that has called pthread_exit
 *     still leads the process, but has no address space.
 *   - Once a process has changed its credentials the file cannot be opened: open it early.
 *   - Reading an untouched page maps the zero page there. Ask pagemap.h first.
 *
 * Thread safety: no state but the descriptor; any number of threads may read. */
#include "sys/proc_mem.h"

#include "base/check.h"
#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

/* All three return what the system call did: bytes copied, or -errno. */
static long read_vm(void *to, uintptr_t address, size_t length)
{
    struct iovec here = {to, length}, there = {(void *)address, length};
    return syscall6(__NR_process_vm_readv, syscall0(__NR_gettid), (long)&here, 1, (long)&there, 1,
                    0);
}

bool proc_mem_copy(void *to, uintptr_t address, size_t length)
{
    return read_vm(to, address, length) == (long)length;
}

static long read_mem(int fd, void *to, uintptr_t address, size_t length)
{
    return syscall4(__NR_pread64, fd, (long)to, (long)length, (long)address);
}

static long read_some(struct proc_mem *m, char *to, uintptr_t address, size_t length,
                      bool unreadable_ok)
{
    if (m->vm_readv_ok && !unreadable_ok) {
        long got = read_vm(to, address, length);
        if (got > 0 || m->mem_fd < 0)
            return got;
        if (got == -EFAULT) /* this page only: the next may be readable again */
            length = size_min(length, PAGE_SIZE - address % PAGE_SIZE);
    }
    return m->mem_fd >= 0 ? read_mem(m->mem_fd, to, address, length) : -EFAULT;
}

bool proc_mem_open(struct proc_mem *m)
{
    static const uint64_t known = 0x6763616c6c6f6321;
    const uintptr_t address = (uintptr_t)&known;
    uint64_t word = 0;
    m->vm_readv_ok = read_vm(&word, address, sizeof word) == sizeof word && word == known;
    word = 0;
    m->mem_fd = (int)syscall3(__NR_open, (long)"/proc/thread-self/mem", O_RDONLY | O_CLOEXEC, 0);
    if (m->mem_fd >= 0 &&
        (read_mem(m->mem_fd, &word, address, sizeof word) != sizeof word || word != known))
        proc_mem_close(m);
    return m->vm_readv_ok || m->mem_fd >= 0;
}

void proc_mem_close(struct proc_mem *m)
{
    if (m->mem_fd >= 0)
        syscall1(__NR_close, m->mem_fd);
    m->mem_fd = -1;
}

size_t proc_mem_read(struct proc_mem *m, void *to, uintptr_t address, size_t length,
                     bool unreadable_ok)
{
    size_t done = 0;
    while (done < length) {
        long got = read_some(m, (char *)to + done, address + done, length - done, unreadable_ok);
        if (got <= 0 && got != -EINTR)
            break;
        done += got > 0 ? (size_t)got : 0;
    }
    GC_ASSERT(done <= length);
    return done;
}
