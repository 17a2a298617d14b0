/* values.c -- values on a command line. */
#include "cli/values.h"

#include "cli/fault.h"
#include "cli/instant.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

enum status values_seconds(const char *option, const char *text, uint64_t *ns)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0.001 && seconds <= 7 * 86400.0))
        return fault(STATUS_USAGE, "%s: '%s' is no number of seconds", option, text);
    *ns = (uint64_t)(seconds * (double)NS_PER_SECOND);
    return STATUS_OK;
}

enum status values_count(const char *option, const char *text, unsigned long *count)
{
    char *end;
    errno = 0;
    *count = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || *text == '-' || errno != 0 || *count == 0)
        return fault(STATUS_USAGE, "%s: '%s' is no count", option, text);
    return STATUS_OK;
}

const char *values_only(const char *command, int argc, char **argv)
{
    if (argc - optind == 1)
        return argv[optind];
    fault(STATUS_USAGE, argc == optind ? "%s: which process? (a number)" : "%s: one process only",
          command);
    return NULL;
}
