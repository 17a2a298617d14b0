/* exec.c -- no stop of the world while a program replaces itself.
 *
 * A signal that is pending for a thread stays pending over execve(), while its handler does not:
 * the stop signal would end the new program. So stops wait until the call has failed, or for
 * ever. */
#include "base/base.h"
#include "real.h"
#include "runtime.h"

#include <stdarg.h>

#define HOLDING(call) \
    real_resolve(); \
    bool held = runtime_hold_stops(); \
    int result = call; \
    runtime_release_stops(held); \
    return result

GC_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    HOLDING(real.execve(path, argv, envp));
}

GC_EXPORT int execv(const char *path, char *const argv[])
{
    HOLDING(real.execv(path, argv));
}

GC_EXPORT int execvp(const char *file, char *const argv[])
{
    HOLDING(real.execvp(file, argv));
}

GC_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
    HOLDING(real.execvpe(file, argv, envp));
}

GC_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    HOLDING(real.fexecve(fd, argv, envp));
}

/* The arguments of execl and its kin, and what follows their NULL. */
static size_t count_arguments(va_list list)
{
    size_t count = 1;
    while (va_arg(list, char *) != NULL)
        count++;
    return count;
}

static void collect(char **argv, const char *first, size_t count, va_list list)
{
    argv[0] = (char *)(uintptr_t)first;
    for (size_t i = 1; i <= count; i++)
        argv[i] = va_arg(list, char *);
}

/* argv[] on the stack, as POSIX wants it of functions that signal handlers may call. */
#define ARGUMENTS(first) \
    va_list list; \
    va_start(list, first); \
    const char *const volatile given = first; /* callers pass NULL, too */ \
    size_t count = given == NULL ? 0 : count_arguments(list); \
    va_end(list); \
    char **argv = __builtin_alloca((count + 1) * sizeof(char *)); \
    argv[0] = NULL; \
    va_start(list, first); \
    if (count != 0) \
        collect(argv, first, count, list)

GC_EXPORT int execl(const char *path, const char *first, ...)
{
    ARGUMENTS(first);
    va_end(list);
    return execv(path, argv);
}

GC_EXPORT int execlp(const char *file, const char *first, ...)
{
    ARGUMENTS(first);
    va_end(list);
    return execvp(file, argv);
}

GC_EXPORT int execle(const char *path, const char *first, ...)
{
    ARGUMENTS(first);
    char *const *envp = va_arg(list, char *const *);
    va_end(list);
    return execve(path, argv, envp);
}
