/* storm.c -- a timer's signals, as many as come, over threads that allocate, leak and sleep.
 *
 *     storm KIND restart|interrupt|onstack
 *
 * writes_prof, writes_real: the handler comes anywhere, in malloc too, and writes into memory: it
 * changes the places of pointers of which there are no others, and the bytes of a block.
 *
 * allocates_prof, allocates_real: the handler allocates, frees and leaks, too; so signals are
 * blocked while the thread itself allocates, as they must be with any malloc.
 *
 * The timer is ITIMER_PROF or ITIMER_REAL, of 1 ms. The handler is set with SA_RESTART, without it,
 * or with SA_RESTART and SA_ONSTACK. A thread knows how often it ran on it: so a call that ended
 * with EINTR, though no handler came or it is one that starts again, is found.
 *
 * elapsed: calls with a time are measured while others leak. That they end with their proper result
 * and not before their time is checked; how much later is printed.
 *
 * sleepers: many threads in nanosleep() while others leak. No handler is there: none may end with
 * EINTR. */
#include "kept.h"

#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>

enum {
    THREADS = 4,
    ROUNDS_LEAST = 40,
    ROUNDS_MOST = 20000,
    LEAKING_ROUNDS = 60,
    HANDLED_LEAST = 100,    /* runs of the handler */
    SLEEP_NS = 2000000,
    ALTERNATE_STACK = 64 << 10,
    WORD_SIZE = 600,
};

static const char *flags;
static int storm_signal;
static bool allocates;
static atomic_int handled;
static int wake[2];    /* the sleeper writes, the reader reads */

/* ---- the handler ---- */

/* The thread's own: set by it while the signal is blocked, changed by the handler. */
static __thread void *volatile words[2];
static __thread volatile unsigned runs;

static NOINLINE void handler_allocates(void)
{
    char *block = block_make(700, 9);
    pressure(4000, runs % 4 == 0);
    CHECK(pattern_holds(block, 700, 9));
    free(block);
}

static void on_storm(int signal)
{
    int saved = errno;
    void *first = words[0];
    CHECK(signal == storm_signal);
    words[0] = NULL;
    words[1] = first == NULL ? words[1] : first;
    if (runs % 2 == 0) {
        words[0] = words[1];
        words[1] = NULL;
    }
    unsigned char *block = words[0] == NULL ? words[1] : words[0];
    CHECK(pattern_holds(block, WORD_SIZE, 8));
    pattern_fill(block, WORD_SIZE, 8);
    if (allocates)
        handler_allocates();
    runs++;
    atomic_fetch_add(&handled, 1);
    errno = saved;
}

static void mask_storm(int how)
{
    sigset_t set;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, storm_signal) == 0);
    CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static bool restarts(void)
{
    return strcmp(flags, "interrupt") != 0;
}

static void handler_install(void)
{
    struct sigaction action = { .sa_handler = on_storm };
    action.sa_flags = restarts() ? SA_RESTART : 0;
    if (strcmp(flags, "onstack") == 0)
        action.sa_flags |= SA_ONSTACK;
    CHECK(sigaction(storm_signal, &action, NULL) == 0);
}

static void *stack_install(void)
{
    stack_t stack = { .ss_sp = malloc(ALTERNATE_STACK), .ss_size = ALTERNATE_STACK };
    CHECK(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0);
    return stack.ss_sp;
}

static void stack_remove(void *memory)
{
    stack_t none = { .ss_flags = SS_DISABLE };
    CHECK(sigaltstack(&none, NULL) == 0);
    free(memory);
}

/* ---- the calls ---- */

static struct timespec now(clockid_t clock)
{
    struct timespec at;
    CHECK(clock_gettime(clock, &at) == 0);
    return at;
}

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct timespec after(clockid_t clock, int64_t ns)
{
    int64_t at = nanoseconds(now(clock)) + ns;
    return (struct timespec){ at / 1000000000, at % 1000000000 };
}

/* Ended by a handler: one must have come, since the thread had run so many. */
static void interrupted(unsigned before)
{
    CHECK(errno == EINTR && runs != before);
}

static void sleep_nanosleep(void)
{
    struct timespec span = { 0, SLEEP_NS }, rest = { 0, 0 };
    unsigned before = runs;
    int64_t begin = nanoseconds(now(CLOCK_MONOTONIC));
    if (nanosleep(&span, &rest) != 0)
        interrupted(before);
    int64_t took = nanoseconds(now(CLOCK_MONOTONIC)) - begin;
    CHECK(took + nanoseconds(rest) >= SLEEP_NS);
    CHECK(write(wake[1], "x", 1) == 1);
}

static void sleep_poll(void)
{
    unsigned before = runs;
    int64_t begin = nanoseconds(now(CLOCK_MONOTONIC));
    int result = poll(NULL, 0, SLEEP_NS / 1000000);
    if (result != 0)
        interrupted(before);
    else
        CHECK(nanoseconds(now(CLOCK_MONOTONIC)) - begin >= SLEEP_NS);
}

/* Never ends with EINTR. */
static void sleep_cond(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    struct timespec end = after(CLOCK_MONOTONIC, SLEEP_NS);
    CHECK(pthread_mutex_lock(&mutex) == 0);
    int result = pthread_cond_clockwait(&cond, &mutex, CLOCK_MONOTONIC, &end);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    CHECK(result == ETIMEDOUT || result == 0);
    CHECK(result == 0 || nanoseconds(now(CLOCK_MONOTONIC)) >= nanoseconds(end));
}

/* Starts again, if the handler says so. */
static void sleep_read(void)
{
    char byte = 0;
    unsigned before = runs;
    ssize_t got = read(wake[0], &byte, 1);
    if (got < 0) {
        interrupted(before);
        CHECK(!restarts());
    } else {
        CHECK(got == 0 || (got == 1 && byte == 'x'));
    }
}

static void (*const sleeps[THREADS])(void) = { sleep_nanosleep, sleep_poll, sleep_cond,
                                               sleep_read };

/* ---- the threads ---- */

static bool is_over(unsigned round)
{
    return round >= ROUNDS_LEAST && atomic_load(&handled) >= HANDLED_LEAST;
}

static void allocate(unsigned round, void *volatile *place)
{
    unsigned i = round % KEPT;
    if (allocates)
        mask_storm(SIG_BLOCK);
    CHECK(pattern_holds(place[i], 100 * i + 30, i));
    free(place[i]);
    pressure(500 << 10, round < LEAKING_ROUNDS);
    place[i] = block_make(100 * i + 30, i);
    if (allocates)
        mask_storm(SIG_UNBLOCK);
}

/* The time that it takes is the thread's own: ITIMER_PROF counts that. */
static void compute(void *volatile *place)
{
    for (unsigned turn = 0; turn < 50; turn++)
        for (unsigned i = 0; i < KEPT; i++) {
            CHECK(pattern_holds(place[i], 100 * i + 30, i));
            pattern_fill(place[i], 100 * i + 30, i);
        }
}

static void *storm_thread(void *number)
{
    void *volatile place[KEPT];
    void (*rest)(void) = sleeps[(uintptr_t)number];
    void *stack = stack_install();
    for (unsigned i = 0; i < KEPT; i++)
        place[i] = block_make(100 * i + 30, i);
    words[0] = block_make(WORD_SIZE, 8);
    mask_storm(SIG_UNBLOCK);
    unsigned round = 0;
    for (; !is_over(round); round++) {
        CHECK(round < ROUNDS_MOST);
        allocate(round, place);
        compute(place);
        rest();
    }
    mask_storm(SIG_BLOCK);
    if (rest == sleep_nanosleep)
        CHECK(close(wake[1]) == 0);
    void *word = words[0] == NULL ? words[1] : words[0];
    CHECK(pattern_holds(word, WORD_SIZE, 8));
    free(word);
    for (unsigned i = 0; i < KEPT; i++) {
        CHECK(pattern_holds(place[i], 100 * i + 30, i));
        free(place[i]);
    }
    stack_remove(stack);
    return NULL;
}

/* The main thread takes no signal: the threads begin with its mask. */
static void storm(int timer, int signal)
{
    pthread_t threads[THREADS];
    struct itimerval each = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
    storm_signal = signal;
    mask_storm(SIG_BLOCK);
    handler_install();
    CHECK(pipe(wake) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, storm_thread, (void *)i) == 0);
    CHECK(setitimer(timer, &each, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(setitimer(timer, &never, NULL) == 0);
    CHECK(atomic_load(&handled) >= HANDLED_LEAST);
}

static void kind_writes_prof(void)
{
    storm(ITIMER_PROF, SIGPROF);
}

static void kind_writes_real(void)
{
    storm(ITIMER_REAL, SIGALRM);
}

static void kind_allocates_prof(void)
{
    allocates = true;
    storm(ITIMER_PROF, SIGPROF);
}

static void kind_allocates_real(void)
{
    allocates = true;
    storm(ITIMER_REAL, SIGALRM);
}

/* ---- elapsed ---- */

enum { LEAKERS = 2, MEASURED = 2, LEAK_MOST = 60 << 20 };

static atomic_bool over;

static void *leaker_thread(void *unused)
{
    size_t leaked = 0;
    for (; !atomic_load(&over); leaked += 200000)
        pressure(200000, leaked < LEAK_MOST);
    return unused;
}

struct call {
    const char *name;
    int64_t ns;
    int (*run)(int64_t ns);   /* 0: it ended as it must */
    clockid_t clock;          /* by which it may not be early */
};

static int run_sleep(int64_t ns)
{
    return (int)sleep((unsigned)(ns / 1000000000));
}

static int run_poll(int64_t ns)
{
    return poll(NULL, 0, (int)(ns / 1000000));
}

static int run_nanosleep(int64_t ns)
{
    struct timespec span = { 0, ns };
    return nanosleep(&span, NULL);
}

static int run_cond(int64_t ns)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    struct timespec end = after(CLOCK_REALTIME, ns);
    CHECK(pthread_mutex_lock(&mutex) == 0);
    int result = pthread_cond_timedwait(&cond, &mutex, &end);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    return result == ETIMEDOUT ? 0 : result == 0 ? -1 : result;
}

static int run_sem(int64_t ns)
{
    sem_t sem;
    struct timespec end = after(CLOCK_REALTIME, ns);
    CHECK(sem_init(&sem, 0, 0) == 0);
    return sem_timedwait(&sem, &end) == -1 && errno == ETIMEDOUT ? 0 : -1;
}

static int run_select(int64_t ns)
{
    struct timeval span = { 0, ns / 1000 };
    return select(0, NULL, NULL, NULL, &span);
}

static int run_epoll(int64_t ns)
{
    struct epoll_event event;
    int set = epoll_create1(EPOLL_CLOEXEC);
    CHECK(set >= 0);
    int result = epoll_wait(set, &event, 1, (int)(ns / 1000000));
    CHECK(close(set) == 0);
    return result;
}

static const struct call calls[] = {
    { "sleep", 1000000000, run_sleep, CLOCK_MONOTONIC },
    { "poll", 100000000, run_poll, CLOCK_MONOTONIC },
    { "nanosleep", 50000000, run_nanosleep, CLOCK_MONOTONIC },
    { "pthread_cond_timedwait", 50000000, run_cond, CLOCK_REALTIME },
    { "sem_timedwait", 50000000, run_sem, CLOCK_REALTIME },
    { "select", 50000000, run_select, CLOCK_MONOTONIC },
    { "epoll_wait", 50000000, run_epoll, CLOCK_MONOTONIC },
};

static void measure(const struct call *c)
{
    int64_t begin = nanoseconds(now(c->clock)), from = nanoseconds(now(CLOCK_MONOTONIC));
    int result = c->run(c->ns);
    int error = errno;
    int64_t excess = nanoseconds(now(CLOCK_MONOTONIC)) - from - c->ns;
    if (result != 0) {
        fprintf(stderr, "%s returned %d (errno %d)\n", c->name, result, error);
        _exit(1);
    }
    int64_t took = nanoseconds(now(c->clock)) - begin;
    if (took < c->ns) {
        fprintf(stderr, "%s ended %ld ns early\n", c->name, (long)(c->ns - took));
        _exit(1);
    }
    printf("%-24s %4d ms, and %8.3f ms more\n", c->name, (int)(c->ns / 1000000),
           (double)excess / 1e6);
}

static pthread_t leakers[LEAKERS];

static void leakers_start(void)
{
    for (int i = 0; i < LEAKERS; i++)
        CHECK(pthread_create(&leakers[i], NULL, leaker_thread, NULL) == 0);
}

static void leakers_end(void)
{
    atomic_store(&over, true);
    for (int i = 0; i < LEAKERS; i++)
        CHECK(pthread_join(leakers[i], NULL) == 0);
}

static void kind_elapsed(void)
{
    leakers_start();
    for (int round = 0; round < MEASURED; round++)
        for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
            measure(&calls[i]);
    leakers_end();
}

/* ---- sleepers ---- */

/* So many that one of them is just coming out of a stop when it is stopped again. */
enum { SLEEPERS = 48, SLEEPS = 4, LONG_SLEEP_NS = 400000000 };

static void *sleeper_thread(void *unused)
{
    for (int i = 0; i < SLEEPS; i++) {
        struct timespec span = { 0, LONG_SLEEP_NS };
        int64_t begin = nanoseconds(now(CLOCK_MONOTONIC));
        CHECK(nanosleep(&span, NULL) == 0);
        CHECK(nanoseconds(now(CLOCK_MONOTONIC)) - begin >= LONG_SLEEP_NS);
    }
    return unused;
}

static void kind_sleepers(void)
{
    pthread_t threads[SLEEPERS];
    leakers_start();
    for (int i = 0; i < SLEEPERS; i++)
        CHECK(pthread_create(&threads[i], NULL, sleeper_thread, NULL) == 0);
    for (int i = 0; i < SLEEPERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    leakers_end();
}

/* ---- */

static const struct kind kinds[] = {
    KIND(writes_prof), KIND(writes_real), KIND(allocates_prof), KIND(allocates_real),
    KIND(elapsed), KIND(sleepers),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2 || argc == 3);
    flags = argc == 3 ? argv[2] : "restart";
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
