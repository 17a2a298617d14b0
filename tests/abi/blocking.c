/* blocking.c -- threads in libc's blocking calls, while another allocates.   blocking KIND
 *
 * sleepers (blocking_sleepers.c): a thread for each call that can sleep. A call must end as it ends
 * in any program: with the error of its time-out, not before its time, never with EINTR; and the
 * block whose only pointer is in one of the caller's registers must be there afterwards.
 *
 * handlers, actions (blocking_handlers.c, blocking_actions.c): signals that come to threads in such
 * calls, and what the program is told of its own handlers.
 *
 * cancel, vfork: other ways out of a blocking call than its return: a thread is unwound out of it,
 * a child that borrows its parent's thread is killed in it. Whoever goes on after that holds blocks
 * in its frames only, moves them about and looks whether they are whole.
 *
 * Nothing here has an upper bound on time. Where it matters that a thread is blocked, /proc tells
 * in which system call it is. */
#include "blocking.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- shared with the other files ---- */

static size_t block_size(unsigned seed)
{
    return 16 + seed * 37 % 2000;
}

NOINLINE void *block_make(unsigned seed)
{
    void *block = malloc(block_size(seed));
    CHECK(block != NULL);
    pattern_fill(block, block_size(seed), seed);
    return block;
}

NOINLINE void block_check(const void *block, unsigned seed)
{
    CHECK(pattern_holds(block, block_size(seed), seed));
}

NOINLINE void block_end(void *block, unsigned seed)
{
    block_check(block, seed);
    free(block);
}

/* Takes a pointer some frames down and back. */
static NOINLINE void *carry(void *block, unsigned seed, unsigned depth)
{
    if (depth > 0) {
        void *volatile back = carry(block, seed, depth - 1);
        return back;
    }
    pressure(4000, 0);
    block_check(block, seed);
    return block;
}

NOINLINE void wander(unsigned milliseconds, unsigned seed)
{
    enum { PLACES = 12, ROUNDS_LEAST = 20 };
    void *volatile places[PLACES];
    unsigned seeds[PLACES];
    uint32_t state = seed * 2 + 1;
    uint64_t end = now_ns() + milliseconds * 1000000ull;
    for (unsigned i = 0; i < PLACES; i++)
        places[i] = block_make(seeds[i] = seed + i);
    for (unsigned round = 0; round < ROUNDS_LEAST || now_ns() < end; round++) {
        uint32_t r = random_next(&state);
        unsigned i = r % PLACES, j = r / PLACES % PLACES, seed_i = seeds[i];
        void *taken = places[i];
        places[i] = NULL;
        taken = carry(taken, seed_i, r % 7);
        places[i] = places[j];
        seeds[i] = seeds[j];
        places[j] = taken;
        seeds[j] = seed_i;
        if (r % 3 == 0) {
            block_end(places[j], seeds[j]);
            places[j] = block_make(++seeds[j]);
        }
    }
    for (unsigned i = 0; i < PLACES; i++)
        block_end(places[i], seeds[i]);
}

uint64_t now_ns(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct timespec in_ms(unsigned milliseconds)
{
    return (struct timespec){ milliseconds / 1000, milliseconds % 1000 * 1000000l };
}

struct timespec after_ms(clockid_t clock, unsigned milliseconds)
{
    struct timespec at, span = in_ms(milliseconds);
    CHECK(clock_gettime(clock, &at) == 0);
    at.tv_sec += span.tv_sec;
    at.tv_nsec += span.tv_nsec;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static bool is_in_call(const char *file, long number, const void *first)
{
    char line[256], *rest;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t got = read(fd, line, sizeof line - 1);
    close(fd);
    if (got <= 0)
        return false;
    line[got] = 0;
    if (line[0] < '0' || line[0] > '9' || strtol(line, &rest, 10) != number)
        return false;
    return first == NULL || strtoul(rest, NULL, 16) == (uintptr_t)first;
}

void await_call(pid_t tid, long number, const void *first)
{
    char file[64];
    snprintf(file, sizeof file, "/proc/self/task/%d/syscall", (int)tid);
    while (!is_in_call(file, number, first))
        pressure(2000, 0);
}

/* ---- cancel ---- */

struct victim {
    void (*block)(struct victim *);
    long number;     /* of the system call that it blocks in */
    int type;        /* of its cancellation */
    pthread_t thread;
    atomic_int tid;
    int fds[2];
    sem_t sem;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
};

static pthread_t long_lived;
static sem_t long_lived_ends;
static pid_t child_process;
static atomic_int cleaned;

static void block_poll(struct victim *v)
{
    poll(NULL, 0, OPAQUE(-1 + 0 * v->type));
}

static void block_read(struct victim *v)
{
    char byte;
    CHECK(read(v->fds[0], &byte, 1) != 1);
}

static void block_recv(struct victim *v)
{
    char byte;
    CHECK(recv(v->fds[0], &byte, 1, 0) != 1);
}

static void block_nanosleep(struct victim *v)
{
    struct timespec span = { 1000 + 0 * v->type, 0 };
    nanosleep(&span, NULL);
}

static void unlock(void *mutex)
{
    CHECK(pthread_mutex_unlock(mutex) == 0);
}

static void block_cond(struct victim *v)
{
    CHECK(pthread_mutex_lock(&v->mutex) == 0);
    pthread_cleanup_push(unlock, &v->mutex);
    for (;;)
        CHECK(pthread_cond_wait(&v->cond, &v->mutex) == 0);
    pthread_cleanup_pop(1);
}

static void block_sem(struct victim *v)
{
    CHECK(sem_wait(&v->sem) != 0);
}

static void block_sigwait(struct victim *v)
{
    sigset_t set;
    int signal = v->type;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigwait(&set, &signal);
}

static void block_accept(struct victim *v)
{
    CHECK(accept(v->fds[0], NULL, NULL) < 0);
}

static void block_join(struct victim *v)
{
    (void)v;
    pthread_join(long_lived, NULL);
    CHECK(!"joined");
}

static void block_waitpid(struct victim *v)
{
    (void)v;
    int status;
    CHECK(waitpid(child_process, &status, 0) < 0);
}

static void block_nowhere(struct victim *v)
{
    (void)v;
    for (;;)
        __asm__ volatile("pause" : : : "memory");
}

/* In and out all the time: cancelled anywhere on the way. */
static void block_briefly(struct victim *v)
{
    (void)v;
    for (;;)
        poll(NULL, 0, 0);
}

#define DEFERRED(where, call) \
    { .block = block_##where, .number = call, .type = PTHREAD_CANCEL_DEFERRED }
#define ANYWHERE(where) \
    { .block = block_##where, .number = -1, .type = PTHREAD_CANCEL_ASYNCHRONOUS }

static struct victim victims[] = {
    DEFERRED(poll, SYS_poll), DEFERRED(read, SYS_read), DEFERRED(recv, SYS_recvfrom),
    DEFERRED(nanosleep, SYS_clock_nanosleep), DEFERRED(cond, SYS_futex), DEFERRED(sem, SYS_futex),
    DEFERRED(sigwait, SYS_rt_sigtimedwait), DEFERRED(accept, SYS_accept),
    DEFERRED(join, SYS_futex), DEFERRED(waitpid, SYS_wait4), ANYWHERE(nowhere), ANYWHERE(nowhere),
    ANYWHERE(briefly), ANYWHERE(poll),
};
enum { VICTIMS = sizeof victims / sizeof victims[0] };

struct held {
    void *block;
    unsigned seed;
};

static void clean_up(void *data)
{
    struct held *held = data;
    void *block = held->block;
    held->block = NULL;
    wander(30, held->seed);
    block_end(block, held->seed);
    atomic_fetch_add(&cleaned, 1);
}

static void *victim_thread(void *data)
{
    struct victim *v = data;
    struct held outer = { block_make(5), 5 }, inner = { block_make(6), 6 };
    pthread_cleanup_push(clean_up, &outer);
    pthread_cleanup_push(clean_up, &inner);
    atomic_store(&v->tid, gettid());
    CHECK(pthread_setcanceltype(v->type, NULL) == 0);
    for (;;)
        v->block(v);
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(1);
    return NULL;
}

static void *long_lived_thread(void *unused)
{
    while (sem_wait(&long_lived_ends) != 0)
        CHECK(errno == EINTR);
    return unused;
}

static int listening_socket(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(fd, 1) == 0);
    return fd;
}

static void victim_open(struct victim *v)
{
    CHECK(sem_init(&v->sem, 0, 0) == 0 && pthread_mutex_init(&v->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&v->cond, NULL) == 0);
    if (v->block == block_accept)
        v->fds[0] = listening_socket();
    else if (v->block == block_recv)
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, v->fds) == 0);
    else
        CHECK(pipe(v->fds) == 0);
}

static void cancel_round(unsigned round)
{
    int before = atomic_load(&cleaned);
    for (unsigned i = 0; i < VICTIMS; i++) {
        atomic_store(&victims[i].tid, 0);
        CHECK(pthread_create(&victims[i].thread, NULL, victim_thread, &victims[i]) == 0);
    }
    for (unsigned i = 0; i < VICTIMS; i++) {
        struct victim *v = &victims[i];
        while (atomic_load(&v->tid) == 0)
            pressure(2000, 0);
        if (round % 2 == 0 && v->number >= 0)
            await_call(atomic_load(&v->tid), v->number, NULL);
        CHECK(pthread_cancel(v->thread) == 0);
    }
    for (unsigned i = 0; i < VICTIMS; i++) {
        void *result;
        pressure(100000, 0);
        CHECK(pthread_join(victims[i].thread, &result) == 0 && result == PTHREAD_CANCELED);
    }
    CHECK(atomic_load(&cleaned) == before + 2 * VICTIMS);
}

static void on_exit_signal(int signal)
{
    CHECK(signal == SIGUSR1);
    pthread_exit(&cleaned);
}

static void exit_round(void)
{
    struct victim *v = &victims[0];
    void *result;
    int before = atomic_load(&cleaned);
    atomic_store(&v->tid, 0);
    CHECK(pthread_create(&v->thread, NULL, victim_thread, v) == 0);
    while (atomic_load(&v->tid) == 0)
        pressure(2000, 0);
    await_call(atomic_load(&v->tid), SYS_poll, NULL);
    CHECK(pthread_kill(v->thread, SIGUSR1) == 0);
    pressure(100000, 0);
    CHECK(pthread_join(v->thread, &result) == 0 && result == &cleaned);
    CHECK(atomic_load(&cleaned) == before + 2);
}

void kind_cancel(void)
{
    sigset_t set;
    CHECK(sigemptyset(&set) == 0 && sigaddset(&set, SIGUSR2) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(signal(SIGUSR1, on_exit_signal) == SIG_DFL);
    CHECK(sem_init(&long_lived_ends, 0, 0) == 0);
    CHECK(pthread_create(&long_lived, NULL, long_lived_thread, NULL) == 0);
    child_process = fork();
    CHECK(child_process >= 0);
    if (child_process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    for (unsigned i = 0; i < VICTIMS; i++)
        victim_open(&victims[i]);
    for (unsigned round = 0; round < 12; round++)
        cancel_round(round);
    for (unsigned round = 0; round < 6; round++)
        exit_round();
    CHECK(kill(child_process, SIGKILL) == 0);
    CHECK(waitpid(child_process, NULL, 0) == child_process);
    CHECK(sem_post(&long_lived_ends) == 0 && pthread_join(long_lived, NULL) == 0);
}

/* ---- vfork ---- */

enum { VFORKS = 200, CHILD_STACK = 64 * 1024, STATUS_READ = 3 };
enum fate { FATE_KILLED, FATE_READS, FATE_EXECS, FATES };

struct vforker {
    pthread_t thread;
    enum fate fate;
    volatile pid_t child;    /* it runs, and waits in read() for main */
    int fds[2];
    atomic_bool done;
};

/* Runs in the parent's memory. */
static _Noreturn void live(struct vforker *v)
{
    char byte;
    if (v->fate == FATE_EXECS) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    v->child = getpid();
    _exit(read(v->fds[0], &byte, 1) == 1 ? STATUS_READ : 4);
}

static int live_cloned(void *v)
{
    live(v);
}

static NOINLINE pid_t by_vfork(struct vforker *v)
{
    pid_t child = vfork();
    if (child == 0)
        live(v);
    return child;
}

static NOINLINE pid_t by_clone(struct vforker *v)
{
    char *stack = malloc(CHILD_STACK);
    CHECK(stack != NULL);
    pid_t child = clone(live_cloned, stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, v);
    free(stack);
    return child;
}

static void *vfork_thread(void *data)
{
    struct vforker *v = data;
    for (unsigned round = 0; round < VFORKS; round++) {
        int status;
        void *block = block_make(round);
        v->fate = round % FATES;
        pid_t child = round / FATES % 2 ? by_clone(v) : by_vfork(v);
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        if (v->fate == FATE_KILLED)
            CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        else
            CHECK(WIFEXITED(status));
        CHECK(v->fate != FATE_READS || WEXITSTATUS(status) == STATUS_READ);
        CHECK(v->fate != FATE_EXECS || WEXITSTATUS(status) == 0);
        wander(1, round);
        block_end(block, round);
    }
    atomic_store(&v->done, true);
    return NULL;
}

/* Ends the children that wait for it. */
static void attend(struct vforker *v)
{
    pid_t child = v->child;
    if (child == 0)
        return;
    v->child = 0;
    pressure(20000, 0);
    if (v->fate == FATE_KILLED)
        CHECK(kill(child, SIGKILL) == 0);
    else
        CHECK(write(v->fds[1], "x", 1) == 1);
}

void kind_vfork(void)
{
    struct vforker vforkers[2] = { 0 };
    for (int i = 0; i < 2; i++) {
        CHECK(pipe(vforkers[i].fds) == 0);
        CHECK(pthread_create(&vforkers[i].thread, NULL, vfork_thread, &vforkers[i]) == 0);
    }
    while (!atomic_load(&vforkers[0].done) || !atomic_load(&vforkers[1].done)) {
        attend(&vforkers[0]);
        attend(&vforkers[1]);
        pressure(5000, 0);
    }
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(vforkers[i].thread, NULL) == 0);
}

/* ---- */

static const struct kind kinds[] = {
    KIND(sleepers), KIND(handlers), KIND(actions), KIND(after_exec), KIND(cancel), KIND(vfork),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
