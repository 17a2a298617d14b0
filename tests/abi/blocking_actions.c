/* blocking_actions.c -- what the program is told of its signal handlers; see blocking.c.
 *
 * Whichever function it asks by, it sees the handler, the flags and the mask that were set, and
 * these do what they are for: a handler runs once, restarts a call, gets a value, runs on its own
 * stack, is inherited by fork and forgotten by exec. */
#include "blocking.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { RESTORER = 0x04000000 /* set by libc */ };

static atomic_int runs;
static volatile int value_seen;

static void first_handler(int signal)
{
    (void)signal;
    atomic_fetch_add(&runs, 1);
}

static void second_handler(int signal)
{
    (void)signal;
    atomic_fetch_add(&runs, 1000);
}

static void info_handler(int signal, siginfo_t *info, void *context)
{
    CHECK(context != NULL && info->si_signo == signal);
    value_seen = info->si_value.sival_int;
}

static bool same_set(const sigset_t *a, const sigset_t *b)
{
    for (int signal = 1; signal <= SIGRTMAX; signal++)
        if (sigismember(a, signal) != sigismember(b, signal))
            return false;
    return true;
}

static void expect_action(const struct sigaction *expected)
{
    struct sigaction found;
    CHECK(sigaction(SIGUSR1, NULL, &found) == 0);
    CHECK((found.sa_flags & ~RESTORER) == expected->sa_flags);
    CHECK(same_set(&found.sa_mask, &expected->sa_mask));
    if (expected->sa_flags & SA_SIGINFO)
        CHECK(found.sa_sigaction == expected->sa_sigaction);
    else
        CHECK(found.sa_handler == expected->sa_handler);
}

static void check_shown(void)
{
    static const int flags[] = {
        0, SA_RESTART, SA_NODEFER, SA_ONSTACK | SA_RESTART, (int)SA_RESETHAND, SA_NOCLDSTOP,
    };
    void (*const plain[])(int) = { first_handler, second_handler, SIG_IGN, SIG_DFL };
    struct sigaction action = { 0 }, before;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        for (size_t j = 0; j < sizeof plain / sizeof plain[0]; j++) {
            sigemptyset(&action.sa_mask);
            sigaddset(&action.sa_mask, i % 2 ? SIGTERM : SIGUSR2);
            sigaddset(&action.sa_mask, SIGRTMIN + (int)i);
            action.sa_flags = flags[i];
            action.sa_handler = plain[j];
            CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
            expect_action(&action);
            CHECK(sigaction(SIGUSR1, &action, &before) == 0);
            CHECK(before.sa_handler == plain[j] && (before.sa_flags & ~RESTORER) == flags[i]);
        }
        action.sa_flags = flags[i] | SA_SIGINFO;
        action.sa_sigaction = info_handler;
        CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
        expect_action(&action);
    }
}

__sighandler_t bsd_signal(int number, __sighandler_t handler);

static __sighandler_t by_sigaction(int signal, __sighandler_t handler)
{
    struct sigaction action = { .sa_handler = handler }, before;
    CHECK(sigaction(signal, &action, &before) == 0);
    return before.sa_handler;
}

static void check_setters(void)
{
    typedef __sighandler_t setter_fn(int, __sighandler_t);
    setter_fn *const setters[] = {
        signal, sigset, sysv_signal, __sysv_signal, ssignal, bsd_signal, by_sigaction,
    };
    void (*const handlers[])(int) = { first_handler, SIG_IGN, second_handler, SIG_DFL };
    enum { SETTERS = sizeof setters / sizeof setters[0], HANDLERS = 4 };
    for (unsigned i = 0; i < SETTERS * SETTERS * HANDLERS; i++) {
        void (*a)(int) = handlers[i % HANDLERS], (*b)(int) = handlers[(i + 1) % HANDLERS];
        setters[i / HANDLERS % SETTERS](SIGUSR1, a);
        CHECK(setters[i / HANDLERS / SETTERS](SIGUSR1, b) == a);
        CHECK(by_sigaction(SIGUSR1, b) == b);
    }
}

static void check_delivery(void)
{
    atomic_store(&runs, 0);
    struct sigaction action = { .sa_handler = first_handler, .sa_flags = (int)SA_RESETHAND };
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(raise(SIGUSR1) == 0 && atomic_load(&runs) == 1);
    CHECK(by_sigaction(SIGUSR1, second_handler) == SIG_DFL);
    CHECK(raise(SIGUSR1) == 0 && raise(SIGUSR1) == 0 && atomic_load(&runs) == 2001);
    sysv_signal(SIGUSR1, first_handler);
    CHECK(raise(SIGUSR1) == 0 && atomic_load(&runs) == 2002);
    CHECK(signal(SIGUSR1, SIG_IGN) == SIG_DFL);
    CHECK(raise(SIGUSR1) == 0 && atomic_load(&runs) == 2002);
    action = (struct sigaction){ .sa_sigaction = info_handler, .sa_flags = SA_SIGINFO };
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 1; i < 50; i++) {
        CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = i * 3 }) == 0);
        CHECK(value_seen == i * 3);
    }
}

/* A thread in read(), which is interrupted or not. */
struct reader {
    pthread_t thread;
    atomic_int tid;
    int fds[2];
};

static void *reader_thread(void *data)
{
    struct reader *r = data;
    char byte = 0;
    atomic_store(&r->tid, gettid());
    ssize_t got = read(r->fds[0], &byte, 1);
    CHECK(got < 0 || (got == 1 && byte == 'x'));
    return (void *)(intptr_t)(got < 0 ? errno : 0);
}

static void check_restart(__sighandler_t (*set)(int, __sighandler_t), int expected)
{
    struct reader r = { 0 };
    void *result;
    atomic_store(&runs, 0);
    set(SIGUSR1, first_handler);
    CHECK(pipe(r.fds) == 0 && pthread_create(&r.thread, NULL, reader_thread, &r) == 0);
    while (atomic_load(&r.tid) == 0)
        pressure(2000, 0);
    await_call(atomic_load(&r.tid), SYS_read, NULL);
    CHECK(pthread_kill(r.thread, SIGUSR1) == 0);
    while (atomic_load(&runs) == 0)
        pressure(5000, 0);
    if (expected == 0)
        await_call(atomic_load(&r.tid), SYS_read, NULL);
    CHECK(write(r.fds[1], "x", 1) == 1);
    CHECK(pthread_join(r.thread, &result) == 0 && (intptr_t)result == expected);
    CHECK(close(r.fds[0]) == 0 && close(r.fds[1]) == 0);
    CHECK(by_sigaction(SIGUSR1, SIG_DFL) == (set == sysv_signal ? SIG_DFL : first_handler));
}

/* ---- an alternate stack of which only the kernel knows ---- */

/* Handlers fill it from its top downward: others than the program's, too, if it is watched. */
enum { ALTERNATE_SIZE = 128 * 1024, UNTOUCHED = ALTERNATE_SIZE / 4 };

static __thread uintptr_t alternate;    /* the complement of its address */

static void on_alternate(int signal)
{
    const char *frame = __builtin_frame_address(0), *stack = (const char *)~OPAQUE(alternate);
    void *block = block_make(11);
    CHECK(signal == SIGUSR2);
    CHECK(frame > stack && frame < stack + ALTERNATE_SIZE);
    pressure(3u << 20, 0);
    block_end(block, 11);
    atomic_fetch_add(&runs, 1);
}

static NOINLINE void alternate_open(void)
{
    char *stack = malloc(ALTERNATE_SIZE);
    CHECK(stack != NULL);
    pattern_fill(stack, ALTERNATE_SIZE, 9);
    stack_t new = { .ss_sp = stack, .ss_size = ALTERNATE_SIZE };
    CHECK(sigaltstack(&new, NULL) == 0);
    alternate = OPAQUE(~(uintptr_t)stack);
}

static NOINLINE void alternate_use(void)
{
    stack_t shown;
    CHECK(pattern_holds((void *)~OPAQUE(alternate), UNTOUCHED, 9));
    for (int i = 0; i < 10; i++)
        CHECK(raise(SIGUSR2) == 0);
    CHECK(pattern_holds((void *)~OPAQUE(alternate), UNTOUCHED, 9));
    CHECK(sigaltstack(NULL, &shown) == 0 && ~(uintptr_t)shown.ss_sp == alternate);
    CHECK(shown.ss_size == ALTERNATE_SIZE && shown.ss_flags == 0);
    stack_t none = { .ss_flags = SS_DISABLE };
    void *volatile stack = shown.ss_sp;
    CHECK(sigaltstack(&none, NULL) == 0);
    free(stack);
}

static void *alternate_thread(void *fd)
{
    char byte;
    alternate_open();
    stack_clear();
    CHECK(read((int)(intptr_t)fd, &byte, 1) == 1);
    alternate_use();
    return NULL;
}

/* In main, which allocates, and in a thread, which sleeps meanwhile. */
static void check_alternate(void)
{
    pthread_t thread;
    int fds[2];
    atomic_store(&runs, 0);
    struct sigaction action = { .sa_handler = on_alternate, .sa_flags = SA_ONSTACK };
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    CHECK(pipe(fds) == 0);
    CHECK(pthread_create(&thread, NULL, alternate_thread, (void *)(intptr_t)fds[0]) == 0);
    alternate_open();
    stack_clear();
    for (int i = 0; i < 400; i++) {
        free(malloc(ALTERNATE_SIZE));
        pressure(200000, 0);
    }
    CHECK(write(fds[1], "x", 1) == 1 && pthread_join(thread, NULL) == 0);
    alternate_use();
    CHECK(atomic_load(&runs) == 20);
}

/* ---- inherited by fork, reset by exec ---- */

void kind_after_exec(void)
{
    CHECK(by_sigaction(SIGUSR1, SIG_DFL) == SIG_DFL);
    CHECK(by_sigaction(SIGUSR2, SIG_DFL) == SIG_IGN);
}

static void check_inherited(void)
{
    int status;
    atomic_store(&runs, 0);
    CHECK(signal(SIGUSR1, first_handler) == SIG_DFL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(raise(SIGUSR1) == 0 && atomic_load(&runs) == 1);
        CHECK(signal(SIGUSR1, second_handler) == first_handler);
        CHECK(raise(SIGUSR1) == 0 && atomic_load(&runs) == 1001);
        CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
        execl("/proc/self/exe", "blocking", "after_exec", (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(raise(SIGUSR1) == 0 && atomic_load(&runs) == 1);
    CHECK(signal(SIGUSR1, SIG_DFL) == first_handler);
}

void kind_actions(void)
{
    check_shown();
    check_setters();
    check_delivery();
    CHECK(signal(SIGUSR1, SIG_DFL) != SIG_ERR);
    for (int i = 0; i < 20; i++) {
        check_restart(signal, 0);
        check_restart(bsd_signal, 0);
        check_restart(sysv_signal, EINTR);
        check_restart(by_sigaction, EINTR);
    }
    for (int i = 0; i < 3; i++)
        check_alternate();
    check_inherited();
}
