/* plugin_strings.c -- a library that hands out and takes back strings of its own libc. */
#include "abi.h"

EXPORT char *plugin_copy(const char *text);
EXPORT void plugin_drop(char *text);

char *plugin_copy(const char *text)
{
    return strdup(text);
}

void plugin_drop(char *text)
{
    free(text);
}
