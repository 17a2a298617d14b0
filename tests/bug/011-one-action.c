/* 011-one-action -- sigaction(signal, &a, &a): one struct for the new action and the old one.
 *
 * The wrapper notes whether the program blocks the reserved signal in a handler, to show it again
 * when it asks; it looked at the mask after the call, which had put the old one there. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void handler(int signal)
{
    (void)signal;
}

int main(void)
{
    struct sigaction action = {.sa_handler = handler}, now;
    struct sigaction *volatile same = &action; /* the prototype says that they differ */
    sigfillset(&action.sa_mask);
    if (sigaction(SIGUSR1, &action, same) != 0 || action.sa_handler != SIG_DFL)
        return 1;
    if (sigaction(SIGUSR1, NULL, &now) != 0 || now.sa_handler != handler)
        return 2;
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
        if (sigismember(&now.sa_mask, signal) != 1)
            return 3;
    return 0;
}
