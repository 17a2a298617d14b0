/* leaker.c -- a program that leaks and sleeps, for a minute at most, and ends with its input.
 *
 *   leaker MIB     MIB of live memory beside the leaks: from 32 on the collector has a thread
 *
 * Ends with 9 if a sleep was cut short: what asks the library for something must not be noticed. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1000, BLOCKS = 200, NAP_MS = 20 };

static void *volatile sink;
static char *volatile live;

static __attribute__((noinline)) void leak_here(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        sink = malloc(BLOCK);
        memset(sink, 1, BLOCK);
    }
    sink = NULL;
}

int main(int argc, char **argv)
{
    size_t size = (size_t)atoi(argv[argc - 1]) << 20;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    alarm(60);
    live = malloc(size + 1);
    memset(live, 1, size + 1);
    puts("ready");
    fflush(stdout);
    for (;;) {
        leak_here();
        int ready = poll(&input, 1, NAP_MS);
        if (ready != 0)
            return ready < 0 ? 9 : 0;
    }
}
