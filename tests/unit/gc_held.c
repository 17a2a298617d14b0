/* gc_held.c -- what was sent is a root until it was received, however often, and whoever is first.
 *
 * No memory is scanned here: a block is reached only if held_mark says so. */
#include "gc/held.h"

#include "child.h"
#include "hidden.h"

#include <pthread.h>
#include <signal.h>

static struct marker *marker;
static const struct held_place system_5 = {HELD_MESSAGE_QUEUE, 5}, posix_5 = {HELD_POSIX_QUEUE, 5};
static const struct held_place user_1 = {HELD_SIGNAL, SIGUSR1};

static void start(void)
{
    EXPECT(hidden_heap(256 * MIB, true));
    marker = meta_alloc(sizeof *marker);
    worklist_init(&marker->work, arena.mark_stack, arena.mark_stack_size);
}

static const char *mark(void)
{
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    marker_start(marker, NULL);
    const char *reason = held_mark(marker);
    mark_drain(marker);
    return reason;
}

static bool reached(hidden h)
{
    EXPECT(mark() == NULL);
    return hidden_byte(h) == relaxed_load(&hot.epoch);
}

struct __attribute__((packed)) message {
    char odd[3];
    uintptr_t word;
    char even[4];
};

static void send(struct held_place place, hidden h, size_t inside)
{
    struct message m = {.word = (uintptr_t)reveal(h) + inside};
    EXPECT(held_has_reference(&m, sizeof m));
    held_add(place, &m, sizeof m);
}

static void receive(struct held_place place, hidden h, size_t inside)
{
    struct message m = {.word = (uintptr_t)reveal(h) + inside};
    held_remove(place, &m, sizeof m);
}

static void sent_and_received(void)
{
    start();
    hidden a = hidden_new(100), b = hidden_new(100);
    EXPECT(!reached(a) && held_count() == 0);
    send(system_5, a, 50);
    EXPECT(reached(a) && !reached(b) && held_count() == 1);
    receive(posix_5, a, 50); /* another place, another word */
    receive(system_5, a, 0);
    EXPECT(reached(a));
    send(system_5, a, 50);
    send(posix_5, a, 50);
    receive(system_5, a, 50);
    EXPECT(reached(a) && held_count() == 2);
    receive(system_5, a, 50);
    EXPECT(reached(a) && held_count() == 1);
    receive(posix_5, a, 50);
    receive(posix_5, a, 50);
    EXPECT(!reached(a) && held_count() == 0);
    EXPECT(!held_has_reference("no address", 10) && !held_has_reference("short", 5));
}

static void block_signal(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT(pthread_sigmask(how, &set, NULL) == 0);
}

static void ignore_it(int signal)
{
    (void)signal;
}

/* While it is pending, for the process or for a thread; and for one look more. */
static void of_signals(void)
{
    start();
    hidden a = hidden_new(100);
    signal(SIGUSR1, ignore_it);
    block_signal(SIG_BLOCK);
    for (int for_thread = 0; for_thread < 2; for_thread++) {
        EXPECT((for_thread ? pthread_kill(pthread_self(), SIGUSR1) : kill(getpid(), SIGUSR1)) == 0);
        for (int i = 0; i < 200; i++)
            send(user_1, a, 0); /* not once each */
        EXPECT(held_count() == 1);
        for (int i = 0; i < 3; i++)
            held_forget_signals();
        EXPECT(reached(a));
        block_signal(SIG_UNBLOCK);
        held_forget_signals();
        EXPECT(reached(a));
        send(user_1, a, 0); /* sent again, and not seen pending since */
        held_forget_signals();
        EXPECT(reached(a));
        held_forget_signals();
        held_forget_signals();
        EXPECT(!reached(a) && held_count() == 0);
        block_signal(SIG_BLOCK);
    }
}

/* More than there is room for: nothing may be reclaimed, and that is said. */
static void too_many(void)
{
    start();
    hidden a = hidden_new(100);
    for (int i = 0; i < 64; i++)
        send(posix_5, a, 0);
    EXPECT(mark() == NULL);
    send(posix_5, a, 0);
    EXPECT(mark() != NULL);
}

static void not_known(void)
{
    start();
    EXPECT(mark() == NULL);
    held_lose();
    EXPECT(mark() != NULL);
}

/* ---- several threads ---- */

enum { THREADS = 4, ROUNDS = 100000 };

static hidden shared[3];

static void *send_and_receive(void *data)
{
    struct held_place place = {HELD_MESSAGE_QUEUE, (uintptr_t)data};
    for (unsigned i = 0; i < ROUNDS; i++) {
        send(place, shared[i % 3], 0);
        send(place, shared[(i + 1) % 3], 0);
        receive(place, shared[i % 3], 0);
        receive(place, shared[(i + 1) % 3], 0);
    }
    send(place, shared[(uintptr_t)data % 2], 0);
    return NULL;
}

static void threads_at_once(void)
{
    start();
    pthread_t threads[THREADS];
    for (size_t i = 0; i < 3; i++)
        shared[i] = hidden_new(64);
    for (uintptr_t i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, send_and_receive, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    EXPECT(held_count() == THREADS);
    EXPECT(reached(shared[0]) && reached(shared[1]) && !reached(shared[2]));
}

IN_CHILD(sent_and_received)
IN_CHILD(of_signals)
IN_CHILD(too_many)
IN_CHILD(not_known)
IN_CHILD(threads_at_once)

UNIT_MAIN(TEST(test_sent_and_received), TEST(test_of_signals),
          TEST(test_too_many), TEST(test_not_known), TEST(test_threads_at_once))
