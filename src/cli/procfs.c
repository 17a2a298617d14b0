/* procfs.c -- what /proc says of other processes. */
#include "cli/procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 128 }; /* /proc, three numbers and two words */

FILE *procfs_open(const char *format, ...)
{
    char path[PATH_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    return fopen(path, "re");
}

static size_t read_whole(int fd, char *text, size_t most)
{
    size_t used = 0;
    ssize_t got;
    while (used < most && (got = read(fd, text + used, most - used)) > 0)
        used += (size_t)got;
    return used;
}

bool procfs_read(char *text, size_t size, const char *format, ...)
{
    char path[PATH_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = fd < 0 ? 0 : read_whole(fd, text, size - 1);
    text[used] = '\0';
    if (fd >= 0)
        close(fd);
    return used > 0;
}

bool procfs_link(char *text, size_t size, const char *format, ...)
{
    char path[PATH_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    ssize_t got = readlink(path, text, size - 1);
    text[got < 0 ? 0 : got] = '\0';
    return got >= 0;
}

static int compare_numbers(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;
    return (left > right) - (left < right);
}

static void append_number(struct procfs_numbers *all, const char *name)
{
    if (!isdigit((unsigned char)name[0]))
        return;
    if ((all->count & (all->count - 1)) == 0) {
        size_t room = all->count == 0 ? 1 : 2 * all->count;
        int *list = realloc(all->list, room * sizeof(int));
        if (list == NULL)
            return;
        all->list = list;
    }
    all->list[all->count++] = atoi(name);
}

struct procfs_numbers procfs_numbers(const char *format, ...)
{
    struct procfs_numbers all = {0};
    char path[PATH_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return all;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        append_number(&all, entry->d_name);
    closedir(dir);
    if (all.count > 0)
        qsort(all.list, all.count, sizeof(int), compare_numbers);
    return all;
}

const char *procfs_field(const char *status, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = status; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            return line + length + 1 + (line[length + 1] == '\t');
    }
    return NULL;
}
