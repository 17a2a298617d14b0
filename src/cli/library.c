/* library.c -- where libgcmalloc.so is. */
#include "cli/library.h"

#include "cli/fault.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NAME "libgcmalloc.so"

static bool usable(const char *candidate, char path[PATH_MAX])
{
    return realpath(candidate, path) != NULL && access(path, R_OK) == 0;
}

bool library_find(char path[PATH_MAX])
{
    static const char *const places[] = {"../../preload", "../lib", "../lib64",
                                         "../lib/x86_64-linux-gnu"};
    char own[PATH_MAX], candidate[PATH_MAX + 64];
    const char *named = getenv("GCMALLOC_LIBRARY");
    if (named != NULL && named[0] != 0) {
        if (usable(named, path))
            return true;
        fault(STATUS_NO_FILE, "%s (GCMALLOC_LIBRARY): there is no such library", named);
        return false;
    }
    ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[length > 0 ? length : 0] = 0;
    const char *directory = dirname(own);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(candidate, sizeof(candidate), "%s/%s/" NAME, directory, places[i]);
        if (usable(candidate, path))
            return true;
    }
    fault(STATUS_NO_FILE, "there is no " NAME " near the command; GCMALLOC_LIBRARY names it");
    return false;
}
