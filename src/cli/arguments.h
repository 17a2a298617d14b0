/* arguments.h -- what the command line says. */
#ifndef GC_CLI_ARGUMENTS_H
#define GC_CLI_ARGUMENTS_H

#include "cli/command.h"

#include <stdbool.h>
#include <stdint.h>

/* A decimal number of at most `most`; says so if it is none. */
bool arguments_number(const char *option, const char *text, uint64_t most, uint64_t *number);
/* After getopt_long: exactly `count` arguments are left; says so if not. */
bool arguments_left(int argc, int optind, int count, const char *what);

#endif
