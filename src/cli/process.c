/* process.c -- a running process with the library: found, checked, asked, and watched.
 *
 * A signal sent to a process that does not expect it ends that process. So everything is looked at
 * before anything is sent, and what was looked at cannot turn into something else in between:
 *
 *   .inv.pinned  The pidfd is opened first. As long as it does not say that the process has ended
 *                the number means the process that was checked.
 *   .inv.caught  The signal is sent only where the library is mapped and the signal has a handler,
 *                and both are looked at again before each signal: exec takes handlers away.
 *
 * An exec between that look and the signal remains: some microseconds, once for a request. */
#include "cli/process.h"

#include "cli/executable.h"
#include "cli/fault.h"
#include "cli/instant.h"
#include "cli/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <asm/unistd.h>
#include <unistd.h>

#define THREAD_NAME "gcmalloc\n"
#define PAGE_LINK "memfd:gcmalloc-stats"
#define LIBRARY "/libgcmalloc.so"

/* The collector's thread looks once a second whether anybody watches. */
#define RENEWAL_NS (2 * NS_PER_SECOND)

enum {
    STATUS_SIZE = 8192,
    FIRST_WAIT_MS = 1,
    LONGEST_WAIT_MS = 50,
};

/* ---- what kind of process it is -------------------------------------------------------------- */

static int open_pidfd(int pid)
{
    return (int)syscall(__NR_pidfd_open, pid, 0);
}

bool process_ended(const struct process *p)
{
    struct pollfd ended = {.fd = p->pidfd, .events = POLLIN};
    return poll(&ended, 1, 0) > 0;
}

static bool mapped_from(const char *line)
{
    const char *name = strrchr(line, '/');
    return name != NULL && strncmp(name, LIBRARY, strlen(LIBRARY)) == 0;
}

/* False with errno 0: the maps can be read, and the library is not among them. */
static bool library_mapped(int pid)
{
    FILE *maps = procfs_open("/proc/%d/maps", pid);
    if (maps == NULL)
        return false;
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    while (!found && getline(&line, &room, maps) >= 0)
        found = mapped_from(line);
    free(line);
    fclose(maps);
    errno = 0;
    return found;
}

bool process_has_library(int pid)
{
    return library_mapped(pid);
}

static bool signal_caught(int pid, int signal)
{
    char status[STATUS_SIZE];
    if (!procfs_read(status, sizeof(status), "/proc/%d/status", pid))
        return false;
    const char *caught = procfs_field(status, "SigCgt");
    return caught != NULL && (strtoull(caught, NULL, 16) >> (signal - 1) & 1) != 0;
}

static int last_number(const char *numbers)
{
    int number = 0;
    char *end;
    for (long next; next = strtol(numbers, &end, 10), end != numbers && *numbers != '\n';) {
        number = (int)next;
        numbers = end;
    }
    return number;
}

/* What GCMALLOC=signal=N says in the process's environment; without it the library's default. */
static int reserved_signal(int pid)
{
    int signal = 0;
    FILE *environment = procfs_open("/proc/%d/environ", pid);
    if (environment == NULL)
        return STATS_SIGNAL;
    char *word = NULL;
    size_t room = 0;
    while (getdelim(&word, &room, '\0', environment) >= 0) {
        if (strncmp(word, "GCMALLOC=", 9) != 0)
            continue;
        for (const char *at = word + 8; at != NULL; at = strchr(at, ','))
            if (strncmp(++at, "signal=", 7) == 0)
                signal = atoi(at + 7);
    }
    free(word);
    fclose(environment);
    return signal >= SIGRTMIN && signal <= SIGRTMAX ? signal : STATS_SIGNAL;
}

static enum status parse(struct process *p, const char *text)
{
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || pid <= 0 || pid > INT32_MAX)
        return fault(STATUS_USAGE, "'%s' is not the number of a process", text);
    p->pid = (int)pid;
    return STATUS_OK;
}

static enum status ended(const struct process *p)
{
    return fault(STATUS_NO_PROCESS, "process %d has ended", p->pid);
}

static enum status denied(int pid)
{
    return fault(STATUS_DENIED,
                 "process %d may not be looked at: it is another user's, or not dumpable", pid);
}

/* Numbers of another name space of processes would lead to the wrong ones. */
static enum status check_proc(void)
{
    char self[32];
    if (!procfs_link(self, sizeof(self), "/proc/self"))
        return fault(STATUS_NO_FILE, "/proc is not mounted");
    if (atoi(self) != getpid())
        return fault(STATUS_NO_FILE, "/proc is of another name space of processes than ours");
    return STATUS_OK;
}

static enum status read_status(struct process *p)
{
    char status[STATUS_SIZE];
    if (!procfs_read(status, sizeof(status), "/proc/%d/status", p->pid))
        return ended(p);
    const char *group = procfs_field(status, "Tgid");
    const char *inside = procfs_field(status, "NSpid"), *name = procfs_field(status, "Name");
    if (group != NULL && atoi(group) != p->pid)
        return fault(STATUS_NO_PROCESS, "%d is no process but a thread of process %d", p->pid,
                     atoi(group));
    p->inside = inside != NULL ? last_number(inside) : p->pid;
    snprintf(p->name, sizeof(p->name), "%.*s", name != NULL ? (int)strcspn(name, "\n") : 1,
             name != NULL ? name : "?");
    return STATUS_OK;
}

static enum status without_library(const struct process *p)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/exe", p->pid);
    const char *why = executable_unfit(path);
    return fault(STATUS_NO_LIBRARY, "process %d (%s) runs without the library%s%s", p->pid, p->name,
                 why != NULL ? ": " : "", why != NULL ? why : "");
}

static enum status check_library(struct process *p)
{
    if (!library_mapped(p->pid)) {
        if (errno == EACCES || errno == EPERM)
            return denied(p->pid);
        return process_ended(p) ? ended(p) : without_library(p);
    }
    if (p->signal == 0)
        p->signal = reserved_signal(p->pid);
    if (!signal_caught(p->pid, p->signal))
        return process_ended(p) ? ended(p)
                                : fault(STATUS_NO_LIBRARY,
                                        "process %d (%s) has the library, but no handler of its "
                                        "signal %d: it cannot be asked",
                                        p->pid, p->name, p->signal);
    return STATUS_OK;
}

enum status process_find(struct process *p, const char *text)
{
    *p = (struct process){.pidfd = -1, .page = {.fd = -1}};
    p->answer_ns = PROCESS_ANSWER_SECONDS * NS_PER_SECOND;
    enum status status = parse(p, text);
    if (status == STATUS_OK)
        status = check_proc();
    if (status != STATUS_OK)
        return status;
    p->pidfd = open_pidfd(p->pid);
    if (p->pidfd < 0 && errno == ESRCH)
        return fault(STATUS_NO_PROCESS, "there is no process %d", p->pid);
    status = read_status(p);
    if (status == STATUS_OK && p->pidfd < 0)
        status = fault(STATUS_NO_PROCESS, "process %d: %s", p->pid, strerror(errno));
    if (status == STATUS_OK)
        status = check_library(p);
    if (status != STATUS_OK)
        process_release(p);
    return status;
}

void process_release(struct process *p)
{
    page_close(&p->page);
    if (p->pidfd >= 0)
        close(p->pidfd);
    p->pidfd = -1;
}

/* ---- the page -------------------------------------------------------------------------------- */

/* The descriptor of a task that is a page; -1: it has none. */
static int find_link(int pid, int tid)
{
    struct procfs_numbers fds = procfs_numbers("/proc/%d/task/%d/fd", pid, tid);
    int found = -1;
    for (size_t i = 0; i < fds.count && found < 0; i++) {
        char link[256];
        if (procfs_link(link, sizeof(link), "/proc/%d/task/%d/fd/%d", pid, tid, fds.list[i]) &&
            strstr(link, PAGE_LINK) != NULL)
            found = fds.list[i];
    }
    free(fds.list);
    return found;
}

static enum page_state open_page(struct process *p, int tid, int fd, uint32_t *version)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", p->pid, tid, fd);
    int page = open(path, O_RDWR | O_CLOEXEC);
    p->tid = tid;
    return page < 0 ? PAGE_MISSING : page_open(&p->page, page, version);
}

static bool is_library_thread(int pid, int tid)
{
    char name[32];
    return procfs_read(name, sizeof(name), "/proc/%d/task/%d/comm", pid, tid) &&
           strcmp(name, THREAD_NAME) == 0;
}

/* Several threads may have the name (a deputy has it, a thread of the program may): the page tells
 * which one it is. Without a page p->tid is the last one of the name, or the main thread. */
static enum page_state find_page(struct process *p, uint32_t *version)
{
    enum page_state state = PAGE_MISSING;
    struct procfs_numbers tasks = procfs_numbers("/proc/%d/task", p->pid);
    int named = p->pid;
    page_close(&p->page);
    for (size_t i = 0; i < tasks.count && state == PAGE_MISSING; i++) {
        if (!is_library_thread(p->pid, tasks.list[i]))
            continue;
        named = tasks.list[i];
        int fd = find_link(p->pid, named);
        if (fd >= 0)
            state = open_page(p, named, fd, version);
    }
    free(tasks.list);
    p->tid = named;
    return state;
}

enum page_state process_renew(struct process *p)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d", p->pid, p->tid);
    uint32_t version;
    return access(path, F_OK) == 0 ? PAGE_GOOD : find_page(p, &version);
}

static enum status bad_page(const struct process *p, enum page_state state, uint32_t version)
{
    if (process_ended(p))
        return ended(p);
    if (state == PAGE_FOREIGN && version != STATS_VERSION)
        return fault(STATUS_FOREIGN,
                     "the page of process %d is of version %u, this command reads version %d",
                     p->pid, version, STATS_VERSION);
    if (state == PAGE_FOREIGN)
        return fault(STATUS_FOREIGN, "the page of process %d is not laid out as it should be",
                     p->pid);
    return fault(STATUS_TIMEOUT, "process %d does not answer within %.3g s", p->pid,
                 (double)p->answer_ns / (double)NS_PER_SECOND);
}

/* Sleeps, a little longer each time, but not beyond the end of the process or of patience. */
static bool wait_on(const struct process *p, uint64_t deadline, int *ms)
{
    struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
    if (instant_now() >= deadline || poll(&end, 1, *ms) > 0)
        return false;
    *ms = 2 * *ms > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : 2 * *ms;
    return true;
}

/* ---- requests -------------------------------------------------------------------------------- */

static int queue_signal(const struct process *p, enum stats_command command)
{
    siginfo_t info = {.si_signo = p->signal, .si_code = SI_QUEUE};
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = (int)(STATS_MAGIC_VALUE | (unsigned)command);
    return (int)syscall(__NR_rt_tgsigqueueinfo, p->pid, p->tid, p->signal, &info);
}

enum status process_ask(struct process *p, enum stats_command command)
{
    enum status status = process_ended(p) ? ended(p) : check_library(p);
    if (status != STATUS_OK)
        return status;
    if (queue_signal(p, command) == 0)
        return STATUS_OK;
    if (errno == EPERM)
        return denied(p->pid);
    return process_ended(p) ? ended(p)
                            : fault(STATUS_NO_PROCESS, "process %d cannot be asked: %s", p->pid,
                                    strerror(errno));
}

enum status process_attach(struct process *p)
{
    uint32_t version = 0;
    enum page_state state = find_page(p, &version);
    if (state == PAGE_MISSING) {
        enum status status = process_ask(p, STATS_ATTEND);
        if (status != STATUS_OK)
            return status;
        uint64_t deadline = instant_now() + p->answer_ns;
        for (int ms = FIRST_WAIT_MS; state == PAGE_MISSING && wait_on(p, deadline, &ms);)
            state = find_page(p, &version);
    }
    return state == PAGE_GOOD ? STATUS_OK : bad_page(p, state, version);
}

enum status process_look(struct process *p, struct stats_page *page)
{
    enum page_state state = page_copy(&p->page, page);
    if (state != PAGE_GOOD)
        return bad_page(p, state, STATS_VERSION);
    if (page->pid != p->inside)
        return fault(STATUS_FOREIGN, "the page of process %d says that it is of process %d", p->pid,
                     page->pid);
    p->signal = page->signal;
    return STATUS_OK;
}

enum status process_look_anew(struct process *p, struct stats_page *page, uint64_t watch_ns)
{
    enum status status = process_look(p, page);
    uint64_t before = page->renewed, deadline = instant_now() + RENEWAL_NS;
    if (status != STATUS_OK || !page_watch(&p->page, watch_ns))
        return status;
    for (int ms = FIRST_WAIT_MS;
         status == STATUS_OK && page->renewed == before && wait_on(p, deadline, &ms);)
        status = process_look(p, page);
    return process_ended(p) ? ended(p) : status;
}

static uint32_t answers(const struct stats_page *page, enum stats_command command)
{
    return command == STATS_SNAPSHOT ? page->snapshots_done : page->collects_done;
}

enum status process_request(struct process *p, enum stats_command command, struct stats_page *page)
{
    enum status status = process_look(p, page);
    uint32_t before = answers(page, command);
    if (status == STATUS_OK)
        status = process_ask(p, command);
    uint64_t deadline = instant_now() + p->answer_ns;
    for (int ms = FIRST_WAIT_MS; status == STATUS_OK && answers(page, command) == before;) {
        if (!wait_on(p, deadline, &ms))
            return bad_page(p, PAGE_BUSY, STATS_VERSION);
        status = process_look(p, page);
    }
    return status;
}
