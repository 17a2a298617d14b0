/* arguments.c -- what the command line says. */
#include "cli/arguments.h"

#include "cli/fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool arguments_number(const char *option, const char *text, uint64_t most, uint64_t *number)
{
    errno = 0;
    *number = strtoull(text, NULL, 10);
    if (text[0] != 0 && strspn(text, "0123456789") == strlen(text) && errno == 0 &&
        *number <= most)
        return true;
    fault(STATUS_USAGE, "%s: '%.40s' is no number from 0 to %" PRIu64, option, text, most);
    return false;
}

bool arguments_left(int argc, int optind, int count, const char *what)
{
    if (argc - optind == count)
        return true;
    fault(STATUS_USAGE, "the arguments should be: %s", what);
    return false;
}
