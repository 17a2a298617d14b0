/* 005-main-thread-gone -- a process whose main thread has ended must still be read, and collected.
 *
 * When the main thread calls pthread_exit it stays behind as a zombie that leads the process, and
 * has no address space any more: /proc/self names it, so /proc/self/maps, mem and pagemap cannot be
 * opened (Linux 6.14) or are empty files (before), and process_vm_readv of the process id fails. An
 * empty list of mappings was taken for a process without roots: every block was reclaimed. Where
 * the files cannot be opened no cycle ran again and the leaks were kept for ever. And the process
 * must end with status 0 when its last thread does. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LIVE = 2000,
    LEAKS = 3000,
    LEAK_SIZE = 100 << 10,     /* 300 MB in all */
    RESIDENT_MOST = 150 << 20,
    ROUNDS = 5,
};

static uint64_t *live[LIVE];

static size_t live_size(size_t i)
{
    return 64 + i % 97 * 40;
}

static void live_make(size_t i)
{
    size_t words = live_size(i) / 8;
    live[i] = malloc(words * 8);
    for (size_t k = 0; k < words; k++)
        live[i][k] = ~(uint64_t)(i * 1000 + k);
}

static void live_check(size_t i)
{
    for (size_t k = 0; k < live_size(i) / 8; k++)
        if (live[i][k] != ~(uint64_t)(i * 1000 + k)) {
            printf("word %zu of live block %zu has changed\n", k, i);
            fflush(stdout);
            _exit(1);
        }
}

/* Is the process's leader a zombie by now? */
static int leader_is_gone(void)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    int fd = open(path, O_RDONLY);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    const char *name_end = got > 0 ? strrchr(text, ')') : NULL;
    return name_end != NULL && name_end[2] == 'Z';
}

static size_t resident(void)
{
    char text[128] = "";
    int fd = open("/proc/thread-self/statm", O_RDONLY);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    const char *second = got > 0 ? strchr(text, ' ') : NULL;
    return second != NULL ? strtoul(second, NULL, 10) * 4096 : 0;
}

static void *last_thread(void *unused)
{
    while (!leader_is_gone())
        usleep(1000);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < LEAKS / ROUNDS; i++) {
            char *leak = malloc(LEAK_SIZE);
            memset(leak, i, LEAK_SIZE);
            __asm__ volatile("" : : "r"(leak) : "memory");
        }
        for (size_t i = 0; i < LIVE; i++)
            live_check(i);
        for (size_t i = (size_t)round; i < LIVE; i += 7)
            live_make(i);
    }
    if (resident() > RESIDENT_MOST || resident() == 0) {
        printf("%zu MB are resident: the leaks have not been reclaimed\n", resident() >> 20);
        fflush(stdout);
        _exit(1);
    }
    return unused;
}

static void leave(void)
{
    pthread_t thread;
    for (size_t i = 0; i < LIVE; i++)
        live_make(i);
    if (pthread_create(&thread, NULL, last_thread, NULL) != 0)
        _exit(2);
    pthread_exit(NULL);
}

int main(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        leave();
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 2;
    if (status != 0)
        printf("the child ended with status %#x\n", (unsigned)status);
    return status != 0;
}
