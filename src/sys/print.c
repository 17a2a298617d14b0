/* print.c -- text for people, from anywhere.
 *
 * Everything the library says goes through here: at start-up before libc is relocated, in a signal
 * handler, with the world stopped, and in the last line before an abort. So the only resources are
 * the caller's stack and write(2).
 *
 *   .inv.room   `used` is below sizeof(text), and text[used] is NUL: a string builder (fd -1) can
 *               hand its text to anyone who wants a C string.
 *   .inv.once   A failed printer writes no more: text after a hole would mislead, and a reader
 *               that is gone must not cost a timeout per line.
 *   .inv.pipe   Our own write never raises a visible SIGPIPE. A program that never writes to its
 *               standard error survives a dead reader there; under the library it still does.
 *   .inv.bound  No write waits for ever for a reader that does not read: neither the collector's
 *               thread nor the program may hang because of what the library has to say. A pipe, a
 *               socket or a terminal is waited for, within a bound, whether it is non-blocking
 *               (node sets it so) or not; then the message is lost, and counted. While that lasts
 *               nobody waits again; the first message that gets through says how many were lost.
 *
 * Traps. Two writers may have seen the same room in a pipe: where the kernel can (Linux 6.4) the
 * write itself is told not to wait. In a sandbox only write(2) is made, as it is. A negative
 * number's magnitude does not fit its type at the least value: negation is done unsigned. A double
 * of 2^64 or more prints its leading digits and zeros after them; below that, %f is right to within
 * one unit of the last of at most nine places.
 *
 * Thread safety: a printer belongs to one thread. `unread` is a guess of whoever wrote last. */
#include "sys/print.h"

#include "base/atomic.h"
#include "base/check.h"
#include "sys/clock.h"
#include "sys/sandbox.h"
#include "sys/signal.h"
#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum {
    /* Wait for a full pipe, for each buffer: a slow reader is served, a stuck one does not hold
     * the program for longer than a person would notice. By the clock, since signals cut waits
     * short. */
    PATIENCE_MS = 1000,
    /* The same at the end, when nothing but the report is left to be done: somebody may page
     * through it. */
    LAST_PATIENCE_MS = 10000,
    /* Sign, 20 digits of 2^64, at most 308 - 18 zeros, point, nine places. */
    NUMBER_MAX = 340,
    KERNEL_SIGSET = 8,
};


/* ---- writing ---- */

/* Blocks SIGPIPE for the length of a write, and swallows the one that the write raised. */
struct pipe_guard {
    uint64_t blocked;
    bool was_pending;
};

static struct pipe_guard pipe_guard_enter(void)
{
    struct pipe_guard guard = {0, false};
    uint64_t pending = 0;
    guard.blocked = signal_block(SIGNAL_BIT(SIGPIPE));
    if (guard.blocked == 0) {
        syscall2(__NR_rt_sigpending, (long)&pending, KERNEL_SIGSET);
        guard.was_pending = (pending & SIGNAL_BIT(SIGPIPE)) != 0;
    }
    return guard;
}

static void pipe_guard_leave(const struct pipe_guard *guard, bool raised)
{
    if (raised && !guard->was_pending) {
        uint64_t pipe_only = SIGNAL_BIT(SIGPIPE);
        struct { long seconds, nanoseconds; } now = {0, 0};
        syscall4(__NR_rt_sigtimedwait, (long)&pipe_only, 0, (long)&now, KERNEL_SIGSET);
    }
    signal_unblock(guard->blocked);
}

/* What is written to: no more is known of it than its kind and its number. */
struct target {
    int fd;
    uint32_t kind;  /* S_IFMT's bits of its mode; 0: not known */
    uint64_t inode;
};

static struct {
    _Atomic uint64_t inode; /* of what nobody reads; 0: all are read */
    _Atomic uint32_t lost;  /* messages since then */
    _Atomic uint32_t last;  /* 1: the process ends */
} unread;

void print_be_patient(void)
{
    relaxed_store(&unread.last, 1);
}

static struct target target_of(int fd)
{
    struct target t = {fd, 0, 0};
    struct stat st;
    if (!sandbox_on() && syscall2(__NR_fstat, fd, (long)&st) == 0) {
        t.kind = st.st_mode & S_IFMT;
        t.inode = st.st_ino;
    }
    return t;
}

static uint64_t patience_ns(const struct target *t)
{
    if (t->inode != 0 && relaxed_load(&unread.inode) == t->inode)
        return 0;
    return (relaxed_load(&unread.last) ? LAST_PATIENCE_MS : PATIENCE_MS) * (uint64_t)1000000;
}

/* Waits until it may take more; false when *give_up, set at the first wait, is over. */
static bool wait_writable(const struct target *t, uint64_t *give_up)
{
    uint64_t now = clock_now_ns();
    struct pollfd wait = {.fd = t->fd, .events = POLLOUT};
    if (*give_up == 0)
        *give_up = now + patience_ns(t);
    if (now >= *give_up)
        return false;
    syscall3(__NR_poll, (long)&wait, 1, (long)((*give_up - now) / 1000000 + 1));
    return true;
}

static long write_if_writable(int fd, const char *text, size_t length)
{
    struct pollfd look = {.fd = fd, .events = POLLOUT};
    if (syscall3(__NR_poll, (long)&look, 1, 0) == 0)
        return -EAGAIN;
    return syscall3(__NR_write, fd, (long)text, (long)length);
}

/* What there is room for; -EAGAIN: there is none (.inv.bound). */
static long write_some(const struct target *t, const char *text, size_t length)
{
    struct iovec piece = {(void *)(uintptr_t)text, length};
    long wrote = -EOPNOTSUPP;
    if (t->kind == S_IFSOCK)
        return syscall6(__NR_sendto, t->fd, (long)text, (long)length, MSG_DONTWAIT, 0, 0);
    if (t->kind == S_IFIFO)
        wrote = syscall6(__NR_pwritev2, t->fd, (long)&piece, 1, -1, -1, RWF_NOWAIT);
    if (wrote != -EOPNOTSUPP && wrote != -ENOSYS)
        return wrote;
    if (t->kind == S_IFIFO || t->kind == S_IFCHR)
        return write_if_writable(t->fd, text, length);
    return syscall3(__NR_write, t->fd, (long)text, (long)length);
}

/* Returns 0, or the error that stopped it. */
static long write_all(const struct target *t, const char *text, size_t length)
{
    uint64_t give_up = 0;
    while (length > 0) {
        long wrote = write_some(t, text, length);
        if (wrote == -EAGAIN && wait_writable(t, &give_up))
            continue;
        if (wrote > 0) {
            text += wrote;
            length -= (size_t)wrote;
        } else if (wrote != -EINTR) {
            return wrote < 0 ? wrote : -EIO;
        }
    }
    return 0;
}

/* In front of a message: how many were lost before it. False: this one is, too. */
static bool tell_lost(const struct target *t)
{
    uint32_t lost = relaxed_load(&unread.lost);
    struct printer note;
    if (lost == 0 || t->inode == 0 || relaxed_load(&unread.inode) != t->inode)
        return true;
    printer_start(&note, -1);
    printer_printf(&note, "libgcmalloc: %u message(s) were lost, or cut: nobody read them\n", lost);
    if (write_all(t, note.text, note.used) != 0)
        return false;
    atomic_fetch_sub(&unread.lost, lost);
    relaxed_store(&unread.inode, 0);
    return true;
}

static void note_lost(const struct target *t)
{
    if (atomic_exchange(&unread.inode, t->inode) != t->inode)
        atomic_store(&unread.lost, 0);
    atomic_fetch_add(&unread.lost, 1);
}

void printer_start(struct printer *p, int fd)
{
    p->fd = fd;
    p->failed = p->begun = false;
    p->used = 0;
    p->text[0] = '\0';
}

void printer_flush(struct printer *p)
{
    GC_ASSERT(p->used < sizeof p->text); /* .inv.room */
    if (p->fd < 0)
        return;
    if (p->used > 0 && !p->failed) { /* .inv.once */
        struct pipe_guard guard = pipe_guard_enter();
        struct target target = target_of(p->fd);
        long error = p->begun || tell_lost(&target) ? write_all(&target, p->text, p->used)
                                                    : -EAGAIN;
        pipe_guard_leave(&guard, error == -EPIPE); /* .inv.pipe */
        p->failed = error != 0;
        p->begun = true;
        if (error == -EAGAIN)
            note_lost(&target);
    }
    p->used = 0;
    p->text[0] = '\0';
}

static void put(struct printer *p, const char *text, size_t length)
{
    while (length > 0) {
        size_t room = sizeof p->text - 1 - p->used;
        size_t part = size_min(room, length);
        memcpy(p->text + p->used, text, part);
        p->used += part;
        p->text[p->used] = '\0'; /* .inv.room */
        text += part;
        length -= part;
        if (length > 0 && p->fd < 0) {
            p->failed = true;
            return;
        }
        if (length > 0)
            printer_flush(p);
    }
}

/* ---- one conversion ---- */

/* What stands between '%' and the next ordinary character. */
struct spec {
    bool left, zero;
    char length; /* 0, 'l' or 'z' */
    char conversion;
    int width, precision; /* precision -1: none given */
};

static void put_fill(struct printer *p, char fill, long count)
{
    for (; count > 0; count--)
        put(p, &fill, 1);
}

/* `sign` is "", "-" or "0x": it goes before zeros and after blanks. */
static void put_field(struct printer *p, const struct spec *s, const char *sign, const char *body,
                      size_t length)
{
    size_t signs = strlen(sign);
    long fill = (long)s->width - (long)(length + signs);
    bool zeros = s->zero && !s->left;
    if (!s->left && !zeros)
        put_fill(p, ' ', fill);
    put(p, sign, signs);
    if (zeros)
        put_fill(p, '0', fill);
    put(p, body, length);
    if (s->left)
        put_fill(p, ' ', fill);
}

/* Writes backwards from `end`; returns the first digit. */
static char *digits_before(char *end, uint64_t value, unsigned base)
{
    do {
        *--end = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    return end;
}

static void put_number(struct printer *p, const struct spec *s, const char *sign, uint64_t value,
                       unsigned base)
{
    char digits[24];
    char *end = digits + sizeof digits, *from = digits_before(end, value, base);
    put_field(p, s, sign, from, (size_t)(end - from));
}

static void put_signed(struct printer *p, const struct spec *s, int64_t value)
{
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    put_number(p, s, value < 0 ? "-" : "", magnitude, 10);
}

static void put_string(struct printer *p, const struct spec *s, const char *text)
{
    if (text == NULL)
        text = "(null)";
    size_t length = s->precision < 0 ? strlen(text) : strnlen(text, (size_t)s->precision);
    struct spec plain = *s;
    plain.zero = false;
    put_field(p, &plain, "", text, length);
}

/* Splits value into whole part and `places` decimal places, half to even. */
static uint64_t double_split(double value, int places, uint64_t *fraction)
{
    uint64_t scale = 1, whole = (uint64_t)value;
    for (int i = 0; i < places; i++)
        scale *= 10;
    double scaled = (value - (double)whole) * (double)scale;
    uint64_t part = (uint64_t)scaled;
    double rest = scaled - (double)part;
    bool odd = ((places > 0 ? part : whole) & 1) != 0;
    if (rest > 0.5 || (rest == 0.5 && odd))
        part++;
    *fraction = part % scale;
    return whole + part / scale;
}

static void put_double(struct printer *p, const struct spec *s, double value)
{
    const double too_big = 18446744073709551616.0; /* 2^64 */
    char text[NUMBER_MAX], *end = text + sizeof text, *from = end;
    const char *sign = __builtin_signbit(value) ? "-" : "";
    int places = s->precision < 0 ? 6 : s->precision, zeros = 0;
    value = __builtin_fabs(value);
    if (!__builtin_isfinite(value)) {
        struct spec plain = *s;
        plain.zero = false;
        put_field(p, &plain, sign, __builtin_isnan(value) ? "nan" : "inf", 3);
        return;
    }
    for (; value >= too_big; value /= 10)
        zeros++;
    uint64_t fraction, whole = double_split(value, zeros > 0 ? 0 : places, &fraction);
    for (int i = 0; i < places; i++, fraction /= 10)
        *--from = (char)('0' + fraction % 10);
    if (places > 0)
        *--from = '.';
    for (; zeros > 0; zeros--)
        *--from = '0';
    from = digits_before(from, whole, 10);
    GC_ASSERT(from >= text);
    put_field(p, s, sign, from, (size_t)(end - from));
}

static void put_conversion(struct printer *p, const struct spec *s, va_list *args)
{
    bool is_long = s->length != 0;
    char letter;
    switch (s->conversion) {
    case 's':
        put_string(p, s, va_arg(*args, const char *));
        break;
    case 'c':
        letter = (char)va_arg(*args, int);
        put_field(p, s, "", &letter, 1);
        break;
    case 'd':
        put_signed(p, s, is_long ? va_arg(*args, long) : va_arg(*args, int));
        break;
    case 'u':
    case 'x':
        put_number(p, s, "", is_long ? va_arg(*args, unsigned long) : va_arg(*args, unsigned),
                   s->conversion == 'u' ? 10 : 16);
        break;
    case 'p':
        put_number(p, s, "0x", (uintptr_t)va_arg(*args, void *), 16);
        break;
    case 'f':
        put_double(p, s, va_arg(*args, double));
        break;
    default:
        put(p, "%", 1);
        break;
    }
}

/* ---- the format ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The language of print.h and nothing else. */
static bool spec_is_known(const struct spec *s, bool star)
{
    if (s->conversion == '\0' || strchr("scduxpf%", s->conversion) == NULL)
        return false;
    if (s->length == 'l' && strchr("dux", s->conversion) == NULL)
        return false;
    if (s->length == 'z' && s->conversion != 'u')
        return false;
    return s->precision < 0 || s->conversion == (star ? 's' : 'f');
}

/* Reads a conversion from just after its '%'; returns what follows it. */
static const char *spec_parse(struct spec *s, const char *f, va_list *args)
{
    bool star = false;
    *s = (struct spec){.precision = -1};
    for (; *f == '-' || *f == '0'; f++) {
        s->left |= *f == '-';
        s->zero |= *f == '0';
    }
    for (; is_digit(*f); f++) {
        s->width = s->width * 10 + (*f - '0');
        GC_CHECK(s->width < 1000);
    }
    if (*f == '.' && f[1] == '*') {
        star = true;
        s->precision = va_arg(*args, int);
        f += 2;
    } else if (*f == '.') {
        GC_CHECK(is_digit(f[1]) && !is_digit(f[2]));
        s->precision = f[1] - '0';
        f += 2;
    }
    if (*f == 'l' || *f == 'z')
        s->length = *f++;
    s->conversion = *f;
    GC_CHECK(spec_is_known(s, star) && "the format is outside the language of print.h");
    return f + 1;
}

void printer_vprintf(struct printer *p, const char *format, va_list args)
{
    va_list rest; /* a va_list parameter has no usable address */
    va_copy(rest, args);
    while (*format != '\0') {
        const char *percent = strchr(format, '%');
        if (percent == NULL) {
            put(p, format, strlen(format));
            break;
        }
        struct spec s;
        put(p, format, (size_t)(percent - format));
        format = spec_parse(&s, percent + 1, &rest);
        put_conversion(p, &s, &rest);
    }
    va_end(rest);
}

void printer_printf(struct printer *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printer_vprintf(p, format, args);
    va_end(args);
}

/* ---- whole messages ---- */

/* This thread has a table of descriptors of its own, without the program's. */
static __thread bool borrows;

void print_borrow_stderr(void)
{
    borrows = true;
}

/* For one message: the program's descriptor, or a copy of it in our table (Linux 5.6), or -1. */
static int descriptor_open(int fd)
{
    if (!borrows)
        return fd;
    long process = syscall2(__NR_pidfd_open, syscall0(__NR_getpid), 0);
    if (process < 0)
        return -1;
    long copy = syscall3(__NR_pidfd_getfd, process, fd, 0);
    syscall1(__NR_close, process);
    return copy < 0 ? -1 : (int)copy;
}

static void descriptor_close(int fd)
{
    if (borrows && fd >= 0)
        syscall1(__NR_close, fd);
}

void print_fd(int fd, const char *format, ...)
{
    struct printer p;
    va_list args;
    int open = descriptor_open(fd);
    printer_start(&p, open);
    va_start(args, format);
    printer_vprintf(&p, format, args);
    va_end(args);
    printer_flush(&p);
    descriptor_close(open);
}

static void print_error_line(const char *format, va_list args)
{
    struct printer p;
    int open = descriptor_open(2);
    printer_start(&p, open);
    put(&p, "libgcmalloc: ", 13);
    printer_vprintf(&p, format, args);
    put(&p, "\n", 1);
    printer_flush(&p);
    descriptor_close(open);
}

void print_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error_line(format, args);
    va_end(args);
}

/* The program's own handler has the first word. When it returns, or the signal was blocked or
 * ignored, the default action is put back. Process 1 of a container survives even that: exit. */
static _Noreturn void abort_process(void)
{
    struct { uint64_t handler, flags, restorer, mask; } default_action = {0, 0, 0, 0};
    uint64_t unblock = SIGNAL_BIT(SIGABRT);
    long pid = syscall0(__NR_getpid), tid = syscall0(__NR_gettid);
    syscall3(__NR_tgkill, pid, tid, SIGABRT);
    syscall4(__NR_rt_sigaction, SIGABRT, (long)&default_action, 0, KERNEL_SIGSET);
    syscall4(__NR_rt_sigprocmask, SIG_UNBLOCK, (long)&unblock, 0, KERNEL_SIGSET);
    syscall3(__NR_tgkill, pid, tid, SIGABRT);
    for (;;)
        syscall1(__NR_exit_group, 127);
}

void print_fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error_line(format, args);
    va_end(args);
    abort_process();
}

GC_COLD void check_failed(const char *expression, const char *file, int line)
{
    print_fatal("%s:%d: check failed: %s", file, line, expression);
}

static struct {
    uint64_t device, inode;
} first_stderr;

void print_note_stderr(void)
{
    struct stat st;
    if (syscall2(__NR_fstat, 2, (long)&st) != 0)
        return;
    first_stderr.device = st.st_dev;
    first_stderr.inode = st.st_ino;
}

static bool is_usable(int fd)
{
    struct stat st;
    if (syscall2(__NR_fstat, fd, (long)&st) != 0)
        return false;
    if (st.st_ino != 0 && st.st_dev == first_stderr.device && st.st_ino == first_stderr.inode)
        return true;
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))
        return true;
    long flags = syscall2(__NR_fcntl, fd, F_GETFL);
    return flags >= 0 && (flags & O_APPEND) != 0;
}

int print_open_stderr(void)
{
    int fd = descriptor_open(2);
    if (is_usable(fd))
        return fd;
    descriptor_close(fd);
    return -1;
}

void print_close_stderr(int fd)
{
    descriptor_close(fd);
}

bool print_stderr_usable(void)
{
    return is_usable(2);
}
