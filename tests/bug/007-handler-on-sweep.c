/* 007-handler-on-sweep -- a signal handler may allocate, fork and exit on top of a sweep.
 *
 * A thread that allocates sweeps on demand, and while nobody is told of single blocks it judges
 * without a lock. A handler on top of that passed for ordinary code: its child counted what the
 * interrupted sweep had freed, the sweep went on in the child and counted it once more, and a span
 * with live blocks could be retired; a handler that collected waited for the sweep under it.
 *
 * Blocks of many sizes are lost all the time, so that there is always something to sweep, and
 * others are kept, and checked, in the child too, which goes on allocating. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIGNALS = 6000, FORK_EVERY = 60, KEPT = 512, LOST = 4000 };

static volatile int signals;
static volatile sig_atomic_t in_child;
static char *kept[KEPT];
static unsigned seed = 1;

static size_t random_size(void)
{
    seed = seed * 1103515245 + 12345;
    return 16 + seed / 65536 % 480;
}

static void check_kept(unsigned i)
{
    if (kept[i] != NULL && kept[i][0] != (char)i)
        _exit(4);
}

static void replace_kept(unsigned i)
{
    check_kept(i);
    free(kept[i]);
    kept[i] = malloc(random_size());
    if (kept[i] == NULL)
        _exit(2);
    kept[i][0] = (char)i;
}

__attribute__((noinline)) static void lose(void)
{
    for (unsigned i = 0; i < LOST; i++) {
        char *volatile lost = malloc(random_size());
        if (lost == NULL)
            _exit(2);
        lost[0] = -1;
        if (i % 8 == 0)
            replace_kept(i / 8 % KEPT);
    }
}

static void on_alarm(int signal)
{
    (void)signal;
    char *block = malloc(random_size());
    if (block == NULL)
        _exit(2);
    free(block);
    if (in_child)
        return;
    if (++signals % FORK_EVERY == 0) {
        pid_t pid = fork();
        int status = 0;
        if (pid == 0) { /* back into what was interrupted, without further signals */
            in_child = 1;
            return;
        }
        if (waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "the child ended with status %#x\n", (unsigned)status);
            _exit(3);
        }
    }
    if (signals >= SIGNALS)
        exit(0);
}

int main(void)
{
    struct itimerval often = {{0, 100}, {0, 100}};
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int rounds = 0;;) {
        lose();
        if (in_child && ++rounds == 3) {
            for (unsigned i = 0; i < KEPT; i++)
                check_kept(i);
            _exit(0);
        }
    }
}
