/* run.c -- gcmalloc run: a program under the library, and then what was found.
 *
 * The program has this command's standard input, output and error, its signal mask and handlers'
 * settings, and its end is this command's end: the same status, or death of the same signal.
 * Signals that somebody sends to the command go to the program; those of a terminal reach both, and
 * the command waits. The report goes to standard error, for standard output is the program's.
 *
 * Where the profile goes. A directory of its own, for other programs that this one starts write
 * theirs by the same option: each has the process id in its name, and the program's own is shown.
 * --output keeps it. */
#include "cli/arguments.h"
#include "cli/executable.h"
#include "cli/fault.h"
#include "cli/library.h"
#include "cli/list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIGNALLED = 128 }; /* a shell's status for death by a signal is this + its number */

struct wanted_form {
    const char *option, *file;
};

struct run {
    /* The command line. */
    LIST(const char *) settings; /* of --set */
    LIST(struct wanted_form) forms;
    const char *output, *exitcode, *suppressions, *max_leaks;
    /* What the program gets. */
    char program[PATH_MAX], preloaded[PATH_MAX];
    char directory[PATH_MAX], profile[PATH_MAX + 64]; /* until it has run, %p is in its name */
    char *preload, *options;
    pid_t pid;
};

/* ---- the command line ------------------------------------------------------------------------ */

static const struct option options[] = {
    {"set", required_argument, NULL, 'S'},
    {"output", required_argument, NULL, 'o'},
    {"exitcode", required_argument, NULL, 'x'},
    {"suppressions", required_argument, NULL, 's'},
    {"max-leaks", required_argument, NULL, 'm'},
    {"text", required_argument, NULL, 'F'},
    {"json", required_argument, NULL, 'F'},
    {"folded", required_argument, NULL, 'F'},
    {"pprof", required_argument, NULL, 'F'},
    {"html", required_argument, NULL, 'F'},
    {NULL, 0, NULL, 0},
};

static bool take(struct run *run, int option, int at)
{
    struct wanted_form *form;
    switch (option) {
    case 'S': *LIST_ADD(&run->settings) = optarg; return strchr(optarg, '=') != NULL;
    case 'o': run->output = optarg; return true;
    case 'x': run->exitcode = optarg; return true;
    case 's': run->suppressions = optarg; return true;
    case 'm': run->max_leaks = optarg; return true;
    case 'F':
        form = LIST_ADD(&run->forms);
        form->option = options[at].name;
        form->file = optarg;
        return true;
    default: return false;
    }
}

static bool parse(int argc, char **argv, struct run *run)
{
    int option, at = 0;
    uint64_t ignored;
    while ((option = getopt_long(argc, argv, "+o:", options, &at)) != -1)
        if (!take(run, option, at))
            return option != 'S' ? false : fault(STATUS_USAGE, "--set: '%s' is not KEY=VALUE",
                                                 optarg) == STATUS_OK;
    if (optind == argc)
        return fault(STATUS_USAGE, "the arguments should be: gcmalloc run [OPTIONS] PROGRAM "
                     "[ARGUMENT...]") == STATUS_OK;
    return run->exitcode == NULL || arguments_number("--exitcode", run->exitcode, 255, &ignored);
}

/* ---- the environment ------------------------------------------------------------------------- */

/* The value that the user gave an option of GCMALLOC last, or NULL; the caller frees it. */
static char *last_value(const char *text, const char *key)
{
    char *value = NULL;
    for (const char *at = text; at != NULL && *at != 0;) {
        const char *end = strchrnul(at, ',');
        if (strncmp(at, key, strlen(key)) == 0 && at[strlen(key)] == '=') {
            free(value);
            value = strndup(at + strlen(key) + 1, (size_t)(end - at) - strlen(key) - 1);
        }
        at = *end != 0 ? end + 1 : NULL;
    }
    return value;
}

/* What the user says comes last, and wins. */
static char *library_options(const struct run *run)
{
    char *text;
    size_t size;
    const char *given = getenv("GCMALLOC");
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        return list_text("");
    fprintf(memory, "report=off,profile=%s", run->profile);
    if (given != NULL && given[0] != 0)
        fprintf(memory, ",%s", given);
    for (size_t i = 0; i < run->settings.count; i++)
        fprintf(memory, ",%s", run->settings.items[i]);
    fclose(memory);
    return text;
}

static void make_environment(struct run *run)
{
    const char *before = getenv("LD_PRELOAD");
    run->options = library_options(run);
    run->preload = list_alloc(strlen(run->preloaded) + (before ? strlen(before) : 0) + 2, 1);
    sprintf(run->preload, "%s%s%s", run->preloaded, before && before[0] ? ":" : "",
            before ? before : "");
    char *profile = last_value(run->options, "profile");
    snprintf(run->profile, sizeof(run->profile), "%s", profile);
    free(profile);
}

/* A place whose name can stand in GCMALLOC: short, and without a comma. */
static bool make_directory(struct run *run)
{
    const char *place = getenv("TMPDIR");
    if (place == NULL || place[0] != '/' || strlen(place) > 128 || strpbrk(place, ", \t\n%"))
        place = "/tmp";
    snprintf(run->directory, sizeof(run->directory), "%s/gcmalloc-run.XXXXXX", place);
    if (mkdtemp(run->directory) == NULL) {
        fault(STATUS_OUTPUT, "%s: %s", run->directory, strerror(errno));
        return false;
    }
    snprintf(run->profile, sizeof(run->profile), "%s/%%p.profile", run->directory);
    return true;
}

/* ---- the program ----------------------------------------------------------------------------- */

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM,
                                SIGCONT, SIGWINCH};

static volatile sig_atomic_t running;

/* A terminal sends its signals to the whole group, the program among it. */
static void forward(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code <= 0 && running > 0)
        kill((pid_t)running, number);
}

static void forwarded_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
        sigaddset(set, forwarded[i]);
}

/* Between fork and this the signals are blocked: none is lost. */
static void start_forwarding(pid_t pid)
{
    struct sigaction action = {.sa_sigaction = forward, .sa_flags = SA_SIGINFO | SA_RESTART};
    running = pid;
    for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
        sigaction(forwarded[i], &action, NULL);
}

static _Noreturn void become(const struct run *run, char **argv)
{
    execve(run->program, argv, environ);
    if (errno == ENOEXEC) { /* a script without #!, which a shell runs */
        size_t count = 0;
        while (argv[count] != NULL)
            count++;
        char **shell = list_alloc(count + 2, sizeof(*shell));
        shell[0] = (char *)"/bin/sh";
        shell[1] = (char *)run->program;
        memcpy(shell + 2, argv + 1, count * sizeof(*shell));
        execve(shell[0], shell, environ);
    }
    fault(STATUS_OK, "%s: %s", run->program, strerror(errno));
    _exit(EXECUTABLE_DENIED);
}

/* Runs it to its end; -1, said, if it could not be started. */
static int run_program(struct run *run, char **argv)
{
    sigset_t set, before;
    int status = 0;
    forwarded_set(&set);
    sigprocmask(SIG_BLOCK, &set, &before);
    run->pid = fork();
    if (run->pid == 0) {
        setenv("LD_PRELOAD", run->preload, 1);
        setenv("GCMALLOC", run->options, 1);
        sigprocmask(SIG_SETMASK, &before, NULL);
        become(run, argv);
    }
    if (run->pid < 0) {
        fault(STATUS_OUTPUT, "no process could be started: %s", strerror(errno));
        return -1;
    }
    start_forwarding(run->pid);
    sigprocmask(SIG_SETMASK, &before, NULL);
    while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR)
        ;
    running = 0;
    return status;
}

/* ---- the report ------------------------------------------------------------------------------ */

/* `path` with %p replaced. */
static void expand(char *path, size_t room, pid_t pid)
{
    char *at = strstr(path, "%p"), rest[PATH_MAX];
    if (at == NULL)
        return;
    snprintf(rest, sizeof(rest), "%s", at + 2);
    snprintf(at, room - (size_t)(at - path), "%d%s", pid, rest);
}

static bool copy(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    ssize_t moved = -1;
    while (in >= 0 && out >= 0 && (moved = sendfile(out, in, NULL, 1 << 20)) > 0)
        ;
    if (moved != 0)
        fault(STATUS_OUTPUT, "%s: %s", to, strerror(errno));
    close(in);
    close(out);
    return moved == 0;
}

static int report(const struct run *run, const char *form, const char *file)
{
    char option[32];
    char *argv[16] = {(char *)"report", option};
    int argc = 2;
    snprintf(option, sizeof(option), "--%s", form);
    const struct { const char *name, *value; } more[] = {
        {"--output", file}, {"--exitcode", run->exitcode},
        {"--suppressions", run->suppressions}, {"--max-leaks", run->max_leaks}};
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        if (more[i].value == NULL)
            continue;
        argv[argc++] = (char *)more[i].name;
        argv[argc++] = (char *)more[i].value;
    }
    argv[argc++] = (char *)run->profile;
    optind = 0; /* glibc: from the beginning, whatever was parsed before */
    return report_main(argc, argv);
}

/* The first status that is not 0. */
static int show(const struct run *run)
{
    static const struct wanted_form text = {"text", NULL};
    const struct wanted_form *forms = run->forms.count != 0 ? run->forms.items : &text;
    int status = STATUS_OK;
    dup2(STDERR_FILENO, STDOUT_FILENO);
    if (run->output != NULL && !copy(run->profile, run->output))
        status = STATUS_OUTPUT;
    for (size_t i = 0; i == 0 || i < run->forms.count; i++) {
        int shown = report(run, forms[i].option, forms[i].file);
        status = status != STATUS_OK ? status : shown;
    }
    return status;
}

static void remove_directory(const struct run *run)
{
    char path[PATH_MAX + 300];
    DIR *directory = opendir(run->directory);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        snprintf(path, sizeof(path), "%s/%s", run->directory, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    if (directory != NULL)
        closedir(directory);
    rmdir(run->directory);
}

/* What is shown of the program with this wait status. */
static int report_of(struct run *run, int status)
{
    expand(run->profile, sizeof(run->profile), run->pid);
    if (access(run->profile, F_OK) == 0)
        return show(run);
    /* If it could not be started, that was said. */
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXECUTABLE_DENIED)
        fault(STATUS_OK, "the program left no profile, so there is no report");
    return STATUS_OK;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* As the program died, without a core of this process. */
static int die_of(int number)
{
    sigset_t set;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    return SIGNALLED + number;
}

int run_main(int argc, char **argv)
{
    struct run run = {0};
    if (!parse(argc, argv, &run))
        return STATUS_USAGE;
    argv += optind;
    int missing = executable_find(argv[0], run.program);
    if (missing != 0)
        return missing;
    const char *unfit = executable_unfit(run.program);
    if (unfit != NULL)
        return fault(STATUS_UNFIT, "%s cannot be run with the library: %s", run.program, unfit);
    if (!library_find(run.preloaded))
        return STATUS_NO_FILE;
    if (!make_directory(&run))
        return STATUS_OUTPUT;
    make_environment(&run);
    int status = run_program(&run, argv);
    int shown = status >= 0 ? report_of(&run, status) : STATUS_OUTPUT;
    remove_directory(&run);
    if (status < 0)
        return STATUS_OUTPUT;
    if (WIFSIGNALED(status))
        return die_of(WTERMSIG(status));
    return WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : shown;
}
