/* follow.c -- one name less in LD_PRELOAD.
 *
 * The text gets shorter, so it is changed where it stands, without setenv(), which allocates. The
 * loader takes blanks and colons as separators; a path is compared by its last part. */
#include "sys/follow.h"

#include <string.h>

static const char separators[] = ": ";

static bool is_file(const char *path, size_t length, const char *name)
{
    size_t last = strlen(name);
    return length >= last && memcmp(path + length - last, name, last) == 0 &&
           (length == last || path[length - last - 1] == '/');
}

static void take_out(char *list, const char *name)
{
    char *to = list;
    for (const char *from = list; *from != '\0';) {
        size_t length = strcspn(from, separators), gap = strspn(from + length, separators);
        if (!is_file(from, length, name)) {
            memmove(to, from, length + gap);
            to += length + gap;
        }
        from += length + gap;
    }
    while (to > list && strchr(separators, to[-1]) != NULL)
        to--;
    *to = '\0';
}

void follow_stop(char *const *environment, const char *name)
{
    static const char variable[] = "LD_PRELOAD=";
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, variable, sizeof variable - 1) == 0)
            take_out(*environment + sizeof variable - 1, name);
}
