/* output.h -- where a command's result goes. */
#ifndef GC_CLI_OUTPUT_H
#define GC_CLI_OUTPUT_H

#include "cli/command.h"

#include <stdbool.h>
#include <stdio.h>

struct output {
    FILE *stream;
    const char *path; /* NULL: standard output */
};

/* `path` NULL or "-": standard output, which takes no `binary` result if it is a terminal. */
enum status output_open(struct output *output, const char *path, bool binary);
/* Says so if not everything could be written. */
enum status output_close(struct output *output);
/* May colours be used on this stream? Only on a terminal, and not with NO_COLOR. */
bool output_coloured(FILE *stream);

#endif
