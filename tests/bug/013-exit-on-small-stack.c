/* 013-exit-on-small-stack.c -- exit() may be called by a thread with the smallest stack there is.
 *
 * The report and the profile were written on the stack of whoever calls exit(): names, paths and
 * buffers took 20 KiB of it, more than a thread with a stack of PTHREAD_STACK_MIN has. The program
 * crashed where without the library it ends. */
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

enum { BLOCKS = 100 };

static void *volatile sink;

static __attribute__((noinline)) void lose(void)
{
    for (int i = 0; i < BLOCKS; i++)
        sink = malloc(100 + (size_t)i);
    sink = NULL;
}

static void *leaver(void *unused)
{
    (void)unused;
    lose();
    exit(0);
}

int main(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN) != 0 ||
        pthread_create(&thread, &attributes, leaver, NULL) != 0)
        return 2;
    pthread_join(thread, NULL);
    return 3;
}
