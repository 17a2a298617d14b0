/* textfile.c -- a file that is whole whenever it is read.
 *
 *   .inv.regular   What a rename would take away is a file as this one: /dev/null stays what it is,
 *                  and so does a fifo.
 *   .inv.whole     Renamed is only what was written to its end. */
#include "watch/textfile.h"

#include "sys/syscall.h"
#include "watch/destination.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* .inv.regular */
static bool may_replace(const char *path)
{
    struct stat st;
    return syscall2(__NR_stat, (long)path, (long)&st) != 0 || S_ISREG(st.st_mode);
}

long textfile_open(struct textfile *f, const char *option)
{
    const long flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW;
    destination_name(&f->path, option);
    printer_start(&f->fresh, -1);
    printer_printf(&f->fresh, "%s.%d.new", f->path.text, (int)syscall0(__NR_getpid));
    if (f->path.failed || f->fresh.failed)
        return -ENAMETOOLONG;
    if (!may_replace(f->path.text))
        return -EEXIST;
    long fd = syscall3(__NR_open, (long)f->fresh.text, flags, 0644);
    if (fd < 0)
        return fd;
    printer_start(&f->out, (int)fd);
    return 0;
}

long textfile_close(struct textfile *f)
{
    printer_flush(&f->out);
    syscall1(__NR_close, f->out.fd);
    long result = f->out.failed ? -EIO : syscall2(__NR_rename, (long)f->fresh.text,
                                                  (long)f->path.text); /* .inv.whole */
    if (result != 0)
        syscall1(__NR_unlink, (long)f->fresh.text);
    return result;
}
