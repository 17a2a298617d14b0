/* 014-nobody-reads -- a pipe as standard error that is full does not stop the program.
 *
 * The program itself writes nothing there, so whether anybody reads is nothing to it. The
 * collector's thread waited for ever in the write of a line of gctrace, or of a report; then the
 * program did, for a cycle's end, and at last exit() did.
 *
 * When somebody reads again, the next line is told of those that were lost. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1000, ROUND = 20000, ROUNDS = 20 };

static void *volatile sink;
static int ends[2];

static void lose(void)
{
    for (int i = 0; i < ROUND; i++) {
        char *block = malloc(BLOCK);
        if (block == NULL)
            _exit(2);
        memset(block, 1, BLOCK);
        sink = block;
    }
}

static int fill_up(void)
{
    static char some[4096];
    if (pipe(ends) != 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0)
        return 0;
    for (size_t size = sizeof some; size > 0; size /= 2)
        while (write(ends[1], some, size) > 0)
            ;
    return fcntl(ends[1], F_SETFL, 0) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 &&
           dup2(ends[1], 2) == 2;
}

/* Reads on until the line is there. */
static void await_lost(void)
{
    static char text[1 << 20];
    size_t used = 0;
    struct timespec nap = {0, 1000000};
    for (;;) {
        ssize_t got = read(ends[0], text + used, sizeof text - 1 - used);
        used += got > 0 ? (size_t)got : 0;
        if (memmem(text, used, "message(s) were lost", 20) != NULL)
            return;
        if (used == sizeof text - 1)
            _exit(4);
        lose();
        nanosleep(&nap, NULL);
    }
}

int main(void)
{
    alarm(100);
    if (!fill_up())
        return 3;
    for (int i = 0; i < ROUNDS; i++)
        lose();
    await_lost();
    exit(0);
}
