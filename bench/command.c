/* command.c -- how long does a whole program take under an allocator, and how much memory?
 *
 * Runs PROGRAM, found on PATH, with LD_PRELOAD=LIBRARY (`-`: none), its standard output thrown
 * away, and reports the wall time from spawn to end, the processor time, and the peak resident
 * memory of the largest of the program and the children it waited for (gcc's cc1, say). run.py
 * could do all this but the last: its own pages would count (launch.h).
 *
 *     command NAME LIBRARY PROGRAM [ARGS...] */
#include "launch.h"

#include <sys/resource.h>
#include <sys/wait.h>

static pid_t command_start(char **argv, char **env)
{
    pid_t pid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, env))
        die("the program cannot be started");
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static double milliseconds(struct timeval t)
{
    return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        die("usage: command NAME LIBRARY PROGRAM [ARGS...]");
    static char preload[4096], *env[ENV_MOST + 1];
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", argv[2]);
    environment_make(env, strcmp(argv[2], "-") ? preload : NULL);

    int status;
    struct rusage used;
    uint64_t start = now_ns();
    pid_t pid = command_start(argv + 3, env);
    if (wait4(pid, &status, 0, &used) != pid)
        die("wait4 failed");
    double ns = (double)(now_ns() - start);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        die("the program failed");
    report(argv[1], "time", ns / 1e6, "ms");
    report(argv[1], "cpu", milliseconds(used.ru_utime) + milliseconds(used.ru_stime), "ms");
    report(argv[1], "peak_rss", (double)used.ru_maxrss, "KiB");
}
