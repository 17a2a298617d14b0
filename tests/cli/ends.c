/* ends.c -- ends as it is told to.   ends exit N | signal N | wait */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ended(int number)
{
    _exit(number + 40);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "exit") == 0)
        return atoi(argv[2]);
    if (argc > 2 && strcmp(argv[1], "signal") == 0)
        raise(atoi(argv[2]));
    if (argc > 1 && strcmp(argv[1], "wait") == 0) {
        signal(SIGTERM, ended);
        puts("waiting");
        fflush(stdout);
        for (int seconds = 0; seconds < 30; seconds++)
            sleep(1);
    }
    return 0;
}
