/* crowds.c -- threads that come, go, fork and find no memory.   crowds KIND
 *
 * The part of what glibc's own tests ask that takes several threads or processes; which is which
 * stands in promises.c. Passes on glibc itself. All loops are bounded; alarm() ends a deadlock. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "abi.h"

enum { PATIENCE_S = 100, THREADS = 8 };

static void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    int error = pthread_create(thread, NULL, run, argument);
    CHECK(error == 0);
}

static void join(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

static void await(pid_t child)
{
    int status;
    CHECK(child > 0);
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(status == 0);
}

/* ---- a thread's last act is another thread; each frees what its maker had ---- */

static atomic_int ended;

static void *relay_thread(void *baton)
{
    CHECK(pattern_holds(baton, 500, 1));
    free(baton);
    pressure(10000, 0);
    char *next = malloc(500);
    CHECK(next != NULL);
    pattern_fill(next, 500, 1);
    if (atomic_fetch_add(&ended, 1) < 1500) {
        pthread_t heir;
        start(&heir, relay_thread, next);
        CHECK(pthread_detach(heir) == 0);
    } else {
        free(next);
        atomic_fetch_add(&ended, 100000);
    }
    return NULL;
}

static void kind_relay(void)
{
    for (int i = 0; i < THREADS; i++) {
        char *baton = malloc(500);
        pthread_t thread;
        CHECK(baton != NULL);
        pattern_fill(baton, 500, 1);
        start(&thread, relay_thread, baton);
        CHECK(pthread_detach(thread) == 0);
    }
    while (atomic_load(&ended) < THREADS * 100000)
        usleep(1000);
}

/* ---- a thread that ends gives its cache back ---- */

static void *fill_cache(void *unused)
{
    char *blocks[200];
    for (size_t size = 16; size <= 1024; size += 16) {
        for (size_t i = 0; i < 200; i++) {
            blocks[i] = malloc(size);
            CHECK(blocks[i] != NULL);
            blocks[i][0] = 1;
        }
        for (size_t i = 0; i < 200; i++)
            free(blocks[i]);
    }
    return unused;
}

static void kind_leave_nothing(void)
{
    pthread_t thread;
    for (int i = 0; i < 20; i++) {
        start(&thread, fill_cache, NULL);
        join(thread);
    }
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 400; i++) {
        start(&thread, fill_cache, NULL);
        join(thread);
    }
    struct mallinfo2 after = mallinfo2();
    CHECK(after.uordblks + after.hblkhd <= before.uordblks + before.hblkhd + (1 << 20));
    CHECK(after.arena <= before.arena + (4 << 20));
}

/* ---- threads that find no memory: each sees its own ENOMEM, and can go on (a limit is set) ---- */

enum { GREEDY_MOST = 4096 };

static pthread_barrier_t all_there; /* a thread's stack may be refused, too */

static void *greedy_thread(void *number)
{
    size_t size = (size_t)64 << 10 << (uintptr_t)number % 5, count = 0;
    static char *blocks[THREADS][GREEDY_MOST];
    char **mine = blocks[(uintptr_t)number];
    pthread_barrier_wait(&all_there);
    for (int round = 0; round < 3; round++) {
        for (count = 0; count < GREEDY_MOST; count++) {
            errno = 0;
            mine[count] = count % 2 ? malloc(size) : calloc(1, size);
            if (mine[count] == NULL)
                break;
            pattern_fill(mine[count], 100, (unsigned)(uintptr_t)number);
        }
        CHECK(count == GREEDY_MOST || errno == ENOMEM);
        for (size_t i = 0; i < count; i++) {
            CHECK(pattern_holds(mine[i], 100, (unsigned)(uintptr_t)number));
            free(mine[i]);
        }
    }
    return NULL;
}

static void kind_greedy(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_barrier_init(&all_there, NULL, THREADS) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        start(&threads[i], greedy_thread, (void *)i);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    pressure(2 << 20, 0);
}

/* ---- a signal handler forks, whatever malloc was about to do; the child only leaves ---- */

static volatile sig_atomic_t forked;

static void fork_handler(int number)
{
    int saved = errno;
    pid_t child = number == SIGUSR1 ? fork() : -1;
    if (child == 0)
        _exit(0);
    await(child);
    forked++;
    errno = saved;
}

static void kind_fork_in_handler(void)
{
    struct sigaction action = { .sa_handler = fork_handler, .sa_flags = SA_RESTART };
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    pid_t self = getpid(), sender = fork();
    if (sender == 0) {
        for (int i = 0; i < 300; i++) {
            kill(self, SIGUSR1);
            usleep(1000);
        }
        _exit(0);
    }
    int status, rounds = 0;
    while (waitpid(sender, &status, WNOHANG) == 0) {
        pressure(200000, 0);
        rounds++;
    }
    CHECK(forked > 0 && rounds > 0);
}

/* ---- fork, streams and the statistics of malloc, each with locks of its own ---- */

static atomic_int done;

static void *flushing_thread(void *unused)
{
    while (!atomic_load(&done)) {
        CHECK(fflush(NULL) == 0);
        pressure(3000, 0);
    }
    return unused;
}

static void *telling_thread(void *unused)
{
    while (!atomic_load(&done)) {
        char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);
        CHECK(stream != NULL && malloc_info(0, stream) == 0 && fclose(stream) == 0);
        free(text);
        mallinfo2();
        malloc_trim(0);
    }
    return unused;
}

static void *forking_thread(void *unused)
{
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        if (child == 0) {
            pressure(20000, 0);
            FILE *stream = fopen("/dev/null", "w");
            CHECK(stream != NULL && malloc_info(0, stream) == 0 && fclose(stream) == 0);
            _exit(0);
        }
        await(child);
    }
    return unused;
}

static void kind_fork_and_streams(void)
{
    pthread_t flushing[2], telling[2], forking[2];
    for (int i = 0; i < 2; i++) {
        start(&flushing[i], flushing_thread, NULL);
        start(&telling[i], telling_thread, NULL);
        start(&forking[i], forking_thread, NULL);
    }
    join(forking[0]);
    join(forking[1]);
    atomic_store(&done, 1);
    for (int i = 0; i < 2; i++) {
        join(flushing[i]);
        join(telling[i]);
    }
}

static const struct kind kinds[] = {
    KIND(relay), KIND(leave_nothing), KIND(greedy), KIND(fork_in_handler), KIND(fork_and_streams),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    alarm(PATIENCE_S);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
