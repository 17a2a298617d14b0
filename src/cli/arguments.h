/* arguments.h -- what the command line says. */
#ifndef GC_CLI_ARGUMENTS_H
#define GC_CLI_ARGUMENTS_H

#include "cli/command.h"

#include <stdbool.h>
#include <stdint.h>

/* What the commands that show profiles have in common. */
struct arguments {
    const char *output; /* NULL: standard output */
    uint64_t max;       /* sites shown; 0: all */
    double seconds;     /* for naming functions; 0: no limit */
    char **files;
};

/* --output FILE, --max N (100), --symbolize-seconds N, and `files` names of files. False, said, if
 * the command line has anything else; `usage` is what it should be. */
bool arguments_parse(int argc, char **argv, int files, const char *usage,
                     struct arguments *arguments);
/* A decimal number of at most `most`; says so if it is none. */
bool arguments_number(const char *option, const char *text, uint64_t most, uint64_t *number);
/* A time, such as 0.5; says so if it is none. */
bool arguments_seconds(const char *option, const char *text, double *seconds);
/* After getopt_long, which used `used`: exactly `count` arguments are left; says so if not. */
bool arguments_left(int argc, int used, int count, const char *usage);

#endif
