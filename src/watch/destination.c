/* destination.c -- files that options name. */
#include "watch/destination.h"

#include "base/atomic.h"
#include "sys/print.h"
#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static _Atomic uint32_t opened;

/* One conversion; returns how many bytes of the option it took. */
static int expand(struct printer *p, const char *at)
{
    if (at[0] == '%' && at[1] == 'p')
        printer_printf(p, "%d", (int)syscall0(__NR_getpid));
    else if (at[0] == '%' && at[1] == 'n')
        printer_printf(p, "%u", relaxed_load(&opened));
    else
        printer_printf(p, "%c", *at);
    return at[0] == '%' && (at[1] == 'p' || at[1] == 'n' || at[1] == '%') ? 2 : 1;
}

void destination_name(struct printer *path, const char *option)
{
    printer_start(path, -1);
    while (*option != 0)
        option += expand(path, option);
}

bool destination_names_process(const char *option)
{
    for (; (option = strchr(option, '%')) != NULL && option[1] != 0; option += 2)
        if (option[1] == 'p')
            return true;
    return false;
}

static struct destination to_stderr(void)
{
    return (struct destination){print_open_stderr(), true};
}

/* A fifo that nobody reads is an error, not a wait; what is opened then is written to as ever. */
static long open_file(const struct printer *path)
{
    const long flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY;
    if (path->failed)
        return -ENAMETOOLONG;
    long fd = syscall3(__NR_open, (long)path->text, flags | O_NONBLOCK, 0644);
    if (fd >= 0)
        syscall3(__NR_fcntl, fd, F_SETFL, 0);
    return fd;
}

struct destination destination_open(const char *option, const char *what, bool or_error)
{
    struct printer path;
    if (strcmp(option, "stderr") == 0)
        return to_stderr();
    relaxed_add(&opened, 1);
    destination_name(&path, option);
    long fd = open_file(&path);
    if (fd >= 0)
        return (struct destination){(int)fd, false};
    print_error("%s cannot be written to '%s' (error %ld)%s", what, path.text, -fd,
                or_error ? ", so it comes here" : "");
    return or_error ? to_stderr() : (struct destination){-1, false};
}

void destination_close(struct destination d)
{
    if (d.is_stderr)
        print_close_stderr(d.fd);
    else if (d.fd >= 0)
        syscall1(__NR_close, d.fd);
}
