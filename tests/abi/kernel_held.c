/* kernel_held.c -- blocks that only the kernel knows of.   kernel_held KIND
 *
 * The only pointer to each of some blocks is given to the kernel, as an event loop does with its
 * connections; then another thread allocates and leaks 100 MB, while under the library cycles run.
 * At the end the kernel gives the pointers back, and every byte is compared.
 *
 *   epoll          an epoll set per block
 *   epoll_many     one set with a thousand files
 *   epoll_dup      the set's first descriptor is closed, a copy of it is left
 *   epoll_fork     the child of fork goes on with what its parent put there
 *   epoll_moving   pointers go from set to set, by way of a register, as fast as they can
 *   timer          the values of timers' signals
 *   timer_moving   timers are deleted and made anew with the value that their signal brought
 *   timer_thread   the values of timers that libc's helper thread waits for
 *   aio            requests that libc's helper threads have, with their buffers
 *   names          names that are looked up by libc's helper threads, again and again */
#include "kept.h"

#include <aio.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>

enum { MANY = 1000, MANY_SIZE = 300, MOVERS = 32, TIMERS = 7 };

static int sets[MANY], files[MANY];

/* ---- epoll ---- */

static NOINLINE void give(int set, int file, void *block, int operation)
{
    struct epoll_event event = { EPOLLIN, { .ptr = block } };
    CHECK(epoll_ctl(set, operation, file, &event) == 0);
}

static NOINLINE void *take(int set)
{
    struct epoll_event event;
    CHECK(epoll_wait(set, &event, 1, 0) == 1);
    return event.data.ptr;
}

static void sets_make(int count)
{
    for (int i = 0; i < count; i++) {
        CHECK((sets[i] = epoll_create1(0)) >= 0);
        CHECK((files[i] = eventfd(1, 0)) >= 0); /* readable for ever */
    }
}

static void epoll_fill(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        give(sets[i], files[i], kept_make(i), EPOLL_CTL_ADD);
}

static void epoll_check(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(take(sets[i]), i);
}

static void kind_epoll(void)
{
    sets_make(KEPT);
    run_and_forget(epoll_fill);
    load();
    epoll_check();
}

static void many_fill(void)
{
    for (unsigned i = 0; i < MANY; i++) {
        CHECK((files[i] = eventfd(1, 0)) >= 0);
        give(sets[0], files[i], block_make(MANY_SIZE, i), EPOLL_CTL_ADD);
    }
}

static void kind_epoll_many(void)
{
    static struct epoll_event events[MANY];
    CHECK((sets[0] = epoll_create1(0)) >= 0);
    run_and_forget(many_fill);
    load();
    CHECK(epoll_wait(sets[0], events, MANY, 0) == MANY);
    for (unsigned i = 0; i < MANY; i++) /* in the order in which they became ready */
        CHECK(pattern_holds(events[i].data.ptr, MANY_SIZE, i));
}

static void kind_epoll_dup(void)
{
    sets_make(KEPT);
    run_and_forget(epoll_fill);
    for (int i = 0; i < KEPT; i++) {
        int copy = dup(sets[i]);
        CHECK(copy >= 0 && close(sets[i]) == 0);
        sets[i] = copy;
    }
    load();
    epoll_check();
}

static void kind_epoll_fork(void)
{
    sets_make(KEPT);
    run_and_forget(epoll_fill);
    pid_t child = fork();
    CHECK(child >= 0);
    load();
    epoll_check();
    int status;
    if (child != 0)
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    else
        _exit(0);
}

static void moving_fill(void)
{
    for (unsigned i = 0; i < MOVERS; i++)
        give(sets[i], files[i], swapped_make(i), EPOLL_CTL_ADD);
}

/* The pointers of sets i and j change places. */
static NOINLINE void swap(int i, int j)
{
    void *block = take(sets[i]), *other = take(sets[j]);
    give(sets[i], files[i], NULL, EPOLL_CTL_MOD);
    give(sets[j], files[j], block, EPOLL_CTL_MOD);
    give(sets[i], files[i], other, EPOLL_CTL_MOD);
}

static void kind_epoll_moving(void)
{
    uint32_t state = 99;
    unsigned char seen[MOVERS] = { 0 };
    sets_make(MOVERS);
    run_and_forget(moving_fill);
    pthread_t thread = load_begin();
    while (!atomic_load(&loaded))
        swap((int)(random_next(&state) % MOVERS), (int)(random_next(&state) % MOVERS));
    load_end(thread);
    for (unsigned i = 0; i < MOVERS; i++)
        swapped_check(take(sets[i]), seen, MOVERS);
}

/* ---- timers ---- */

static timer_t timers[TIMERS];

static NOINLINE void timer_make(unsigned i, void *block)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1 };
    event.sigev_value.sival_ptr = block;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0);
}

static void timers_fill(void)
{
    for (unsigned i = 0; i < TIMERS; i++)
        timer_make(i, kept_make(i));
}

static NOINLINE void *timer_fire(unsigned i)
{
    struct itimerspec soon = { .it_value.tv_nsec = 1 };
    siginfo_t info;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    CHECK(timer_settime(timers[i], 0, &soon, NULL) == 0);
    CHECK(sigwaitinfo(&set, &info) == SIGRTMIN + 1);
    return info.si_value.sival_ptr;
}

static void timers_begin(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    run_and_forget(timers_fill);
}

static void kind_timer(void)
{
    timers_begin();
    load();
    for (unsigned i = 0; i < TIMERS; i++)
        kept_check_one(timer_fire(i), i);
}

static NOINLINE void timer_renew(unsigned i)
{
    void *block = timer_fire(i);
    CHECK(timer_delete(timers[i]) == 0);
    timer_make(i, block);
}

static void kind_timer_moving(void)
{
    uint32_t state = 7;
    timers_begin();
    pthread_t thread = load_begin();
    while (!atomic_load(&loaded))
        timer_renew(random_next(&state) % TIMERS);
    load_end(thread);
    for (unsigned i = 0; i < TIMERS; i++)
        kept_check_one(timer_fire(i), i);
}

static void *_Atomic arrived;

static void on_timer(union sigval value)
{
    atomic_store(&arrived, value.sival_ptr);
}

static void thread_timers_fill(void)
{
    for (unsigned i = 0; i < TIMERS; i++) {
        struct sigevent event = { .sigev_notify = SIGEV_THREAD };
        event.sigev_notify_function = on_timer;
        event.sigev_value.sival_ptr = kept_make(i);
        CHECK(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0);
    }
}

static NOINLINE void *await_arrival(void)
{
    while (atomic_load(&arrived) == NULL)
        sched_yield();
    return atomic_exchange(&arrived, NULL);
}

static void kind_timer_thread(void)
{
    struct itimerspec soon = { .it_value.tv_nsec = 1 };
    run_and_forget(thread_timers_fill);
    load();
    for (unsigned i = 0; i < TIMERS; i++) {
        CHECK(timer_settime(timers[i], 0, &soon, NULL) == 0);
        kept_check_one(await_arrival(), i);
    }
}

/* ---- what libc's helper threads have ---- */

enum { REQUESTS = 3, READ_SIZE = 4096, LOOK_UPS = 20 };

static int pipes[REQUESTS][2];

static void requests_fill(void)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct aiocb *request = calloc(1, sizeof *request);
        CHECK(request != NULL && pipe(pipes[i]) == 0);
        request->aio_fildes = pipes[i][0];
        request->aio_buf = block_make(READ_SIZE, i);
        request->aio_nbytes = 1;
        request->aio_sigevent.sigev_notify = SIGEV_THREAD;
        request->aio_sigevent.sigev_notify_function = on_timer;
        request->aio_sigevent.sigev_value.sival_ptr = request;
        CHECK(aio_read(request) == 0);
    }
}

static void kind_aio(void)
{
    run_and_forget(requests_fill);
    load();
    for (unsigned i = 0; i < REQUESTS; i++) {
        CHECK(write(pipes[i][1], "\377", 1) == 1); /* not what is there */
        struct aiocb *request = await_arrival();
        unsigned char *bytes = (unsigned char *)request->aio_buf;
        CHECK(aio_return(request) == 1 && bytes[0] == 255);
        bytes[0] = pattern_byte(0, i);
        CHECK(pattern_holds(bytes, READ_SIZE, i));
    }
}

static NOINLINE void look_up(void)
{
    struct gaicb *request = calloc(1, sizeof *request), *list[] = { request };
    struct sigevent event = { .sigev_notify = SIGEV_THREAD };
    event.sigev_notify_function = on_timer;
    event.sigev_value.sival_ptr = request;
    CHECK(request != NULL);
    request->ar_name = strdup("127.0.0.1");
    CHECK(request->ar_name != NULL && getaddrinfo_a(GAI_NOWAIT, list, 1, &event) == 0);
    list[0] = request = NULL;
}

static void kind_names(void)
{
    pthread_t thread = load_begin();
    for (int i = 0; i < LOOK_UPS || !atomic_load(&loaded); i++) {
        look_up();
        stack_clear();
        struct gaicb *request = await_arrival();
        CHECK(gai_error(request) == 0 && strcmp(request->ar_name, "127.0.0.1") == 0);
        CHECK(request->ar_result != NULL);
        freeaddrinfo(request->ar_result);
        free((char *)request->ar_name);
        free(request);
    }
    load_end(thread);
}

/* ---- */

static const struct kind kinds[] = {
    KIND(epoll), KIND(epoll_many), KIND(epoll_dup), KIND(epoll_fork), KIND(epoll_moving),
    KIND(timer), KIND(timer_moving), KIND(timer_thread), KIND(aio), KIND(names),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
