/* sleepers.c -- does a stop take longer the more threads there are, and which threads cost?
 *
 * SLEEPING threads sleep, half of them on a condition, half in read() of a pipe; RUNNING threads
 * compute without a system call. Each has a block that only its own stack knows, and looks at the
 * end whether it is still what it was. Beside them the main thread keeps MIB MiB live and loses
 * LEAK_MIB MiB of messages, as fast as it can, so that cycles run; few cores for many running
 * threads make it slow, which is why the leak is an amount and not a rate.
 *
 * The stops are gctrace lines between `built` and `done`; sleepers.gap is the time between two
 * readings of the clock around one message, as the main thread saw it. A
 * collector that marks beside the program stops it for the stopping alone, unless the heap is so
 * small that it is marked in one stop.
 *
 *     sleepers [SLEEPING=1000] [RUNNING=0] [MIB=64] [LEAK_MIB=256] */
#include "histogram.h"
#include "live.h"

#include <pthread.h>
#include <stdatomic.h>

enum { STACK = 64 << 10, CHARGE = 200 };

static struct live live;
static struct histogram gap;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool over;
    atomic_bool stop_running;
    atomic_uint ready;
    int pipe[2];
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void wait_condition(void)
{
    pthread_mutex_lock(&shared.lock);
    while (!shared.over)
        pthread_cond_wait(&shared.wake, &shared.lock);
    pthread_mutex_unlock(&shared.lock);
}

/* Until the writing end is closed. */
static void wait_pipe(void)
{
    char byte;
    while (read(shared.pipe[0], &byte, 1))
        ;
}

static void compute(void)
{
    uint64_t rng = 1, sum = 0;
    while (!atomic_load_explicit(&shared.stop_running, memory_order_relaxed))
        sum += rng_next(&rng);
    use(&sum);
}

/* The block's content says whose it is; `arg` is no pointer. */
static void *thread_main(void *arg)
{
    size_t kind = (size_t)arg;
    unsigned char *volatile charge = allocate(CHARGE);
    memset(charge, (int)kind + 1, CHARGE);
    atomic_fetch_add(&shared.ready, 1);
    if (kind == 0)
        wait_condition();
    else if (kind == 1)
        wait_pipe();
    else
        compute();
    for (int i = 0; i < CHARGE; i++)
        if (charge[i] != kind + 1)
            die("a block known to a stack alone is not what was written");
    free(charge);
    return NULL;
}

static void threads_start(pthread_t *threads, unsigned sleeping, unsigned running)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    for (unsigned i = 0; i < sleeping + running; i++) {
        size_t kind = i >= sleeping ? 2 : i % 2;
        if (pthread_create(&threads[i], &attributes, thread_main, (void *)kind))
            die("pthread_create failed");
    }
    while (atomic_load(&shared.ready) < sleeping + running)
        usleep(1000);
}

static void threads_end(pthread_t *threads, unsigned count)
{
    pthread_mutex_lock(&shared.lock);
    shared.over = true;
    pthread_cond_broadcast(&shared.wake);
    pthread_mutex_unlock(&shared.lock);
    close(shared.pipe[1]);
    atomic_store(&shared.stop_running, true);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    unsigned sleeping = (unsigned)strtoul(arg_word(argc, argv, 1, "1000"), NULL, 0);
    unsigned running = (unsigned)strtoul(arg_word(argc, argv, 2, "0"), NULL, 0);
    size_t mib = arg_count(argc, argv, 3, 64);
    uint64_t leak = arg_count(argc, argv, 4, 256) << 20, lost = 0, rng = 9;
    pthread_t *threads = allocate((sleeping + running + 1) * sizeof *threads);
    if (pipe(shared.pipe))
        die("pipe failed");
    live_build(&live, mib, 4);
    threads_start(threads, sleeping, running);
    mark_built();
    uint64_t begin = now_ns(), now = begin;
    while (lost < leak) {
        lost += message_lose(&rng);
        uint64_t after = now_ns();
        histogram_add(&gap, after - now);
        now = after;
    }
    double took = (double)(now_ns() - begin);
    mark_done();
    threads_end(threads, sleeping + running);
    histogram_report(&gap, "sleepers.gap");
    report("sleepers", "time", took / 1e6, "ms");
    report_peak("sleepers");
    live_verify(&live);
}
