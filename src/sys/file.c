/* file.c -- a small file as bytes, without libc. */
#include "sys/file.h"

#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>

long file_read(const char *path, char *to, size_t capacity)
{
    size_t used = 0;
    long got, fd = syscall3(__NR_open, (long)path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    do {
        got = syscall3(__NR_read, fd, (long)(to + used), (long)(capacity - used));
        used += got > 0 ? (size_t)got : 0;
    } while (got == -EINTR || (got > 0 && used < capacity));
    syscall1(__NR_close, fd);
    return got < 0 ? got : (long)used;
}
