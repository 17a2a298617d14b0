/* children.c -- programs that a program starts, by every way there is.
 *
 * Prints `with` or `without`: do they all, or does none of them, have libgcmalloc.so among their
 * mappings? Each prints a line that is read back, and ends with a status that is waited for. */
#include <spawn.h>
#include <sys/wait.h>

#include "abi.h"

extern char **environ;

static char command[] = "grep -q libgcmalloc.so /proc/self/maps && echo with || echo without; exit 7";
static char *arguments[] = {"sh", "-c", command, NULL};

static void read_line(int fd, char *line)
{
    ssize_t got = 0, part;
    while ((part = read(fd, line + got, (size_t)(20 - got))) > 0)
        got += part;
    CHECK(got > 0 && line[got - 1] == '\n');
    line[got - 1] = '\0';
}

static void expect_status(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void by_popen(char *line)
{
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL && fscanf(pipe, "%19s", line) == 1);
    CHECK(WEXITSTATUS(pclose(pipe)) == 7);
}

static void by_system(char *line)
{
    int ends[2], out = dup(1);
    CHECK(pipe(ends) == 0 && dup2(ends[1], 1) == 1 && close(ends[1]) == 0);
    CHECK(WEXITSTATUS(system(command)) == 7);
    CHECK(dup2(out, 1) == 1 && close(out) == 0);
    read_line(ends[0], line);
    CHECK(close(ends[0]) == 0);
}

static void by_fork(char *line, int vforks)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = vforks ? vfork() : fork();
    if (child == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execv("/bin/sh", arguments);
        _exit(9);
    }
    CHECK(child > 0 && close(ends[1]) == 0);
    read_line(ends[0], line);
    CHECK(close(ends[0]) == 0);
    expect_status(child);
}

static void by_spawn(char *line)
{
    int ends[2];
    pid_t child;
    posix_spawn_file_actions_t actions;
    CHECK(pipe(ends) == 0 && posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, ends[1], 1) == 0);
    CHECK(posix_spawn_file_actions_addclose(&actions, ends[0]) == 0);
    CHECK(posix_spawn(&child, "/bin/sh", &actions, NULL, arguments, environ) == 0);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0 && close(ends[1]) == 0);
    read_line(ends[0], line);
    CHECK(close(ends[0]) == 0);
    expect_status(child);
}

int main(void)
{
    char lines[5][20];
    pressure(1 << 20, 1);
    by_popen(lines[0]);
    by_system(lines[1]);
    by_fork(lines[2], 0);
    by_fork(lines[3], 1);
    by_spawn(lines[4]);
    for (int i = 1; i < 5; i++)
        CHECK(strcmp(lines[i], lines[0]) == 0);
    puts(lines[0]);
    return 0;
}
