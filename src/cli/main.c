/* main.c -- gcmalloc: what a program's memory did, seen from outside.
 *
 * The library records (src/watch); whatever takes a debugger's knowledge, time or other libraries
 * happens here, in another process. A command is a row of commands.inc and a file of its own. */
#include "cli/command.h"
#include "cli/fault.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name, *arguments, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, arguments, help) {#name, arguments, help, name##_main},
#include "cli/commands.inc"
#undef COMMAND
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const struct command *find(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_usage(FILE *out, const struct command *only)
{
    fprintf(out, only == NULL ? "usage: gcmalloc COMMAND ...\n\n" : "usage:\n");
    for (int i = 0; i < COMMANDS; i++)
        if (only == NULL || only == &commands[i])
            fprintf(out, "  gcmalloc %s %s\n      %s\n", commands[i].name, commands[i].arguments,
                    commands[i].help);
}

int help_main(int argc, char **argv)
{
    const struct command *only = argc > 1 ? find(argv[1]) : NULL;
    if (argc > 1 && only == NULL)
        return fault(STATUS_USAGE, "there is no command '%s'", argv[1]);
    print_usage(stdout, only);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr, NULL);
        return STATUS_USAGE;
    }
    const char *name = strncmp(argv[1], "--help", 7) == 0 || strcmp(argv[1], "-h") == 0 ? "help"
                                                                                        : argv[1];
    const struct command *command = find(name);
    if (command == NULL)
        return fault(STATUS_USAGE, "there is no command '%s'; `gcmalloc help` lists them", name);
    if (argc > 2 && strcmp(argv[2], "--help") == 0) {
        print_usage(stdout, command);
        return STATUS_OK;
    }
    return command->run(argc - 1, argv + 1);
}
