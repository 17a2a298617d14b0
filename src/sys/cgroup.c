/* cgroup.c -- /proc/self/cgroup and the files it leads to.
 *
 * A line is ID:CONTROLLERS:PATH. Version 2 has ID 0 and no controllers; version 1's memory line
 * names `memory` among its controllers, and its files lie below /sys/fs/cgroup/memory. A container
 * may see the path as its host does, but only its own group's files: a directory that is not there
 * is skipped, and the way up always ends at the mount's root. */
#include "sys/cgroup.h"

#include "sys/print.h"
#include "sys/syscall.h"

#include <fcntl.h>
#include <string.h>

enum { TEXT_MOST = 4096 };

struct version {
    const char *subdirectory, *limit, *usage;
    const char *file_pages[2]; /* lines of memory.stat: the kernel takes these back when it must */
};

static const struct version versions[] = {
    {"", "memory.max", "memory.current", {"\ninactive_file ", "\nactive_file "}},
    {"/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     {"\ntotal_inactive_file ", "\ntotal_active_file "}},
};

/* The whole text of a small file, NUL-terminated. False: it cannot be read. */
static bool read_text(const char *path, char *text, size_t most)
{
    size_t used = 0;
    long got, fd = syscall3(__NR_open, (long)path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    while (used < most - 1 &&
           (got = syscall3(__NR_read, fd, (long)(text + used), (long)(most - 1 - used))) > 0)
        used += (size_t)got;
    syscall1(__NR_close, fd);
    text[used] = '\0';
    return used != 0;
}

static bool read_file(const char *directory, const char *name, char *text, size_t most)
{
    struct printer path;
    printer_start(&path, -1);
    printer_printf(&path, "%s/%s", directory, name);
    return !path.failed && read_text(path.text, text, most);
}

static int64_t number_at(const char *text)
{
    int64_t number = 0;
    for (; *text >= '0' && *text <= '9' && number < INT64_MAX / 16; text++)
        number = number * 10 + (*text - '0');
    return number;
}

/* A number in a file; "max" and what cannot be read are none. */
static bool read_number(const char *directory, const char *name, int64_t *value)
{
    char text[32];
    if (!read_file(directory, name, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
        return false;
    *value = number_at(text);
    return true;
}

/* Pages of files count as usage, but are no reason to collect. */
static int64_t file_bytes(const char *directory, const struct version *v)
{
    char text[TEXT_MOST];
    int64_t bytes = 0;
    if (!read_file(directory, "memory.stat", text, sizeof(text)))
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        const char *line = strstr(text, v->file_pages[i]);
        bytes += line == NULL ? 0 : number_at(line + strlen(v->file_pages[i]));
    }
    return bytes;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Of one group's directory. */
static int64_t room_of(const char *directory, const struct version *v, unsigned share)
{
    int64_t limit, usage;
    if (!read_number(directory, v->limit, &limit) || !read_number(directory, v->usage, &usage))
        return INT64_MAX;
    return limit / 100 * (int64_t)share - (usage - file_bytes(directory, v));
}

/* Of the group at `path` and all above it. */
static int64_t room_up(const char *sys, const struct version *v, const char *path, unsigned share)
{
    struct printer directory;
    int64_t room = INT64_MAX;
    printer_start(&directory, -1);
    printer_printf(&directory, "%s%s", sys, v->subdirectory);
    size_t root = directory.used;
    printer_printf(&directory, "%s", path);
    if (directory.failed)
        return INT64_MAX;
    char *text = directory.text;
    for (;;) {
        room = smaller(room, room_of(text, v, share));
        char *slash = strrchr(text + root, '/');
        if (slash == NULL)
            return room;
        *slash = '\0';
    }
}

/* The controllers' field [names, end) holds `memory`. */
static bool names_memory(const char *names, const char *end)
{
    static const char memory[] = "memory";
    for (const char *p = names; p < end; p++) {
        const char *stop = memchr(p, ',', (size_t)(end - p));
        stop = stop == NULL ? end : stop;
        if ((size_t)(stop - p) == sizeof(memory) - 1 && memcmp(p, memory, sizeof(memory) - 1) == 0)
            return true;
        p = stop;
    }
    return false;
}

static int64_t room_of_line(char *line, const char *sys, unsigned share)
{
    char *names = strchr(line, ':');
    char *path = names == NULL ? NULL : strchr(names + 1, ':');
    if (path == NULL)
        return INT64_MAX;
    *path++ = '\0';
    if (strcmp(path, "/") == 0)
        path = path + 1;
    bool second = names[1] == '\0';
    if (!second && !names_memory(names + 1, path - 1))
        return INT64_MAX;
    return room_up(sys, &versions[second ? 0 : 1], path, share);
}

int64_t cgroup_room_at(const char *proc, const char *sys, unsigned share)
{
    struct printer path;
    char text[TEXT_MOST];
    int64_t room = INT64_MAX;
    printer_start(&path, -1);
    printer_printf(&path, "%s/cgroup", proc);
    if (path.failed || !read_text(path.text, text, sizeof(text)))
        return INT64_MAX;
    for (char *line = text, *next; *line != '\0'; line = next) {
        char *end = strchr(line, '\n');
        next = end == NULL ? line + strlen(line) : end + 1;
        if (end != NULL)
            *end = '\0';
        room = smaller(room, room_of_line(line, sys, share));
    }
    return room;
}

int64_t cgroup_room(unsigned share)
{
    return cgroup_room_at("/proc/self", "/sys/fs/cgroup", share);
}
