/* startup.c -- what does the preload add to the start and the end of a program?
 *
 * Starts PROGRAM in turn without and with LD_PRELOAD=LIBRARY, COUNT times each, and prints the
 * wall time from posix_spawn to the end of the process, one pair a line, which goes first
 * alternating:
 *
 *     pair PLAIN_NS PRELOADED_NS
 *
 * A small static-sized parent, because the time of a spawn grows with the parent that spawns. The
 * rest of the environment (GCMALLOC, say) passes to both.
 *
 *     startup LIBRARY COUNT PROGRAM [ARGS...] */
#include "launch.h"

#include <sys/wait.h>

static uint64_t spawn_ns(char **argv, char **env)
{
    int status;
    pid_t pid;
    uint64_t start = now_ns();
    if (posix_spawn(&pid, argv[0], NULL, NULL, argv, env))
        die("posix_spawn failed");
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid failed");
    uint64_t ns = now_ns() - start;
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        die("the program failed");
    return ns;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        die("usage: startup LIBRARY COUNT PROGRAM [ARGS...]");
    static char preload[4096], *plain_env[ENV_MOST + 1], *preload_env[ENV_MOST + 1];
    uint64_t count = arg_count(argc, argv, 2, 1000);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", argv[1]);
    environment_make(plain_env, NULL);
    environment_make(preload_env, preload);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t ns[2];
        for (uint64_t k = 0; k < 2; k++) {
            uint64_t which = (i + k) % 2;
            ns[which] = spawn_ns(argv + 3, which ? preload_env : plain_env);
        }
        printf("pair %ju %ju\n", (uintmax_t)ns[0], (uintmax_t)ns[1]);
    }
}
