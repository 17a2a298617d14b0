/* output.c -- where a command's result goes. */
#include "cli/output.h"

#include "cli/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum status output_open(struct output *output, const char *path, bool binary)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;
    *output = (struct output){standard ? stdout : fopen(path, "we"), standard ? NULL : path};
    if (output->stream == NULL)
        return fault(STATUS_OUTPUT, "%s: %s", path, strerror(errno));
    if (binary && isatty(fileno(output->stream)))
        return fault(STATUS_USAGE, "this is nothing for a terminal; --output FILE keeps it");
    return STATUS_OK;
}

enum status output_close(struct output *output)
{
    const char *name = output->path != NULL ? output->path : "standard output";
    bool failed = ferror(output->stream) != 0;
    errno = 0;
    failed |= output->path != NULL ? fclose(output->stream) != 0 : fflush(output->stream) != 0;
    if (!failed)
        return STATUS_OK;
    return fault(STATUS_OUTPUT, "%s: cannot be written%s%s", name, errno != 0 ? ": " : "",
                 errno != 0 ? strerror(errno) : "");
}

bool output_coloured(FILE *stream)
{
    const char *refused = getenv("NO_COLOR");
    return isatty(fileno(stream)) && (refused == NULL || refused[0] == 0);
}
