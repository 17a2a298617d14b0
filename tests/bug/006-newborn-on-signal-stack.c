/* 006-newborn-on-signal-stack -- a thread stopped within malloc keeps the block that it is given.
 *
 * Between taking a block from the magazine and making it live, only a register has its address. A
 * mark spares it because it sees that address among the stopped thread's registers; but these were
 * not taken for registers when the thread's signal stack is itself a block of the heap: they were
 * read later, as the contents of that block. The new block then carried the epoch before the mark,
 * was judged unreachable, and given to somebody else.
 *
 * Workers with such a signal stack take blocks as fast as they can and keep the last few; the main
 * thread's allocations make cycles run. The window is one instruction wide, so that a bug may not
 * show here (tests/model/movers.c found it, once in four minutes); with a loop of 400 turns put
 * into make_live() between reading the epoch and storing it, it does within half a second. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { KEPT = 4096, WORDS = 8, WORKERS = 2, SIGNAL_STACK = 64 << 10, SECONDS = 2 };

static atomic_int stop;

static void *work(void *number)
{
    uint64_t *kept[KEPT] = {0};
    uint64_t serial = (uint64_t)(uintptr_t)number << 60;
    stack_t stack = {.ss_sp = malloc(SIGNAL_STACK), .ss_size = SIGNAL_STACK};
    if (sigaltstack(&stack, NULL) != 0)
        _exit(2);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t **place = &kept[++serial % KEPT], *old = *place;
        if (old != NULL && (old[0] != ~(serial - KEPT) || old[WORDS - 1] != ~(serial - KEPT))) {
            printf("a block in use was given to somebody else\n");
            fflush(stdout);
            _exit(1);
        }
        *place = malloc(WORDS * 8);
        (*place)[0] = (*place)[WORDS - 1] = ~serial;
        free(old);
    }
    return NULL;
}

int main(void)
{
    pthread_t workers[WORKERS];
    time_t end = time(NULL) + SECONDS;
    for (int i = 0; i < WORKERS; i++)
        if (pthread_create(&workers[i], NULL, work, (void *)(uintptr_t)i) != 0)
            return 2;
    while (time(NULL) < end)
        for (int i = 0; i < 1000; i++) {
            char *block = malloc(40);
            __asm__ volatile("" : : "r"(block) : "memory");
        }
    atomic_store(&stop, 1);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    return 0;
}
