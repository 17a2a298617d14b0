/* mutator_handler.c -- a handler has its thunk for good, and runs as the program's code. */
#include "mutator/handler.h"

#include "child.h"
#include "heap/heap.h"
#include "mutator/park.h"
#include "mutator/thread.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <time.h>

enum { FRAME = 8192 };

static volatile uintptr_t frame_inside;
static volatile int runs;
static volatile siginfo_t info_inside;
static volatile bool context_inside;
static sigjmp_buf back;
static _Atomic int step;

static void start(void)
{
    EXPECT(heap_init(64 * MIB, false) && thread_attach(1));
}

static void on_signal(int signal)
{
    runs += signal;
    frame_inside = park_self == NULL ? 1 : relaxed_load(&park_self->frame);
}

static void on_info(int signal, siginfo_t *info, void *context)
{
    on_signal(signal);
    info_inside.si_value = info->si_value;
    context_inside = context != NULL;
}

static void on_jump(int signal)
{
    on_signal(signal);
    siglongjmp(back, 1);
}

static void install(int signal, void (*handler)(int))
{
    struct sigaction action = {0};
    action.sa_handler = (void (*)(int))handler_wrap((uintptr_t)handler);
    EXPECT(sigaction(signal, &action, NULL) == 0);
}

static void wrapping(void)
{
    uintptr_t one = handler_wrap((uintptr_t)on_signal), two = handler_wrap((uintptr_t)on_jump);
    EXPECT(one != (uintptr_t)on_signal && one != two && one == handler_wrap((uintptr_t)on_signal));
    EXPECT(handler_wrap(one) == one);
    EXPECT(handler_unwrap(one) == (uintptr_t)on_signal);
    EXPECT(handler_unwrap(two) == (uintptr_t)on_jump);
    EXPECT(handler_unwrap((uintptr_t)on_signal) == (uintptr_t)on_signal);
    const __sighandler_t special[] = {SIG_DFL, SIG_IGN, SIG_ERR, SIG_HOLD};
    for (int i = 0; i < 4; i++) {
        EXPECT(handler_wrap((uintptr_t)special[i]) == (uintptr_t)special[i]);
        EXPECT(handler_unwrap((uintptr_t)special[i]) == (uintptr_t)special[i]);
    }
}

/* When there are no thunks left the handler stands for itself, and nobody is parked any more. */
static void exhausted(void)
{
    start();
    for (uintptr_t i = 0; i < HANDLERS_MOST; i++)
        EXPECT(handler_unwrap(handler_wrap(0x10000 + i)) == 0x10000 + i);
    EXPECT(park_stop(1));
    park_start();
    EXPECT(handler_wrap(0xdead0000) == 0xdead0000);
    EXPECT(handler_wrap(0x10000) != 0x10000);
    EXPECT(!park_stop(2));
    park_start();
}

static void arguments(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction =
        (void (*)(int, siginfo_t *, void *))handler_wrap((uintptr_t)on_info);
    EXPECT(sigaction(SIGUSR2, &action, NULL) == 0);
    for (int parked = 0; parked < 3; parked++) { /* first without a place */
        runs = 0;
        if (parked == 1)
            start();
        if (parked == 2)
            park_begin(FRAME);
        EXPECT(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 40 + parked}) == 0);
        EXPECT(runs == SIGUSR2 && info_inside.si_value.sival_int == 40 + parked && context_inside);
        EXPECT(frame_inside == (parked == 0));
    }
    EXPECT(relaxed_load(&park_self->frame) == FRAME);
    park_end();
}

static void jumping_out(void)
{
    start();
    install(SIGUSR1, on_jump);
    park_begin(FRAME);
    if (sigsetjmp(back, 1) == 0) {
        raise(SIGUSR1);
        EXPECT(false);
    }
    EXPECT(runs == SIGUSR1 && frame_inside == 0 && relaxed_load(&park_self->frame) == 0);
}

static void *wait_parked(void *unused)
{
    EXPECT(thread_attach(2));
    park_begin(FRAME);
    atomic_store(&step, 1);
    while (atomic_load(&step) < 2)
        sched_yield();
    park_end();
    thread_detach();
    return unused;
}

/* A parked thread's handler does not run while the world is stopped. */
static void held_back(void)
{
    struct timespec t = {0, 20000000};
    pthread_t thread;
    start();
    install(SIGUSR1, on_signal);
    EXPECT(pthread_create(&thread, NULL, wait_parked, NULL) == 0);
    while (atomic_load(&step) < 1)
        sched_yield();
    EXPECT(park_stop(1));
    EXPECT(pthread_kill(thread, SIGUSR1) == 0);
    nanosleep(&t, NULL);
    EXPECT(runs == 0);
    park_start();
    while (runs == 0)
        sched_yield();
    EXPECT(frame_inside == 0);
    atomic_store(&step, 2);
    pthread_join(thread, NULL);
}

static void on_fork(int signal)
{
    on_signal(signal);
    if (fork() == 0)
        park_renumber(); /* as the library does in a child */
}

/* The child that a handler has forked goes back to where its parent sleeps. */
static void forking(void)
{
    start();
    install(SIGUSR1, on_fork);
    park_begin(FRAME);
    pid_t self = getpid();
    raise(SIGUSR1);
    EXPECT(runs == SIGUSR1 && relaxed_load(&park_self->frame) == FRAME);
    park_end();
    if (getpid() != self)
        _exit(unit_failures != 0);
    int status = -1;
    EXPECT(wait(&status) > 0 && status == 0);
}

/* ---- faults ---- */

static volatile int watched;
static const void *volatile watched_context;

static void on_watch(const void *context)
{
    watched++;
    watched_context = context;
}

static void install_watched(uintptr_t handler, int flags)
{
    struct sigaction action = {.sa_flags = flags};
    action.sa_handler = (void (*)(int))handler_wrap_watched(handler);
    EXPECT(sigaction(SIGSEGV, &action, NULL) == 0);
}

static void watching(void)
{
    EXPECT(!handler_watched());
    handler_watch(on_watch);
    uintptr_t plain = handler_wrap((uintptr_t)on_signal);
    uintptr_t other = handler_wrap_watched((uintptr_t)on_signal);
    EXPECT(handler_watched() && plain != other && handler_unwrap(other) == (uintptr_t)on_signal);
    EXPECT(handler_wrap(other) == other && handler_wrap_watched(plain) == other);
    EXPECT(handler_wrap_watched((uintptr_t)SIG_IGN) == (uintptr_t)SIG_IGN);
    install_watched((uintptr_t)on_signal, 0);
    raise(SIGSEGV);
    EXPECT(watched == 1 && watched_context != NULL && runs == SIGSEGV);
    install_watched((uintptr_t)on_info, SA_SIGINFO);
    EXPECT(sigqueue(getpid(), SIGSEGV, (union sigval){.sival_int = 5}) == 0);
    EXPECT(watched == 2 && info_inside.si_value.sival_int == 5 && context_inside);
    start();
    park_begin(FRAME);
    raise(SIGSEGV);
    EXPECT(watched == 3 && frame_inside == 0 && relaxed_load(&park_self->frame) == FRAME);
    park_end();
}

static void (*action_now(void))(int)
{
    struct sigaction now;
    EXPECT(sigaction(SIGSEGV, NULL, &now) == 0);
    return now.sa_handler;
}

/* Dies of it all the same, of a fault and of a signal that is sent. */
static void watched_default(void)
{
    static int *volatile nowhere;
    handler_watch(on_watch);
    handler_watch_default(true);
    EXPECT(action_now() != SIG_DFL);
    EXPECT(handler_unwrap((uintptr_t)action_now()) == (uintptr_t)SIG_DFL);
    for (int sent = 0; sent < 2; sent++) {
        int status;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            if (sent)
                raise(SIGSEGV);
            else
                *nowhere = 1;
            _exit(0);
        }
        EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        EXPECT(WTERMSIG(status) == SIGSEGV);
    }
    handler_watch_default(false);
    EXPECT(action_now() == SIG_DFL);
    install_watched((uintptr_t)on_signal, 0);
    handler_watch_default(true); /* it is not SIG_DFL's place */
    EXPECT(handler_unwrap((uintptr_t)action_now()) == (uintptr_t)on_signal);
}

static void test_watching(void)
{
    EXPECT(child_passes(watching));
}

static void test_watched_default(void)
{
    EXPECT(child_passes(watched_default));
}

static void test_wrapping(void)
{
    EXPECT(child_passes(wrapping));
}

static void test_exhausted(void)
{
    EXPECT(child_passes(exhausted));
}

static void test_arguments(void)
{
    EXPECT(child_passes(arguments));
}

static void test_jumping_out(void)
{
    EXPECT(child_passes(jumping_out));
}

static void test_held_back(void)
{
    EXPECT(child_passes(held_back));
}

static void test_forking(void)
{
    EXPECT(child_passes(forking));
}

UNIT_MAIN(TEST(test_wrapping), TEST(test_exhausted), TEST(test_arguments), TEST(test_jumping_out), TEST(test_held_back), TEST(test_forking),
          TEST(test_watching), TEST(test_watched_default))
