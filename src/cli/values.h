/* values.h -- values on a command line. */
#ifndef GC_CLI_VALUES_H
#define GC_CLI_VALUES_H

#include "cli/command.h"

#include <stdint.h>

/* Seconds, with a fraction, from a millisecond to a week, as nanoseconds. */
enum status values_seconds(const char *option, const char *text, uint64_t *ns);
/* A count of at least 1. */
enum status values_count(const char *option, const char *text, unsigned long *count);
/* The one word that is left behind the options; NULL with a line printed unless there is just
 * one. */
const char *values_only(const char *command, int argc, char **argv);

#endif
