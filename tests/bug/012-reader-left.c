/* 012-reader-left -- who closes a pipe's last reader has closed it.
 *
 * What another task holds of a file keeps it open. The collector's thread starts with a copy of the
 * program's table of descriptors, for some microseconds; and while it lists the program's
 * descriptors in /proc, beside the program, it holds one after the other. If a pipe was closed just
 * then, a write into it succeeded, which nobody would ever read, instead of failing with EPIPE.
 *
 * One thread lets the collector's thread end (setgid) and begin (a cycle), again and again. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = 3 };

static _Atomic int done;

static void *restarter(void *unused)
{
    while (!done) {
        for (int i = 0; i < 200; i++) {
            char *volatile block = malloc(100);
            free(block);
        }
        if (setgid(getgid()) != 0)
            exit(2);
    }
    return unused;
}

int main(void)
{
    pthread_t thread;
    time_t end = time(NULL) + SECONDS;
    signal(SIGPIPE, SIG_IGN);
    if (pthread_create(&thread, NULL, restarter, NULL) != 0)
        return 3;
    while (time(NULL) < end) {
        int ends[2];
        if (pipe(ends) != 0 || close(ends[0]) != 0)
            return 4;
        if (write(ends[1], "x", 1) != -1 || errno != EPIPE)
            return 1;
        close(ends[1]);
    }
    done = 1;
    return pthread_join(thread, NULL);
}
