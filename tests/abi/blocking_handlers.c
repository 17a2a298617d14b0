/* blocking_handlers.c -- signal handlers over blocking calls; see blocking.c.
 *
 * A handler that comes in a blocking call runs the program's code in the middle of it. It takes the
 * only pointer of a block into its frame, allocates, blocks itself. Then the call ends as it
 * should: with EINTR, or not, if it is one that starts again; or it never ends, since the handler
 * jumps out of it. Signals are sent one at a time, so that all can be counted. */
#include "blocking.h"

#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ROUNDS = 40, JUMPS = 30, FORKS = 15 };

struct waiter {
    int (*wait)(struct waiter *);        /* 0, or the error that it ended with */
    void (*release)(struct waiter *);    /* lets it end with 0, if it can start again */
    long number;                         /* of the system call that it blocks in */
    bool masked;                         /* takes signals in the call only */
    pthread_t thread;
    atomic_int tid, handled, interrupted, completed;
    int fds[2];
    sem_t sem;
    /* The only pointer of its block, while no handler has it. */
    void *volatile word;
    unsigned seed;
    volatile pid_t child;
};

static __thread struct waiter *self;
static atomic_bool over;

static int wait_poll(struct waiter *w)
{
    struct pollfd fd = { .fd = w->fds[0], .events = POLLIN };
    return poll(&fd, 1, -1) < 0 ? errno : 0;
}

static int wait_ppoll(struct waiter *w)
{
    struct pollfd fd = { .fd = w->fds[0], .events = POLLIN };
    sigset_t none;
    sigemptyset(&none);
    return ppoll(&fd, 1, NULL, &none) < 0 ? errno : 0;
}

static int wait_read(struct waiter *w)
{
    char byte = 0;
    ssize_t got = read(w->fds[0], &byte, 1);
    CHECK(got < 0 || (got == 1 && byte == 'x'));
    return got < 0 ? errno : 0;
}

static void release_read(struct waiter *w)
{
    CHECK(write(w->fds[1], "x", 1) == 1);
}

static int wait_sem(struct waiter *w)
{
    return sem_wait(&w->sem) < 0 ? errno : 0;
}

static void release_sem(struct waiter *w)
{
    CHECK(sem_post(&w->sem) == 0);
}

static int wait_suspend(struct waiter *w)
{
    sigset_t none;
    (void)w;
    sigemptyset(&none);
    return sigsuspend(&none) < 0 ? errno : 0;
}

static int wait_nanosleep(struct waiter *w)
{
    struct timespec span = { 1000, 0 };
    (void)w;
    return nanosleep(&span, NULL) < 0 ? errno : 0;
}

#define WAITER(name, call, releases, in_call_only) \
    { .wait = wait_##name, .release = releases, .number = call, .masked = in_call_only }

static struct waiter waiters[] = {
    WAITER(poll, SYS_poll, NULL, false), WAITER(ppoll, SYS_ppoll, NULL, true),
    WAITER(read, SYS_read, release_read, false), WAITER(sem, SYS_futex, release_sem, false),
    WAITER(suspend, SYS_rt_sigsuspend, NULL, true),
    WAITER(nanosleep, SYS_clock_nanosleep, NULL, false),
};
enum { WAITERS = sizeof waiters / sizeof waiters[0] };

static void on_signal(int signal)
{
    int saved = errno;
    struct waiter *w = self;
    void *block = w->word;
    w->word = NULL;
    CHECK(signal == SIGUSR1 || signal == SIGUSR2);
    pressure(20000, 0);
    CHECK(poll(NULL, 0, 1) == 0);
    pressure(20000, 0);
    block_check(block, w->seed);
    w->word = block;
    atomic_fetch_add(&w->handled, 1);
    errno = saved;
}

static void mask_if(bool masked)
{
    sigset_t set;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR1) == 0 && sigaddset(&set, SIGUSR2) == 0);
    CHECK(pthread_sigmask(masked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL) == 0);
}

static void *waiter_thread(void *data)
{
    struct waiter *w = data;
    self = w;
    mask_if(w->masked);
    w->word = block_make(w->seed);
    atomic_store(&w->tid, gettid());
    for (unsigned round = 0; !atomic_load(&over); round++) {
        void *block = block_make(round);
        int result = w->wait(w);
        block_end(block, round);
        CHECK(result == 0 || result == EINTR);
        atomic_fetch_add(result == 0 ? &w->completed : &w->interrupted, 1);
    }
    block_end(w->word, w->seed);
    return NULL;
}

static void await_waiter(struct waiter *w)
{
    await_call(atomic_load(&w->tid), w->number, w->number == SYS_futex ? &w->sem : NULL);
}

/* One signal: one run of the handler, and one EINTR, or none. */
static void interrupt(struct waiter *w, int signal)
{
    int handled = atomic_load(&w->handled), interrupted = atomic_load(&w->interrupted);
    int completed = atomic_load(&w->completed);
    bool restarts = signal == SIGUSR2 && w->release != NULL;
    await_waiter(w);
    CHECK(pthread_kill(w->thread, signal) == 0);
    while (atomic_load(&w->handled) == handled)
        pressure(5000, 0);
    if (restarts) {
        await_waiter(w);
        w->release(w);
    }
    while (atomic_load(&w->interrupted) + atomic_load(&w->completed) == interrupted + completed)
        pressure(5000, 0);
    CHECK(atomic_load(&w->handled) == handled + 1);
    CHECK(atomic_load(&w->interrupted) == interrupted + !restarts);
    CHECK(atomic_load(&w->completed) == completed + restarts);
}

static void set_action(int signal, void (*handler)(int), int flags)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
    CHECK(sigemptyset(&action.sa_mask) == 0 && sigaction(signal, &action, NULL) == 0);
}

static void start(struct waiter *w, void *(*function)(void *))
{
    CHECK(pipe(w->fds) == 0 && sem_init(&w->sem, 0, 0) == 0);
    CHECK(pthread_create(&w->thread, NULL, function, w) == 0);
    while (atomic_load(&w->tid) == 0)
        sched_yield();
}

static void run_waiters(void)
{
    set_action(SIGUSR1, on_signal, 0);
    set_action(SIGUSR2, on_signal, SA_RESTART);
    for (unsigned i = 0; i < WAITERS; i++) {
        waiters[i].seed = 100 + i;
        start(&waiters[i], waiter_thread);
    }
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < WAITERS; i++)
            interrupt(&waiters[i], (round + i) % 3 ? SIGUSR1 : SIGUSR2);
    atomic_store(&over, true);
    for (unsigned i = 0; i < WAITERS; i++)
        interrupt(&waiters[i], SIGUSR1);
    for (unsigned i = 0; i < WAITERS; i++)
        CHECK(pthread_join(waiters[i].thread, NULL) == 0);
}

/* ---- a handler that jumps out of the call ---- */

static __thread sigjmp_buf jump;

static void on_jump(int signal)
{
    CHECK(signal == SIGHUP);
    pressure(10000, 0);
    siglongjmp(jump, 1);
}

static void *jumper_thread(void *data)
{
    struct waiter *w = data;
    sigset_t set;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGHUP) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    atomic_store(&w->tid, gettid());
    for (volatile unsigned round = 0; round < JUMPS; round++) {
        void *volatile block = block_make(round);
        if (sigsetjmp(jump, 1) == 0) {
            CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
            (round % 2 ? wait_read : wait_poll)(w);
            CHECK(!"returned");
        }
        wander(10, round);
        block_end(block, round);
        atomic_fetch_add(&w->completed, 1);
    }
    return NULL;
}

static void run_jumper(void)
{
    static struct waiter jumper;
    set_action(SIGHUP, on_jump, 0);
    start(&jumper, jumper_thread);
    for (int round = 0; round < JUMPS; round++) {
        await_call(atomic_load(&jumper.tid), round % 2 ? SYS_read : SYS_poll, NULL);
        CHECK(pthread_kill(jumper.thread, SIGHUP) == 0);
        while (atomic_load(&jumper.completed) == round)
            pressure(20000, 0);
    }
    CHECK(pthread_join(jumper.thread, NULL) == 0);
}

/* ---- a handler that forks ---- */

static pid_t parent_process;

static void on_fork(int signal)
{
    struct waiter *w = self;
    void *block = w->word;
    w->word = NULL;
    CHECK(signal == SIGHUP);
    pid_t child = fork();
    CHECK(child >= 0);
    block_check(block, w->seed);
    pressure(100000, 0);
    if (child == 0)
        wander(2, 7);
    w->word = block;
    w->child = child;
    atomic_fetch_add(&w->handled, 1);
}

static void *forker_thread(void *data)
{
    struct waiter *w = data;
    self = w;
    w->word = block_make(w->seed);
    atomic_store(&w->tid, gettid());
    for (unsigned round = 0; round < FORKS; round++) {
        void *block = block_make(round);
        CHECK((round % 2 ? wait_read : wait_poll)(w) == EINTR);
        block_end(block, round);
        if (getpid() != parent_process) {
            block_end(w->word, w->seed);
            CHECK(poll(NULL, 0, 1) == 0);
            wander(2, round);
            _exit(0);
        }
    }
    block_end(w->word, w->seed);
    return NULL;
}

static void run_forker(void)
{
    static struct waiter forker = { .seed = 77 };
    int status;
    parent_process = getpid();
    set_action(SIGHUP, on_fork, 0);
    start(&forker, forker_thread);
    for (int round = 0; round < FORKS; round++) {
        await_call(atomic_load(&forker.tid), round % 2 ? SYS_read : SYS_poll, NULL);
        CHECK(pthread_kill(forker.thread, SIGHUP) == 0);
        while (atomic_load(&forker.handled) == round)
            pressure(20000, 0);
        CHECK(waitpid(forker.child, &status, 0) == forker.child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK(pthread_join(forker.thread, NULL) == 0);
}

/* ---- timers: signals that nobody of the program sends, and so come at any time ---- */

enum { PLACES = 64, MOVERS = 2, TIMERS_MS = 500, PERIOD_NS = 150000 };

static const int timer_signals[] = { SIGALRM, SIGVTALRM };
enum { TIMERS = 2 };

/* Each in a page of its own. The only pointers to its block. */
struct place {
    void *block;
    unsigned seed;
    char gap[4096 - sizeof(void *) - sizeof(unsigned)];
};

struct mover {
    pthread_t thread;
    atomic_int moves;
    uint32_t states[TIMERS];
    struct place places[TIMERS * PLACES];
};

static struct mover movers[MOVERS];
static __thread struct mover *mover;
/* One may come while another runs: each signal moves its own. */
static void on_timer(int signal)
{
    int saved = errno;
    int timer = signal == timer_signals[1];
    struct place *places = mover->places + timer * PLACES;
    for (int i = 0; i < 8; i++) {
        uint32_t r = random_next(&mover->states[timer]);
        struct place *a = &places[r % PLACES], *b = &places[r / PLACES % PLACES];
        void *block = a->block;
        unsigned seed = a->seed;
        a->block = b->block;
        a->seed = b->seed;
        b->block = block;
        b->seed = seed;
        block_check(block, seed);
    }
    atomic_fetch_add(&mover->moves, 1);
    errno = saved;
}

static void mask_timers(int how)
{
    sigset_t set;
    CHECK(sigemptyset(&set) == 0);
    for (int i = 0; i < TIMERS; i++)
        CHECK(sigaddset(&set, timer_signals[i]) == 0);
    CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static void timers_start(timer_t *timers)
{
    struct itimerspec period = { { 0, PERIOD_NS }, { 0, PERIOD_NS } };
    for (int i = 0; i < TIMERS; i++) {
        struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID };
        event.sigev_signo = timer_signals[i];
        event._sigev_un._tid = gettid();
        CHECK(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0);
        CHECK(timer_settime(timers[i], 0, &period, NULL) == 0);
        period.it_interval.tv_nsec += PERIOD_NS / 3;
    }
}

/* Handlers run in its calls, so it must not allocate meanwhile. */
static void *mover_thread(void *data)
{
    timer_t timers[TIMERS];
    mover = data;
    mover->states[0] = 98;
    mover->states[1] = 99;
    struct place *places = mover->places;
    for (unsigned i = 0; i < TIMERS * PLACES; i++)
        places[i] = (struct place){ .block = block_make(i), .seed = i };
    timers_start(timers);
    for (unsigned round = 0; !atomic_load(&over); round++) {
        struct timespec span = { 0, round % 16 * 20000 };
        CHECK(nanosleep(&span, NULL) == 0 || errno == EINTR);
    }
    for (int i = 0; i < TIMERS; i++)
        CHECK(timer_delete(timers[i]) == 0);
    mask_timers(SIG_BLOCK);
    for (unsigned i = 0; i < TIMERS * PLACES; i++)
        block_end(places[i].block, places[i].seed);
    return NULL;
}

static void run_timers(void)
{
    for (int i = 0; i < TIMERS; i++)
        set_action(timer_signals[i], on_timer, SA_RESTART);
    atomic_store(&over, false);
    for (int i = 0; i < MOVERS; i++)
        CHECK(pthread_create(&movers[i].thread, NULL, mover_thread, &movers[i]) == 0);
    for (uint64_t end = now_ns() + TIMERS_MS * 1000000ull; now_ns() < end;)
        pressure(20000, 0);
    atomic_store(&over, true);
    for (int i = 0; i < MOVERS; i++) {
        CHECK(pthread_join(movers[i].thread, NULL) == 0);
        CHECK(atomic_load(&movers[i].moves) > 0);
    }
}

void kind_handlers(void)
{
    run_waiters();
    run_jumper();
    run_forker();
    run_timers();
}
