/* 002-sigwait-takes-stop -- a thread that waits for every signal must still stop for the collector.
 *
 * The usual shape of a server: all signals are blocked, and one thread takes them by sigwait(). The
 * stop signal was delivered to that sigwait instead of its handler: the program saw a signal that
 * nobody had sent, and the world never stopped. Runs with a cycle every 100 allocations. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ALLOCATIONS = 20000 };

static void *wait_for_signals(void *seen)
{
    sigset_t all;
    int signal = 0;
    sigfillset(&all);
    if (sigwait(&all, &signal) == 0)
        *(int *)seen = signal;
    return NULL;
}

int main(void)
{
    sigset_t all;
    pthread_t thread;
    int seen = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    if (pthread_create(&thread, NULL, wait_for_signals, &seen) != 0)
        return 2;
    for (int i = 0; i < ALLOCATIONS; i++) {
        char *block = malloc(64);
        __asm__ volatile("" : : "r"(block) : "memory");
    }
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
    if (seen != SIGUSR1)
        printf("sigwait returned signal %d, which nobody sent\n", seen);
    return seen != SIGUSR1;
}
