/* child.h -- a test, or a death, in a process of its own.
 *
 * An arena can be made once in a process, so a test that wants one of its own runs in a child; its
 * failed expectations count for the parent. A death (print_fatal, a failed check) is observed with
 * its message. */
#ifndef UNIT_CHILD_H
#define UNIT_CHILD_H

#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs body() in a child; true if it ended well and all it expected held. */
static inline bool child_passes(void (*body)(void))
{
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        unsigned before = unit_failures;
        body();
        fflush(stdout);
        _exit(unit_failures != before);
    }
    waitpid(pid, &status, 0);
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A test of that name, in a child. */
#define IN_CHILD(name) \
    static void test_##name(void) \
    { \
        EXPECT(child_passes(name)); \
    }

/* Runs body() in a child, its standard error in `text`; true if it was aborted. */
static inline bool child_aborts(void (*body)(void), char *text, size_t capacity)
{
    int status = -1, fds[2];
    fflush(stdout);
    if (pipe(fds) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(fds[1]);
    size_t used = 0;
    for (ssize_t got; used + 1 < capacity &&
                      (got = read(fds[0], text + used, capacity - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    close(fds[0]);
    waitpid(pid, &status, 0);
    return pid > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
