/* arguments.c -- what the command line says. */
#include "cli/arguments.h"

#include "cli/fault.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_MAX = 100 };

static const struct option options[] = {
    {"output", required_argument, NULL, 'o'},
    {"max", required_argument, NULL, 'm'},
    {"symbolize-seconds", required_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

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

bool arguments_seconds(const char *option, const char *text, double *seconds)
{
    char *end;
    *seconds = strtod(text, &end);
    if (end != text && *end == 0 && *seconds >= 0 && *seconds <= INT32_MAX)
        return true;
    fault(STATUS_USAGE, "%s: '%.40s' is no number of seconds", option, text);
    return false;
}

bool arguments_left(int argc, int used, int count, const char *usage)
{
    if (argc - used == count)
        return true;
    fault(STATUS_USAGE, "the arguments should be: %s", usage);
    return false;
}

bool arguments_parse(int argc, char **argv, int files, const char *usage,
                     struct arguments *arguments)
{
    bool good = true;
    int option;
    *arguments = (struct arguments){.max = DEFAULT_MAX};
    while (good && (option = getopt_long(argc, argv, "o:", options, NULL)) != -1) {
        if (option == 'o')
            arguments->output = optarg;
        else if (option == 'm')
            good = arguments_number("--max", optarg, INT64_MAX, &arguments->max);
        else if (option == 't')
            good = arguments_seconds("--symbolize-seconds", optarg, &arguments->seconds);
        else
            return false; /* getopt has said so */
    }
    arguments->files = argv + optind;
    return good && arguments_left(argc, optind, files, usage);
}
