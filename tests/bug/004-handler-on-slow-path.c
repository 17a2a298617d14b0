/* 004-handler-on-slow-path -- a signal handler may allocate, fork and exit on top of our slow path.
 *
 * None of it is allowed by POSIX, all of it is common, and with libc's malloc it works in a program
 * without threads. The handler waited for the lock that the code under it held, for ever. The loop
 * below is nearly all slow path; an alarm hits it thousands of times. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIGNALS = 3000, FORK_EVERY = 500, BLOCKS = 200, SIZE = 30000 };

static volatile int signals;

static void on_alarm(int signal)
{
    (void)signal;
    char *block = malloc(SIZE);
    if (block == NULL)
        _exit(2);
    memset(block, 1, 100);
    free(block);
    if (++signals % FORK_EVERY == 0) {
        pid_t pid = fork();
        int status = 0;
        if (pid == 0)
            _exit(0);
        if (waitpid(pid, &status, 0) != pid || status != 0)
            _exit(3);
    }
    if (signals == SIGNALS)
        exit(0);
}

int main(void)
{
    struct itimerval often = {{0, 100}, {0, 100}};
    static char *blocks[BLOCKS];
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (;;) {
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = malloc(SIZE);
        for (int i = 0; i < BLOCKS; i++)
            free(blocks[i]);
    }
}
