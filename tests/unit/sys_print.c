/* sys_print.c -- the format language against the C library's, and the ways a message can end. */
#include "sys/print.h"

#include "base/check.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Formats the same twice, by us and by the C library, and compares. */
#define SAME(...) \
    do { \
        struct printer ours; \
        char theirs[2048]; \
        printer_start(&ours, -1); \
        printer_printf(&ours, __VA_ARGS__); \
        snprintf(theirs, sizeof theirs, __VA_ARGS__); \
        EXPECT_TEXT(ours.text, theirs); \
        EXPECT(!ours.failed && ours.used == strlen(theirs)); \
    } while (0)

static void test_integers(void)
{
    static const long values[] = {0, 1, -1, 9, 10, -10, 4095, INT_MAX, INT_MIN, LONG_MAX, LONG_MIN};
    for (size_t i = 0; i < GC_COUNT(values); i++) {
        long v = values[i];
        SAME("%d %u %x", (int)v, (unsigned)v, (unsigned)v);
        SAME("%ld %lu %lx %zu", v, (unsigned long)v, (unsigned long)v, (size_t)v);
        SAME("[%5d] [%-5d] [%05d] [%24ld]", (int)v, (int)v, (int)v, v);
        SAME("[%-24ld] [%024ld] [%016lx] [%3x]", v, v, (unsigned long)v, (unsigned)v);
    }
    SAME("%p [%20p] %%", (void *)0x7f0012345678, (void *)0x10);
}

static void test_strings(void)
{
    SAME("plain");
    SAME("%s", "");
    SAME("[%s] [%8s] [%-8s] [%2s]", "text", "text", "text", "text");
    SAME("%c [%3c] [%-3c]", 'a', 'b', 'c');
    SAME("[%.*s] [%.*s] [%.*s]", 3, "abcdef", 9, "abc", 0, "abc");
    SAME("[%6.*s] [%-6.*s] [%.*s]", 3, "abcdef", 3, "abcdef", -1, "abcdef");
    char unterminated[2] = {'x', 'y'};
    SAME("%.*s", 2, unterminated);
    struct printer p;
    printer_start(&p, -1);
    char *volatile none = NULL;
    printer_printf(&p, "%s", none);
    EXPECT_TEXT(p.text, "(null)");
}

static void test_doubles(void)
{
    static const double values[] = {0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, 0.1, 0.25, 0.125, 0.375,
                                    99.995, 9.9999999, 0.999999999, 1e-9, 123456.789, 4294967296.5,
                                    1e15, 9007199254740993.0, 1e18, INFINITY, -INFINITY};
    for (size_t i = 0; i < GC_COUNT(values); i++) {
        SAME("%f %.0f %.1f %.2f", values[i], values[i], values[i], values[i]);
        SAME("%.3f [%12.1f] [%-12.2f] [%012.2f]", values[i], values[i], values[i], values[i]);
    }
    SAME("%.9f", 0.123456789);
    struct printer p;
    printer_start(&p, -1);
    printer_printf(&p, "%f", 1e300);
    EXPECT(strtod(p.text, NULL) > 0.999999e300 && strtod(p.text, NULL) < 1.000001e300);
    printer_start(&p, -1);
    printer_printf(&p, "%.9f %.1f", 1.7976931348623157e308, 18446744073709551616.0);
    EXPECT(!p.failed && strlen(p.text) == 309 + 10 + 1 + 22);
    printer_start(&p, -1);
    printer_printf(&p, "%f", (double)NAN);
    EXPECT(strstr(p.text, "nan") != NULL);
}

static void test_random_doubles(void)
{
    srand48(1);
    for (int i = 0; i < 20000; i++) {
        double value = ldexp(drand48(), (int)(drand48() * 60) - 20);
        struct printer p;
        printer_start(&p, -1);
        printer_printf(&p, "%.3f", value);
        if (fabs(strtod(p.text, NULL) - value) > 0.000501 + value * 1e-15)
            EXPECT_TEXT(p.text, "near the value");
    }
}

static void test_builder_drops(void)
{
    struct printer p;
    printer_start(&p, -1);
    for (int i = 0; i < 300; i++)
        printer_printf(&p, "12345");
    EXPECT(p.failed && p.used == sizeof p.text - 1 && strlen(p.text) == p.used);
    EXPECT(memcmp(p.text + 1015, "12345123", 8) == 0);
    printer_flush(&p); /* nothing to write to */
    EXPECT(p.used == sizeof p.text - 1);
    printer_start(&p, -1);
    printer_printf(&p, "%999s%24s", "exactly", "full"); /* exactly full is not failed */
    EXPECT(!p.failed);
    printer_printf(&p, "%s", "");
    EXPECT(!p.failed);
    printer_printf(&p, "x");
    EXPECT(p.failed);
}

/* ---- descriptors ---- */

struct reader {
    int fd;
    unsigned delay_us;
    size_t used;
    char text[1 << 20];
};

static void *read_slowly(void *arg)
{
    struct reader *r = arg;
    ssize_t got;
    sigset_t alarm; /* the storm is for the writer: a read cut short would be the end */
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
    while (usleep(r->delay_us), (got = read(r->fd, r->text + r->used, 3000)) > 0)
        r->used += (size_t)got;
    return NULL;
}

static void nothing(int signal)
{
    (void)signal;
}

/* 200 KB through a pipe of one page, under a storm of signals without SA_RESTART. */
static void through_pipe(int flags)
{
    static struct reader r;
    int fds[2];
    pthread_t thread;
    struct printer p;
    r = (struct reader){.delay_us = 300};
    EXPECT(pipe2(fds, flags) == 0 && fcntl(fds[1], F_SETPIPE_SZ, 4096) > 0);
    fcntl(fds[0], F_SETFL, 0);
    r.fd = fds[0];
    pthread_create(&thread, NULL, read_slowly, &r);
    struct sigaction action = {.sa_handler = nothing}, old;
    struct itimerval storm = {{0, 500}, {0, 500}}, calm = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &storm, NULL);
    printer_start(&p, fds[1]);
    for (int i = 0; i < 20000; i++)
        printer_printf(&p, "%09d\n", i);
    printer_flush(&p);
    setitimer(ITIMER_REAL, &calm, NULL);
    EXPECT(!p.failed);
    close(fds[1]);
    pthread_join(thread, NULL);
    sigaction(SIGALRM, &old, NULL);
    close(fds[0]);
    if (!EXPECT(r.used == 200000))
        return;
    for (int i = 0; i < 20000; i++)
        if (strtol(r.text + i * 10, NULL, 10) != i && !EXPECT(!"in order"))
            return;
}

static void test_blocking_pipe(void)
{
    through_pipe(0);
}

static void test_nonblocking_pipe(void)
{
    through_pipe(O_NONBLOCK);
}

/* Until there is no room, whatever the kernel makes of single bytes. */
static void fill_up(int fd)
{
    char some[4096];
    memset(some, '.', sizeof some);
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    for (size_t size = sizeof some; size > 0; size /= 2)
        while (write(fd, some, size) > 0)
            ;
    fcntl(fd, F_SETFL, flags);
}

static void drain(int fd)
{
    char some[4096];
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (read(fd, some, sizeof some) > 0)
        ;
    fcntl(fd, F_SETFL, flags);
}

/* .inv.bound: nobody reads. The alarm ends whoever waits for ever. */
static void nobody_reads(int fds[2])
{
    char text[512];
    struct printer p;
    alarm(60);
    fill_up(fds[1]);
    printer_start(&p, fds[1]);
    for (int i = 0; i < 500; i++)
        printer_printf(&p, "%09d\n", i);
    printer_flush(&p);
    EXPECT(p.failed);
    for (int i = 0; i < 200; i++) /* which would take three minutes, each with its own second */
        print_fd(fds[1], "lost\n");
    drain(fds[0]);
    print_fd(fds[1], "seen\n");
    print_fd(fds[1], "seen, too\n");
    alarm(0);
    ssize_t got = read(fds[0], text, sizeof text - 1);
    text[got > 0 ? got : 0] = '\0';
    EXPECT_TEXT(text, "libgcmalloc: 201 message(s) were lost, or cut: nobody read them\n"
                      "seen\nseen, too\n");
    close(fds[0]);
    close(fds[1]);
}

static void test_nobody_reads(void)
{
    int fds[2];
    EXPECT(pipe(fds) == 0 && fcntl(fds[1], F_SETPIPE_SZ, 4096) > 0);
    nobody_reads(fds);
    EXPECT(pipe2(fds, O_NONBLOCK) == 0);
    nobody_reads(fds);
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    nobody_reads(fds);
}

static void test_errno_untouched(void)
{
    errno = 77;
    print_fd(-1, "dropped");
    print_fd(9999, "no such descriptor");
    EXPECT(errno == 77);
    struct printer p;
    printer_start(&p, 9999);
    printer_printf(&p, "x");
    printer_flush(&p);
    EXPECT(p.failed && p.used == 0);
}

static int pipes_seen;

static void count_pipe(int signal)
{
    (void)signal;
    pipes_seen++;
}

/* A reader that is gone costs the program nothing: not its life, not a signal, not one it had. */
static void test_dead_reader(void)
{
    int fds[2];
    EXPECT(pipe(fds) == 0);
    close(fds[0]);
    print_fd(fds[1], "default action: would die");
    struct sigaction action = {.sa_handler = count_pipe}, old;
    sigaction(SIGPIPE, &action, &old);
    print_fd(fds[1], "handler: would be called");
    EXPECT(pipes_seen == 0);
    sigset_t pipe_only, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigprocmask(SIG_BLOCK, &pipe_only, NULL);
    print_fd(fds[1], "blocked: would be pending");
    sigpending(&pending);
    EXPECT(!sigismember(&pending, SIGPIPE));
    raise(SIGPIPE);
    print_fd(fds[1], "pending: would be swallowed");
    sigpending(&pending);
    EXPECT(sigismember(&pending, SIGPIPE));
    sigprocmask(SIG_UNBLOCK, &pipe_only, NULL);
    EXPECT(pipes_seen == 1);
    sigaction(SIGPIPE, &old, NULL);
    close(fds[1]);
}

/* ---- the end of the process ---- */

/* Runs `body` in a child with standard error in a pipe; returns its wait status. */
static int in_child(void (*body)(void), char *text, size_t capacity)
{
    int fds[2], status = 0;
    size_t used = 0;
    ssize_t got;
    EXPECT(pipe(fds) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], 2);
        body();
        _exit(0);
    }
    close(fds[1]);
    while ((got = read(fds[0], text + used, capacity - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = '\0';
    close(fds[0]);
    waitpid(child, &status, 0);
    return status;
}

static bool aborted(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void say_errors(void)
{
    print_error("%s %d", "one", 1);
    print_error("two");
}

static void die_plainly(void)
{
    print_fatal("reason %d", 42);
}

static void die_handled(void)
{
    signal(SIGABRT, nothing);
    print_fatal("handled");
}

static void die_ignored(void)
{
    signal(SIGABRT, SIG_IGN);
    print_fatal("ignored");
}

static void die_blocked(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    print_fatal("blocked");
}

static void exit_from_handler(int signal)
{
    (void)signal;
    _exit(3);
}

static void die_own_way(void)
{
    signal(SIGABRT, exit_from_handler);
    print_fatal("own way");
}

static void die_checking(void)
{
    check_failed("a < b", "file.c", 12);
}

static void test_messages(void)
{
    char text[256];
    EXPECT(in_child(say_errors, text, sizeof text) == 0);
    EXPECT_TEXT(text, "libgcmalloc: one 1\nlibgcmalloc: two\n");
    EXPECT(aborted(in_child(die_plainly, text, sizeof text)));
    EXPECT_TEXT(text, "libgcmalloc: reason 42\n");
    EXPECT(aborted(in_child(die_handled, text, sizeof text)));
    EXPECT(aborted(in_child(die_ignored, text, sizeof text)));
    EXPECT(aborted(in_child(die_blocked, text, sizeof text)));
    EXPECT_TEXT(text, "libgcmalloc: blocked\n");
    int status = in_child(die_own_way, text, sizeof text);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    EXPECT(aborted(in_child(die_checking, text, sizeof text)));
    EXPECT_TEXT(text, "libgcmalloc: file.c:12: check failed: a < b\n");
}

static const char *bad_format;

/* The format is not a literal, and the compiler is not to look at it. */
static void print_unchecked(const char *format, ...)
{
    struct printer p;
    va_list args;
    printer_start(&p, -1);
    va_start(args, format);
    printer_vprintf(&p, format, args);
    va_end(args);
}

static void use_bad_format(void)
{
    print_unchecked(bad_format, 1, 2, 3);
}

static void test_unknown_formats(void)
{
    static const char *const bad[] = {"%i",  "%",    "%lld", "%hd", "%+d", "%#x", "%*d", "%.2s",
                                      "%.3d", "%.12f", "%.f", "%zd", "%ls", "%n",  "%X",  "%q"};
    char text[256];
    for (size_t i = 0; i < GC_COUNT(bad); i++) {
        bad_format = bad[i];
        if (!EXPECT(aborted(in_child(use_bad_format, text, sizeof text))))
            printf("    format: %s\n", bad[i]);
        EXPECT(strstr(text, "check failed") != NULL);
    }
}

UNIT_MAIN(TEST(test_integers), TEST(test_strings), TEST(test_doubles), TEST(test_random_doubles),
          TEST(test_builder_drops), TEST(test_blocking_pipe), TEST(test_nonblocking_pipe),
          TEST(test_nobody_reads), TEST(test_errno_untouched), TEST(test_dead_reader),
          TEST(test_messages), TEST(test_unknown_formats))
