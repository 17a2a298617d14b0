/* maps.c -- /proc/thread-self/maps, a line at a time.
 *
 * The file is the only complete list of what the program can write (DESIGN: roots). It is read
 * every cycle, and a program with 10,000 mappings has a megabyte of it: hence hex by hand, one
 * memchr per line, and the kind decided by the first character of the name before any comparison.
 *
 * A line is
 *     start-end rwxp offset major:minor inode   name
 * where the name runs to the end of the line: it may hold blanks, and a newline in it shows as
 * \012. A name is a path (starts with '/'), the kernel's word for a special mapping (in brackets),
 * or the name of an inode without a path ("anon_inode:[io_uring]").
 *
 *   .inv.line   buffer[next .. used) is text not yet handed out; it starts at the start of a line.
 *
 * Traps
 *   - The kernel drops its lock between two reads. A mapping that grew by merging may be reported
 *     again, longer, overlapping the one before it; callers must not take ends as ascending.
 *   - Whether memory is a root depends on who can have written it. So what is doubtful is called
 *     shared memory, never a file or device: the aio and io_uring rings (they hold user_data), huge
 *     pages, and a shared mapping without a name.
 *   - /proc/self is the thread that leads the process. Once it has called pthread_exit it has no
 *     mappings: its file cannot be opened (since Linux 6.14), or is empty and looks like any other.
 *   - " (deleted)" follows the name of an unlinked file, and can be part of the name of one that is
 *     not. Nothing here depends on it: names are compared by their beginning.
 *
 * Thread safety: a reader belongs to one thread. */
#include "sys/maps.h"

#include "base/check.h"
#include "sys/proc_text.h"
#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <string.h>

enum { MAPS_BUFFER_MIN = 16 * 1024 };

/* ---- one line ---- */

/* Reads a number that ends with `stop`; returns what follows, or NULL. */
static char *parse_hex(char *at, char stop, uint64_t *out)
{
    uint64_t value = 0;
    char *from = at;
    for (unsigned digit; (digit = hex_value(*at)) < 16; at++)
        value = value << 4 | digit;
    *out = value;
    return at > from && at - from <= 16 && *at == stop ? at + 1 : NULL;
}

/* The inode ends with a blank, or with the line when there is no name. */
static char *parse_inode(char *at, uint64_t *out)
{
    uint64_t value = 0;
    char *from = at;
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    *out = value;
    return at > from && (*at == ' ' || *at == '\0') ? at : NULL;
}

static bool parse_flag(char c, char yes, bool *out)
{
    *out = c == yes;
    return c == yes || c == '-';
}

static char *parse_permissions(char *at, struct mapping *out)
{
    if (!parse_flag(at[0], 'r', &out->readable) || !parse_flag(at[1], 'w', &out->writable) ||
        !parse_flag(at[2], 'x', &out->executable))
        return NULL;
    out->shared = at[3] == 's';
    return (at[3] == 's' || at[3] == 'p') && at[4] == ' ' ? at + 5 : NULL;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool starts_with_any(const char *text, const char *const *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (starts_with(text, prefixes[i]))
            return true;
    return false;
}

static enum map_kind kind_of_shared(const char *name)
{
    static const char *const memory[] = {
        "/dev/zero", "/memfd:", "/dev/shm/", "/SYSV", "/anon_hugepage", "/dev/hugepages/",
        "/[aio]", "anon_inode:[io_uring]", "[anon_shmem:",
    };
    if (name[0] == '\0' || starts_with_any(name, memory, GC_COUNT(memory)))
        return MAP_KIND_SHARED_MEMORY;
    return starts_with(name, "/dev/") ? MAP_KIND_DEVICE : MAP_KIND_SHARED_FILE;
}

static enum map_kind kind_of_private_path(const char *name)
{
    static const char *const anonymous[] = {"/dev/zero", "/anon_hugepage"};
    static const char *const files[] = {"/dev/shm/", "/dev/hugepages/"};
    if (starts_with_any(name, anonymous, GC_COUNT(anonymous)))
        return MAP_KIND_ANONYMOUS;
    if (starts_with(name, "/dev/") && !starts_with_any(name, files, GC_COUNT(files)))
        return MAP_KIND_DEVICE;
    return MAP_KIND_FILE_PRIVATE;
}

static enum map_kind kind_of(const struct mapping *m)
{
    static const char *const kernels[] = {"[vdso]", "[vvar", "[vsyscall]"};
    if (m->name[0] == '[' && starts_with_any(m->name, kernels, GC_COUNT(kernels)))
        return MAP_KIND_DEVICE;
    if (m->shared)
        return kind_of_shared(m->name);
    if (m->name[0] == '/')
        return kind_of_private_path(m->name);
    return m->inode != 0 ? MAP_KIND_FILE_PRIVATE : MAP_KIND_ANONYMOUS;
}

bool maps_parse_line(char *line, struct mapping *out)
{
    uint64_t device;
    if (!(line = parse_hex(line, '-', &out->start)) || !(line = parse_hex(line, ' ', &out->end)) ||
        !(line = parse_permissions(line, out)) || !(line = parse_hex(line, ' ', &out->offset)) ||
        !(line = parse_hex(line, ':', &device)) || !(line = parse_hex(line, ' ', &device)) ||
        !(line = parse_inode(line, &out->inode)))
        return false;
    while (*line == ' ')
        line++;
    out->name = line;
    out->kind = kind_of(out);
    GC_ASSERT(out->kind < MAP_KIND_COUNT);
    return out->start < out->end;
}

/* ---- the file ---- */

bool maps_open(struct maps_reader *r, char *buffer, size_t capacity)
{
    GC_CHECK(capacity >= MAPS_BUFFER_MIN);
    *r = (struct maps_reader){.buffer = buffer, .capacity = capacity};
    r->fd = (int)syscall3(__NR_open, (long)"/proc/thread-self/maps", O_RDONLY | O_CLOEXEC, 0);
    r->failed = r->fd < 0;
    return !r->failed;
}

void maps_close(struct maps_reader *r)
{
    if (r->fd >= 0)
        syscall1(__NR_close, r->fd);
    r->fd = -1;
}

/* linux/fs.h of 6.11: struct procmap_query. */
struct map_query {
    uint64_t size, flags, address;
    uint64_t start, end, vma_flags, page_size, offset, inode;
    uint32_t device_major, device_minor, name_size, build_id_size;
    uint64_t name, build_id;
};
_Static_assert(sizeof(struct map_query) == 104, "the kernel's struct procmap_query");

#define QUERY_IOCTL _IOWR('f', 17, struct map_query)

bool maps_is_whole(struct maps_reader *r, uintptr_t start, uintptr_t end)
{
    struct map_query query = {.size = sizeof(query), .address = start};
    return syscall3(__NR_ioctl, r->fd, QUERY_IOCTL, (long)&query) == 0 && query.start == start &&
           query.end == end;
}

/* Reads more text behind what is left. False: end of file, or failed. */
static bool maps_refill(struct maps_reader *r)
{
    size_t left = r->used - r->next;
    memmove(r->buffer, r->buffer + r->next, left); /* .inv.line */
    r->next = 0;
    r->used = left;
    long got;
    do
        got = syscall3(__NR_read, r->fd, (long)(r->buffer + left), (long)(r->capacity - left));
    while (got == -EINTR);
    if (got > 0) {
        r->used += (size_t)got;
        return true;
    }
    /* An error, a line longer than the buffer, or a file that ends within a line. */
    r->failed = got < 0 || left > 0;
    return false;
}

bool maps_next(struct maps_reader *r, struct mapping *out)
{
    char *newline;
    if (r->failed)
        return false;
    GC_ASSERT(r->next <= r->used && r->used <= r->capacity);
    while (!(newline = memchr(r->buffer + r->next, '\n', r->used - r->next)))
        if (!maps_refill(r))
            return false;
    char *line = r->buffer + r->next;
    *newline = '\0';
    r->next = (size_t)(newline - r->buffer) + 1;
    r->failed = !maps_parse_line(line, out);
    return !r->failed;
}
