/* threads.c -- many threads, and the odd ways in which a thread can end.   threads KIND */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "abi.h"

enum { THREADS = 64, SHARED = 4096, STEPS = 20000 };

/* ---- exchange: 64 threads swap blocks through shared slots, and free each other's
 * ---------------- */

struct packet {
    uint32_t size, seed;
    unsigned char bytes[];
};

static _Atomic(struct packet *) shared[SHARED];

static struct packet *packet_make(uint32_t r)
{
    uint32_t size = r % (r % 101 == 0 ? 50000 : 600);
    struct packet *packet = malloc(sizeof *packet + size);
    CHECK(packet != NULL);
    packet->size = size;
    packet->seed = r;
    pattern_fill(packet->bytes, size, r);
    return packet;
}

static void packet_drop(struct packet *packet)
{
    if (packet == NULL)
        return;
    CHECK(pattern_holds(packet->bytes, packet->size, packet->seed));
    free(packet);
}

static void *exchange_thread(void *number)
{
    uint32_t state = 77 + (uint32_t)(uintptr_t)number;
    for (int i = 0; i < STEPS / 8; i++) {
        uint32_t r = random_next(&state);
        packet_drop(atomic_exchange(&shared[r % SHARED], r % 5 ? packet_make(r) : NULL));
    }
    return NULL;
}

static void run_threads(unsigned n, void *(*function)(void *))
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < n; i++)
        CHECK(pthread_create(&threads[i], NULL, function, (void *)(uintptr_t)i) == 0);
    for (unsigned i = 0; i < n; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void kind_exchange(void)
{
    run_threads(THREADS, exchange_thread);
    for (unsigned i = 0; i < SHARED; i++)
        packet_drop(atomic_exchange(&shared[i], NULL));
}

/* ---- short-lived threads, joined and detached
 * ------------------------------------------------------ */

static atomic_int ended;

static void *short_thread(void *unused)
{
    pressure(20000, 0);
    atomic_fetch_add(&ended, 1);
    return unused;
}

static void kind_short(void)
{
    for (int round = 0; round < 100; round++)
        run_threads(8, short_thread);
    CHECK(atomic_load(&ended) == 800);
}

static void kind_detached(void)
{
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 128 * 1024) == 0);
    pthread_t thread;
    for (int i = 0; i < 400; i++) {
        CHECK(pthread_create(&thread, &attributes, short_thread, NULL) == 0);
        while (atomic_load(&ended) < i - 16)
            sched_yield();
    }
    while (atomic_load(&ended) < 400)
        sched_yield();
    CHECK(pthread_attr_destroy(&attributes) == 0);
}

/* ---- destructors of thread-specific data that allocate and free, in every round
 * --------------------- */

static pthread_key_t keys[3];
static atomic_int destroyed;

static void destroy(void *block)
{
    CHECK(pattern_holds(block, 700, 1));
    free(block);
    pressure(5000, 0);
    if (atomic_fetch_add(&destroyed, 1) % 4 != 3) {
        char *next = malloc(700);
        CHECK(next != NULL);
        pattern_fill(next, 700, 1);
        CHECK(pthread_setspecific(keys[(uintptr_t)atomic_load(&destroyed) % 3], next) == 0);
    }
}

static void *destructor_thread(void *unused)
{
    for (int i = 0; i < 3; i++) {
        char *block = malloc(700);
        CHECK(block != NULL);
        pattern_fill(block, 700, 1);
        CHECK(pthread_setspecific(keys[i], block) == 0);
    }
    return unused;
}

static void kind_destructors(void)
{
    for (int i = 0; i < 3; i++)
        CHECK(pthread_key_create(&keys[i], destroy) == 0);
    for (int round = 0; round < 20; round++)
        run_threads(8, destructor_thread);
    CHECK(atomic_load(&destroyed) >= 20 * 8 * 3);
}

/* ---- main leaves first
 * ------------------------------------------------------------------------------- */

static pthread_t main_thread;

static void *last_thread(void *unused)
{
    void *result;
    CHECK(pthread_join(main_thread, &result) == 0 && result == &main_thread);
    pressure(30u << 20, 0);
    puts("done");
    exit(unused == NULL ? 0 : 1);
}

static void kind_main_leaves(void)
{
    pthread_t thread;
    main_thread = pthread_self();
    CHECK(pthread_create(&thread, NULL, last_thread, NULL) == 0);
    pthread_exit(&main_thread);
}

/* ---- cancellation and pthread_exit
 * -------------------------------------------------------------------- */

static void release(void *block)
{
    CHECK(pattern_holds(block, 900, 2));
    free(block);
    atomic_fetch_add(&ended, 1);
}

static void *cancelled_thread(void *unused)
{
    char *block = malloc(900);
    CHECK(block != NULL);
    pattern_fill(block, 900, 2);
    pthread_cleanup_push(release, block);
    for (;;) {
        free(malloc(100));
        pthread_testcancel();
    }
    pthread_cleanup_pop(1);
    return unused;
}

static void *sleeping_thread(void *unused)
{
    char *block = malloc(900);
    CHECK(block != NULL);
    pattern_fill(block, 900, 2);
    pthread_cleanup_push(release, block);
    for (;;)
        pause();
    pthread_cleanup_pop(1);
    return unused;
}

static void *exiting_thread(void *unused)
{
    char *block = malloc(900);
    CHECK(block != NULL);
    pattern_fill(block, 900, 2);
    pthread_cleanup_push(release, block);
    pressure(100000, 0);
    pthread_exit(unused);
    pthread_cleanup_pop(1);
}

static void kind_cancel(void)
{
    for (int round = 0; round < 60; round++) {
        pthread_t thread;
        void *result;
        CHECK(pthread_create(&thread, NULL, round % 2 ? cancelled_thread : sleeping_thread,
                             NULL) == 0);
        pressure(300000, 0);
        CHECK(pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    }
    run_threads(16, exiting_thread);
    CHECK(atomic_load(&ended) <= 76 && atomic_load(&ended) >= 16);
}

/* ---- workers that block every signal: a collector must stop them all the same
 * -------------------------- */

static atomic_int stop_workers;

static void *masked_thread(void *unused)
{
    sigset_t all, now;
    CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0);
    CHECK(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGTERM) == 1);
    while (!atomic_load(&stop_workers))
        pressure(10000, 0);
    return unused;
}

static void *masked_sleeper(void *unused)
{
    sigset_t all;
    int signal = 0;
    CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
    sigemptyset(&all);
    sigaddset(&all, SIGUSR2);
    CHECK(sigwait(&all, &signal) == 0 && signal == SIGUSR2);
    return unused;
}

static void kind_masked(void)
{
    pthread_t workers[4], sleeper;
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&workers[i], NULL, masked_thread, NULL) == 0);
    CHECK(pthread_create(&sleeper, NULL, masked_sleeper, NULL) == 0);
    pressure(100u << 20, 1);
    atomic_store(&stop_workers, 1);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(workers[i], NULL) == 0);
    sigset_t mask;
    CHECK(sigemptyset(&mask) == 0 && sigaddset(&mask, SIGUSR2) == 0);
    CHECK(sigprocmask(SIG_BLOCK, &mask, NULL) == 0);
    CHECK(pthread_kill(sleeper, SIGUSR2) == 0 && pthread_join(sleeper, NULL) == 0);
}

/* ---- */

static const struct kind kinds[] = {
    KIND(exchange), KIND(short), KIND(detached), KIND(destructors), KIND(main_leaves),
    KIND(cancel), KIND(masked),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
