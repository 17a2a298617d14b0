/* snapshot.c -- `gcmalloc snapshot`: a profile (watch/profile.h) of a running process, as a file.
 *
 * The process writes it into a memfd; from there it is copied, so the process needs no right to
 * write files, and the file belongs to whoever asked.
 *
 *   .inv.whole  A file that stays has its last line, `end N`, with the right N. */
#include "cli/snapshot.h"

#include "cli/values.h"
#include "cli/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNRECORDED "unrecorded "

/* What was copied: complete lines, and the one that is not. Of each its beginning. */
struct tail {
    uint64_t lines;
    size_t used;
    char last[160], line[160]; /* the last complete line, and what came after it */
    char unrecorded[160];      /* why there are no stacks (watch/profile.h), or "" */
};

static void tail_feed(struct tail *tail, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '\n') {
            if (tail->used < sizeof(tail->line) - 1)
                tail->line[tail->used++] = text[i];
            continue;
        }
        memcpy(tail->last, tail->line, tail->used);
        tail->last[tail->used] = '\0';
        if (strncmp(tail->last, UNRECORDED, strlen(UNRECORDED)) == 0)
            strcpy(tail->unrecorded, tail->last + strlen(UNRECORDED));
        tail->used = 0;
        tail->lines++;
    }
}

static bool tail_is_end(const struct tail *tail)
{
    char *end;
    if (tail->used != 0 || strncmp(tail->last, "end ", 4) != 0)
        return false;
    return strtoul(tail->last + 4, &end, 10) + 1 == tail->lines && *end == '\0';
}

static bool write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, text, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        text += done;
        size -= (size_t)done;
    }
    return true;
}

static enum status copy(int from, int to, const char *path)
{
    static char buffer[1 << 16];
    struct tail tail = {0};
    ssize_t got;
    while ((got = read(from, buffer, sizeof(buffer))) > 0) {
        tail_feed(&tail, buffer, (size_t)got);
        if (!write_all(to, buffer, (size_t)got))
            return fault(STATUS_OUTPUT, "%s: %s", path, strerror(errno));
    }
    if (got < 0 || !tail_is_end(&tail))
        return fault(STATUS_TRUNCATED, "the profile that the process wrote is not whole");
    if (tail.unrecorded[0] != '\0')
        fprintf(stderr, "gcmalloc: no stacks are in it: %s\n", tail.unrecorded);
    return STATUS_OK;
}

/* A device or a pipe may be written though it is there. */
static bool is_in_the_way(const char *path)
{
    struct stat existing;
    return stat(path, &existing) == 0 && !S_ISCHR(existing.st_mode) && !S_ISFIFO(existing.st_mode);
}

static enum status refuse(const char *path)
{
    return fault(STATUS_OUTPUT, "%s exists; --force overwrites it", path);
}

static enum status copy_to(int from, const char *path, bool force)
{
    bool fresh = !force && access(path, F_OK) != 0;
    if (!force && is_in_the_way(path))
        return refuse(path);
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (fresh ? O_EXCL : O_TRUNC);
    int to = open(path, flags, 0666);
    if (to < 0 && errno == EEXIST)
        return refuse(path);
    if (to < 0)
        return fault(STATUS_OUTPUT, "%s: %s", path, strerror(errno));
    enum status status = copy(from, to, path);
    if (close(to) != 0 && status == STATUS_OK)
        status = fault(STATUS_OUTPUT, "%s: %s", path, strerror(errno));
    if (status != STATUS_OK && is_in_the_way(path))
        unlink(path);
    return status;
}

static int open_profile(const struct process *p, const struct stats_page *page)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", p->pid, p->tid, page->snapshot_fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

enum status snapshot_fetch(const struct process *p, const struct stats_page *page, const char *path,
                           bool force, char *name)
{
    if (page->snapshot_fd < 0)
        return fault(STATUS_OUTPUT, "process %d could not write a profile", p->pid);
    int from = open_profile(p, page);
    if (from < 0)
        return process_ended(p) ? fault(STATUS_NO_PROCESS, "process %d has ended", p->pid)
                                : fault(STATUS_NO_FILE, "the profile of process %d: %s", p->pid,
                                        strerror(errno));
    if (path != NULL)
        snprintf(name, SNAPSHOT_NAME, "%s", path);
    else
        snprintf(name, SNAPSHOT_NAME, "gcmalloc.%d.%u.profile", p->pid, page->snapshots_done);
    enum status status = copy_to(from, name, force);
    close(from);
    return status;
}

static enum status take(struct process *p, const char *path, bool force, char *name)
{
    static struct stats_page page;
    if (path != NULL && !force && is_in_the_way(path))
        return refuse(path);
    enum status status = process_attach(p);
    if (status == STATUS_OK)
        status = process_request(p, STATS_SNAPSHOT, &page);
    return status == STATUS_OK ? snapshot_fetch(p, &page, path, force, name) : status;
}

static enum status snapshot(const char *pid, const char *path, bool force, uint64_t timeout)
{
    char name[SNAPSHOT_NAME];
    struct process p;
    enum status status = process_find(&p, pid);
    if (status != STATUS_OK)
        return status;
    if (timeout != 0)
        p.answer_ns = timeout;
    status = take(&p, path, force, name);
    if (status == STATUS_OK && is_in_the_way(name))
        printf("%s\n", name);
    process_release(&p);
    return status;
}

int snapshot_main(int argc, char **argv)
{
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"force", no_argument, NULL, 'f'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {0}};
    const char *path = NULL;
    bool force = false;
    uint64_t timeout = 0;
    for (int c; (c = getopt_long(argc, argv, "o:f", options, NULL)) != -1;) {
        if (c == 'o')
            path = optarg;
        else if (c == 'f')
            force = true;
        else if (c != 't' || values_seconds("--timeout", optarg, &timeout) != STATUS_OK)
            return STATUS_USAGE;
    }
    const char *pid = values_only(argv[0], argc, argv);
    if (pid == NULL)
        return STATUS_USAGE;
    if (path != NULL && strlen(path) >= SNAPSHOT_NAME)
        return fault(STATUS_USAGE, "the name of the output is too long");
    return snapshot(pid, path, force, timeout);
}
