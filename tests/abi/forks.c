/* forks.c -- fork while other threads allocate, and children that live on.   forks busy|chain|exec
 *
 * A child inherits one thread and whatever locks the others held; it must still allocate, free what
 * its parent made, collect, and leave through exit(). */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "abi.h"

static atomic_int stop;

static void *busy_thread(void *unused)
{
    while (!atomic_load(&stop))
        pressure(100000, 0);
    return unused;
}

static void await(pid_t child)
{
    int status;
    CHECK(child > 0);
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 42) {
        fprintf(stderr, "child ended with wait status %x\n", (unsigned)status);
        _exit(1);
    }
}

static _Noreturn void child_works(char *parents, size_t size)
{
    CHECK(pattern_holds(parents, size, 1));
    free(parents);
    pressure(4u << 20, 1);
    pthread_t thread;
    atomic_store(&stop, 1);
    CHECK(pthread_create(&thread, NULL, busy_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    exit(42);
}

static void kind_busy(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, busy_thread, NULL) == 0);
    for (int round = 0; round < 40; round++) {
        size_t size = (size_t)10 << (round % 18);
        char *block = malloc(size);
        CHECK(block != NULL);
        pattern_fill(block, size, 1);
        pid_t child = fork();
        if (child == 0)
            child_works(block, size);
        await(child);
        CHECK(pattern_holds(block, size, 1));
        free(block);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void kind_chain(void)
{
    int depth = 0;
    for (; depth < 12; depth++) {
        pressure(3u << 20, 1);
        pid_t child = fork();
        if (child == 0)
            continue;
        await(child);
        if (depth > 0)
            exit(42);
        return;
    }
    pressure(3u << 20, 0);
    exit(42);
}

static NOINLINE pid_t vfork_shell(void)
{
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exit 42", (char *)NULL);
        _exit(1);
    }
    return child;
}

static void kind_exec(void)
{
    for (int round = 0; round < 20; round++) {
        pressure(500000, 1);
        pid_t child = fork();
        if (child == 0) {
            execl("/bin/sh", "sh", "-c", "x=$(echo 42); exit $x", (char *)NULL);
            _exit(1);
        }
        await(child);
        await(vfork_shell());
    }
    CHECK(system("exit 42") == 42 << 8);
    FILE *pipe = popen("echo from popen", "r");
    char line[32];
    CHECK(pipe != NULL && fgets(line, sizeof line, pipe) != NULL && pclose(pipe) == 0);
    CHECK(strcmp(line, "from popen\n") == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    setbuf(stdout, NULL);
    if (strcmp(argv[1], "busy") == 0)
        kind_busy();
    else if (strcmp(argv[1], "chain") == 0)
        kind_chain();
    else
        kind_exec();
    puts("done");
    return 0;
}
