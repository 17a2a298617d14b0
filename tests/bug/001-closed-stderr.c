/* 001-closed-stderr -- the report must not land in a file that took standard error's number.
 *
 * A daemon closes its standard descriptors and opens a data file, which becomes descriptor 2. The
 * leak report at exit was then written into that file. The parent looks at the child's file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEAKS = 100 };

static void leak(void)
{
    for (int i = 0; i < LEAKS; i++) {
        char *block = malloc(1000);
        memset(block, i, 1000);
        __asm__ volatile("" : : "r"(block) : "memory");
    }
}

static void child(const char *path)
{
    close(2);
    if (open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) != 2 || write(2, "data\n", 5) != 5)
        _exit(3);
    leak();
    exit(0);
}

int main(void)
{
    char path[] = "/tmp/closed-stderr-XXXXXX";
    int status = 0;
    struct stat st;
    close(mkstemp(path));
    pid_t pid = fork();
    if (pid == 0)
        child(path);
    int failed = pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 ||
                 stat(path, &st) != 0 || st.st_size != 5;
    unlink(path);
    if (failed)
        printf("status %#x, the file holds %ld bytes, not 5\n", (unsigned)status,
               (long)st.st_size);
    return failed;
}
