/* blocking_sleepers.c -- a thread for each call that can sleep; see blocking.c.
 *
 * A thread repeats its call, asking for about 20 ms each time. Meanwhile the only pointer to a
 * block of its own is in one callee-saved register.
 *
 * aio_suspend() is missing: libc's thread behind it blocks all signals past any wrapper, so that no
 * collector could stop the world while it lives, and the other threads would see none. */
#include "blocking.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <threads.h>

enum {
    SLEEP_MS = 20,
    RUN_MS = 1500,
    GRANULARITY_NS = 1000000,    /* of the kernel's clocks */
    DROPS_MOST = 100000,         /* without a collector they stay */
};

struct sleeper {
    const char *name;
    int (*call)(struct sleeper *);   /* 0, or the error that it ended with */
    void (*open)(struct sleeper *);
    void (*close)(struct sleeper *);
    int ends;                        /* what a call must end with */
    unsigned least_ms;               /* the time that it must take */
    unsigned number;
    int result;                      /* of the last call */
    uint64_t took;
    pthread_t thread, companion;
    atomic_bool finished;
    int fds[2], other;
    uint32_t word;
    sem_t sem;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    mtx_t mtx;
    cnd_t cnd;
};

static atomic_bool over;

/* ---- holding a block in a register ---- */

typedef void hold_fn(void (*function)(void *), void *argument, void *volatile *slot);

/* Calls the function with the slot's pointer in that register, and nowhere else; puts back in the
 * slot what the register holds then. */
#define HOLD_IN(reg) \
    hold_fn hold_in_##reg; \
    __asm__(".text\n\t.globl hold_in_" #reg "\n\t.type hold_in_" #reg ", @function\n" \
            "hold_in_" #reg ":\n\t" \
            ".cfi_startproc\n\t" \
            "push %" #reg "\n\t" \
            ".cfi_def_cfa_offset 16\n\t.cfi_offset %" #reg ", -16\n\t" \
            "push %rdx\n\tpush %rdx\n\t.cfi_def_cfa_offset 32\n\t" \
            "mov (%rdx), %" #reg "\n\tmovq $0, (%rdx)\n\t" \
            "mov %rdi, %rax\n\tmov %rsi, %rdi\n\t" \
            "xor %esi, %esi\n\txor %edx, %edx\n\txor %ecx, %ecx\n\txor %r8d, %r8d\n\t" \
            "xor %r9d, %r9d\n\txor %r10d, %r10d\n\txor %r11d, %r11d\n\t" \
            "call *%rax\n\t" \
            "pop %rdx\n\tpop %rdx\n\t.cfi_def_cfa_offset 16\n\t" \
            "mov %" #reg ", (%rdx)\n\t" \
            "pop %" #reg "\n\t" \
            ".cfi_def_cfa_offset 8\n\t.cfi_restore %" #reg "\n\t" \
            "ret\n\t" \
            ".cfi_endproc\n\t" \
            ".size hold_in_" #reg ", . - hold_in_" #reg);

HOLD_IN(rbx)
HOLD_IN(rbp)
HOLD_IN(r12)
HOLD_IN(r13)
HOLD_IN(r14)
HOLD_IN(r15)

static hold_fn *const holds[] = {
    hold_in_rbx, hold_in_rbp, hold_in_r12, hold_in_r13, hold_in_r14, hold_in_r15,
};
enum { HOLDS = sizeof holds / sizeof holds[0] };

/* What block_make() and block_check() left there. */
static NOINLINE void clear_below(void)
{
    volatile uintptr_t area[1024];
    for (size_t i = 0; i < sizeof area / sizeof area[0]; i++)
        area[i] = 0;
}

/* ---- the calls ---- */

/* Of a call that returns 0 when its time is up. */
static int timed_out(long result)
{
    return result == 0 ? 0 : result < 0 ? errno : -1;
}

/* Of a call that fails when its time is up. */
static int failed(long result)
{
    return result < 0 ? errno : 0;
}

static void open_pipe(struct sleeper *s)
{
    CHECK(pipe(s->fds) == 0);
}

static int call_poll(struct sleeper *s)
{
    struct pollfd fd = { .fd = s->fds[0], .events = POLLIN };
    return timed_out(poll(&fd, 1, SLEEP_MS));
}

static void some_signals(sigset_t *set)
{
    CHECK(sigemptyset(set) == 0 && sigaddset(set, SIGUSR1) == 0 && sigaddset(set, SIGTERM) == 0);
}

static int call_ppoll(struct sleeper *s)
{
    struct pollfd fd = { .fd = s->fds[0], .events = POLLIN };
    struct timespec span = in_ms(SLEEP_MS);
    sigset_t set;
    some_signals(&set);
    return timed_out(ppoll(&fd, 1, &span, &set));
}

static int call_select(struct sleeper *s)
{
    struct timeval span = { 0, SLEEP_MS * 1000 };
    fd_set set;
    FD_ZERO(&set);
    FD_SET(s->fds[0], &set);
    return timed_out(select(s->fds[0] + 1, &set, NULL, NULL, &span));
}

static int call_pselect(struct sleeper *s)
{
    struct timespec span = in_ms(SLEEP_MS);
    sigset_t signals;
    fd_set set;
    some_signals(&signals);
    FD_ZERO(&set);
    FD_SET(s->fds[0], &set);
    return timed_out(pselect(s->fds[0] + 1, &set, NULL, NULL, &span, &signals));
}

static void open_epoll(struct sleeper *s)
{
    struct epoll_event event = { .events = EPOLLIN };
    open_pipe(s);
    s->other = epoll_create1(EPOLL_CLOEXEC);
    CHECK(s->other >= 0 && epoll_ctl(s->other, EPOLL_CTL_ADD, s->fds[0], &event) == 0);
}

static int call_epoll_wait(struct sleeper *s)
{
    struct epoll_event event;
    return timed_out(epoll_wait(s->other, &event, 1, SLEEP_MS));
}

static int call_epoll_pwait(struct sleeper *s)
{
    struct epoll_event event;
    sigset_t set;
    some_signals(&set);
    return timed_out(epoll_pwait(s->other, &event, 1, SLEEP_MS, &set));
}

static int call_epoll_pwait2(struct sleeper *s)
{
    struct epoll_event event;
    struct timespec span = in_ms(SLEEP_MS);
    sigset_t set;
    some_signals(&set);
    return timed_out(epoll_pwait2(s->other, &event, 1, &span, &set));
}

static int call_nanosleep(struct sleeper *s)
{
    (void)s;
    struct timespec span = in_ms(SLEEP_MS);
    return timed_out(nanosleep(&span, NULL));
}

static int call_clock_nanosleep(struct sleeper *s)
{
    (void)s;
    struct timespec span = in_ms(SLEEP_MS);
    return clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

static int call_sleep_until(struct sleeper *s)
{
    (void)s;
    struct timespec at = after_ms(CLOCK_MONOTONIC, SLEEP_MS);
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static int call_usleep(struct sleeper *s)
{
    (void)s;
    return timed_out(usleep(SLEEP_MS * 1000));
}

static int call_thrd_sleep(struct sleeper *s)
{
    (void)s;
    struct timespec span = in_ms(SLEEP_MS);
    return thrd_sleep(&span, NULL);
}

static int call_sleep(struct sleeper *s)
{
    (void)s;
    return (int)sleep(1);
}

static void open_sem(struct sleeper *s)
{
    CHECK(sem_init(&s->sem, 0, 0) == 0);
}

static int call_sem_timedwait(struct sleeper *s)
{
    struct timespec at = after_ms(CLOCK_REALTIME, SLEEP_MS);
    return failed(sem_timedwait(&s->sem, &at));
}

static int call_sem_clockwait(struct sleeper *s)
{
    struct timespec at = after_ms(CLOCK_MONOTONIC, SLEEP_MS);
    return failed(sem_clockwait(&s->sem, CLOCK_MONOTONIC, &at));
}

static void open_cond(struct sleeper *s)
{
    CHECK(pthread_mutex_init(&s->mutex, NULL) == 0 && pthread_cond_init(&s->cond, NULL) == 0);
    CHECK(mtx_init(&s->mtx, mtx_plain) == thrd_success && cnd_init(&s->cnd) == thrd_success);
}

static int call_cond_timedwait(struct sleeper *s)
{
    struct timespec at = after_ms(CLOCK_REALTIME, SLEEP_MS);
    CHECK(pthread_mutex_lock(&s->mutex) == 0);
    int result = pthread_cond_timedwait(&s->cond, &s->mutex, &at);
    CHECK(pthread_mutex_unlock(&s->mutex) == 0);
    return result;
}

static int call_cond_clockwait(struct sleeper *s)
{
    struct timespec at = after_ms(CLOCK_MONOTONIC, SLEEP_MS);
    CHECK(pthread_mutex_lock(&s->mutex) == 0);
    int result = pthread_cond_clockwait(&s->cond, &s->mutex, CLOCK_MONOTONIC, &at);
    CHECK(pthread_mutex_unlock(&s->mutex) == 0);
    return result;
}

static int call_cnd_timedwait(struct sleeper *s)
{
    struct timespec at = after_ms(CLOCK_REALTIME, SLEEP_MS);
    CHECK(mtx_lock(&s->mtx) == thrd_success);
    int result = cnd_timedwait(&s->cnd, &s->mtx, &at);
    CHECK(mtx_unlock(&s->mtx) == thrd_success);
    return result == thrd_timedout ? ETIMEDOUT : result;
}

static int call_sigtimedwait(struct sleeper *s)
{
    (void)s;
    struct timespec span = in_ms(SLEEP_MS);
    sigset_t set;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR2) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    return failed(sigtimedwait(&set, NULL, &span));
}

static void open_semaphores(struct sleeper *s)
{
    s->other = semget(IPC_PRIVATE, 1, 0600);
    CHECK(s->other >= 0);
}

static void close_semaphores(struct sleeper *s)
{
    CHECK(semctl(s->other, 0, IPC_RMID) == 0);
}

static int call_semtimedop(struct sleeper *s)
{
    struct sembuf down = { .sem_num = 0, .sem_op = -1 };
    struct timespec span = in_ms(SLEEP_MS);
    return failed(semtimedop(s->other, &down, 1, &span));
}

static void open_queue(struct sleeper *s)
{
    char name[64];
    struct mq_attr attributes = { .mq_maxmsg = 1, .mq_msgsize = 16 };
    snprintf(name, sizeof name, "/gcmalloc-blocking-%d", (int)getpid());
    s->other = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
    CHECK(s->other >= 0 || errno == ENOSYS);
    CHECK(s->other < 0 || mq_unlink(name) == 0);
}

static int call_mq_timedreceive(struct sleeper *s)
{
    struct timespec at = after_ms(CLOCK_REALTIME, SLEEP_MS);
    char message[16];
    if (s->other < 0)
        return ENOSYS;
    return failed(mq_timedreceive(s->other, message, sizeof message, NULL, &at));
}

static void limit_time(int fd)
{
    struct timeval span = { 0, SLEEP_MS * 1000 };
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &span, sizeof span) == 0);
}

static void open_sockets(struct sleeper *s)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->fds) == 0);
    limit_time(s->fds[0]);
}

static int call_recv(struct sleeper *s)
{
    char byte;
    return failed(recv(s->fds[0], &byte, 1, 0));
}

static void open_listener(struct sleeper *s)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(s->other >= 0);
    CHECK(bind(s->other, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(s->other, 1) == 0);
    limit_time(s->other);
}

static int call_accept(struct sleeper *s)
{
    return failed(accept(s->other, NULL, NULL));
}

/* Writes until the reader has read its last. */
static void *writer_thread(void *data)
{
    struct sleeper *s = data;
    while (!atomic_load(&s->finished)) {
        struct timespec span = in_ms(SLEEP_MS);
        CHECK(nanosleep(&span, NULL) == 0);
        CHECK(write(s->fds[1], "x", 1) == 1);
    }
    return NULL;
}

static void open_companion(struct sleeper *s)
{
    open_pipe(s);
    CHECK(pthread_create(&s->companion, NULL, writer_thread, s) == 0);
}

static void close_companion(struct sleeper *s)
{
    CHECK(pthread_join(s->companion, NULL) == 0);
}

static int call_read(struct sleeper *s)
{
    char byte = 0;
    ssize_t got = read(s->fds[0], &byte, 1);
    return got == 1 && byte == 'x' ? 0 : got < 0 ? errno : -1;
}

static int call_timedjoin(struct sleeper *s)
{
    struct timespec at = after_ms(CLOCK_REALTIME, SLEEP_MS);
    return pthread_timedjoin_np(s->companion, NULL, &at);
}

static int call_futex(struct sleeper *s)
{
    struct timespec span = in_ms(SLEEP_MS);
    return failed(syscall(SYS_futex, &s->word, FUTEX_WAIT_PRIVATE, 0, &span, NULL, 0));
}

static int call_futex_bitset(struct sleeper *s)
{
    struct timespec at = after_ms(CLOCK_MONOTONIC, SLEEP_MS);
    return failed(syscall(SYS_futex, &s->word, FUTEX_WAIT_BITSET_PRIVATE, 0, &at, NULL, 4));
}

#define CALL_FOR(ms, function, ends_with, opens, closes) \
    { .name = #function, .call = call_##function, .open = opens, .close = closes, \
      .ends = ends_with, .least_ms = ms }
#define CALL(function, ends_with, opens, closes) \
    CALL_FOR(SLEEP_MS, function, ends_with, opens, closes)

static struct sleeper sleepers[] = {
    CALL(poll, 0, open_pipe, NULL), CALL(ppoll, 0, open_pipe, NULL),
    CALL(select, 0, open_pipe, NULL), CALL(pselect, 0, open_pipe, NULL),
    CALL(epoll_wait, 0, open_epoll, NULL), CALL(epoll_pwait, 0, open_epoll, NULL),
    CALL(epoll_pwait2, 0, open_epoll, NULL), CALL(nanosleep, 0, NULL, NULL),
    CALL(clock_nanosleep, 0, NULL, NULL), CALL(sleep_until, 0, NULL, NULL),
    CALL(usleep, 0, NULL, NULL), CALL(thrd_sleep, 0, NULL, NULL),
    CALL(sem_timedwait, ETIMEDOUT, open_sem, NULL), CALL(sem_clockwait, ETIMEDOUT, open_sem, NULL),
    CALL(cond_timedwait, ETIMEDOUT, open_cond, NULL),
    CALL(cond_clockwait, ETIMEDOUT, open_cond, NULL),
    CALL(cnd_timedwait, ETIMEDOUT, open_cond, NULL), CALL(sigtimedwait, EAGAIN, NULL, NULL),
    CALL(semtimedop, EAGAIN, open_semaphores, close_semaphores),
    CALL(mq_timedreceive, ETIMEDOUT, open_queue, NULL),
    CALL(recv, EAGAIN, open_sockets, NULL), CALL(accept, EAGAIN, open_listener, NULL),
    CALL(timedjoin, ETIMEDOUT, open_companion, close_companion),
    CALL(futex, ETIMEDOUT, NULL, NULL), CALL(futex_bitset, ETIMEDOUT, NULL, NULL),
    CALL_FOR(0, read, 0, open_companion, close_companion), CALL_FOR(1000, sleep, 0, NULL, NULL),
};
enum { SLEEPERS = sizeof sleepers / sizeof sleepers[0] };

/* ---- */

static void make_call(void *data)
{
    struct sleeper *s = data;
    clear_below();
    uint64_t before = now_ns();
    s->result = s->call(s);
    s->took = now_ns() - before;
}

static void judge(const struct sleeper *s)
{
    if (s->result == s->ends && s->took + GRANULARITY_NS >= s->least_ms * 1000000ull)
        return;
    fprintf(stderr, "%s: ended with %d (%s) after %llu us, not with %d\n", s->name, s->result,
            strerror(s->result), (unsigned long long)s->took / 1000, s->ends);
    _exit(1);
}

static void *sleeper_thread(void *data)
{
    struct sleeper *s = data;
    unsigned seed = s->number * 1000;
    void *volatile slot = block_make(seed);
    for (unsigned round = 1; !atomic_load(&over); round++) {
        holds[(s->number + round / 8) % HOLDS](make_call, s, &slot);
        if (s->result == ENOSYS)
            break;
        judge(s);
        block_check(slot, seed);
        if (round % 3 != 0)
            continue;
        block_end(slot, seed);
        slot = block_make(++seed);
    }
    block_end(slot, seed);
    atomic_store(&s->finished, true);
    return NULL;
}

static void allocate_until(uint64_t end)
{
    enum { RING = 512 };
    static void *ring[RING];
    uint32_t state = 4711;
    for (unsigned i = 0, drops = 0; now_ns() < end; i++) {
        uint32_t r = random_next(&state);
        if (r % 8 != 0 || drops++ > DROPS_MOST)
            free(ring[i % RING]);
        ring[i % RING] = malloc(8 + r / 8 % 400);
        CHECK(ring[i % RING] != NULL);
    }
    for (unsigned i = 0; i < RING; i++)
        free(ring[i]);
}

/* ---- the last argument of syscall() lies on the stack ---- */

static uint32_t bitset_word;
static atomic_bool bitset_woken;

static void *bitset_thread(void *unused)
{
    CHECK(syscall(SYS_futex, &bitset_word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 2) == 0);
    atomic_store(&bitset_woken, true);
    return unused;
}

static long wake_bitset(unsigned bits)
{
    return syscall(SYS_futex, &bitset_word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

static void check_bitsets(void)
{
    pthread_t thread;
    errno = 0;
    CHECK(syscall(SYS_futex, &bitset_word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0) == -1);
    CHECK(errno == EINVAL);
    CHECK(pthread_create(&thread, NULL, bitset_thread, NULL) == 0);
    for (int i = 0; i < 100; i++) {
        CHECK(wake_bitset(1) == 0 && !atomic_load(&bitset_woken));
        pressure(100000, 0);
    }
    long woken;
    while ((woken = wake_bitset(2)) == 0)
        pressure(10000, 0);
    CHECK(woken == 1 && pthread_join(thread, NULL) == 0);
}

void kind_sleepers(void)
{
    check_bitsets();
    for (unsigned i = 0; i < SLEEPERS; i++) {
        sleepers[i].number = i;
        if (sleepers[i].open != NULL)
            sleepers[i].open(&sleepers[i]);
    }
    for (unsigned i = 0; i < SLEEPERS; i++)
        CHECK(pthread_create(&sleepers[i].thread, NULL, sleeper_thread, &sleepers[i]) == 0);
    allocate_until(now_ns() + RUN_MS * 1000000ull);
    atomic_store(&over, true);
    for (unsigned i = 0; i < SLEEPERS; i++)
        CHECK(pthread_join(sleepers[i].thread, NULL) == 0);
    for (unsigned i = 0; i < SLEEPERS; i++)
        if (sleepers[i].close != NULL)
            sleepers[i].close(&sleepers[i]);
}
