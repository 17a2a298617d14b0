/* sleeper.c -- a process without the library, for a minute at most. Built static. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    char c;
    alarm(60);
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return 0;
}
