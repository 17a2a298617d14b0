/* kernel_roots.c -- a connection of which only its epoll set knows.
 *
 * Theory: epoll keeps a word for each file, a timer the value of its signal; programs put pointers
 * there, and some keep no other. /proc shows them: a line for each file of an epoll set in the
 * set's fdinfo, and the list of timers. Both are read beside the program, once in a mark.
 *
 *   .inv.given     A word that is given to the kernel during a mark is noted by the wrapper, after
 *                  the system call, if it finds `marking` set; it lies in the program's memory
 *                  until then. `marking` is set before /proc is read. So at the last look each word
 *                  that the kernel holds was read from /proc, or is noted, or is in memory that is
 *                  scanned then.
 *   .inv.taken     What the kernel gives back was in its hands when /proc was read, or was given to
 *                  it since.
 *   .inv.noted     A slot of noted[] is claimed and filled by one compare-and-swap. If there is
 *                  none free, `overflowed` is set, and /proc is read again.
 *
 * A program that never put a pointer into the heap there, by libc's functions, costs nothing. The
 * descriptors are those of a task of the program's, for the collector's thread has a table of its
 * own. */
#include "gc/kernel_roots.h"

#include "base/atomic.h"
#include "gc/scan.h"
#include "heap/meta.h"
#include "sys/directory.h"
#include "sys/proc_text.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum {
    NOTED_MOST = 256,
    READ_MOST = 4096,      /* no line is longer */
};

static struct {
    _Atomic uint32_t kinds;      /* were ever used */
    _Atomic bool marking, overflowed;
    _Atomic uint32_t next;       /* where to look for a free slot: a guess */
    _Atomic uintptr_t noted[NOTED_MOST];
    struct marker *marker;       /* the collector's, while it reads */
    int32_t task;                /* whose descriptors it reads */
    char text[READ_MOST];
} kernel;

static bool note(uintptr_t word)
{
    uint32_t from = relaxed_load(&kernel.next);
    for (uint32_t i = 0; i < NOTED_MOST; i++) {
        uintptr_t empty = 0;
        if (!atomic_compare_exchange_strong(&kernel.noted[(from + i) % NOTED_MOST], &empty, word))
            continue;
        relaxed_store(&kernel.next, (from + i + 1) % NOTED_MOST);
        return true;
    }
    return false;
}

void kernel_roots_shade(enum kernel_roots_kind kind, uintptr_t word)
{
    word = scan_untag(word);
    if (!arena_contains(word)) /* a number of a file, for the most part */
        return;
    if ((relaxed_load(&kernel.kinds) & kind) == 0)
        atomic_fetch_or(&kernel.kinds, kind);
    if (atomic_load(&kernel.marking) && !note(word))
        atomic_store(&kernel.overflowed, true);
}

/* ---- reading ---- */

static void mark_line(const char *line, const char *key)
{
    uintptr_t word;
    if (proc_text_hex(line, key, &word) != NULL)
        mark_word(kernel.marker, word);
}

/* Marks the number behind `key` in each line of the file, which `may_be_gone`. */
static bool mark_file(const char *path, const char *key, bool may_be_gone)
{
    size_t have = 0;
    long got, fd = syscall3(__NR_open, (long)path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return may_be_gone && fd == -ENOENT;
    while ((got = syscall3(__NR_read, fd, (long)kernel.text + (long)have,
                           (long)(READ_MOST - 1 - have))) > 0) {
        have += (size_t)got;
        kernel.text[have] = '\0';
        char *line = kernel.text;
        for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            mark_line(line, key);
        }
        have -= (size_t)(line - kernel.text);
        memmove(kernel.text, line, have);
    }
    syscall1(__NR_close, fd);
    return got == 0;
}

/* What the descriptor is: 1 an epoll set, 0 not, or closed meanwhile; -1: that is not told. */
static int is_epoll(int32_t task, const char *name)
{
    static const char wanted[] = "anon_inode:[eventpoll]";
    char target[sizeof wanted];
    struct task_path path = task_path(task, "fd", name);
    long got = syscall3(__NR_readlink, (long)path.text, (long)target, sizeof target);
    if (got < 0)
        return got == -ENOENT ? 0 : -1;
    return got == sizeof wanted - 1 && memcmp(target, wanted, sizeof wanted - 1) == 0;
}

static bool mark_entry(const char *name, void *data)
{
    (void)data;
    int epoll = name[0] == '.' ? 0 : is_epoll(kernel.task, name);
    if (epoll <= 0)
        return epoll == 0;
    struct task_path path = task_path(kernel.task, "fdinfo", name);
    return mark_file(path.text, " data:", true);
}

static const char *mark_epolls(int32_t task)
{
    struct task_path path = task_path(task, "fdinfo", NULL);
    kernel.task = task;
    return directory_each(path.text, mark_entry, NULL)
               ? NULL
               : "the kernel does not tell what epoll holds (fdinfo)";
}

static const char *mark_all(struct marker *m, int32_t task)
{
    uint32_t kinds = relaxed_load(&kernel.kinds);
    const char *reason = NULL;
    kernel.marker = m;
    if (kinds & KERNEL_ROOTS_EPOLL)
        reason = mark_epolls(task);
    if (reason == NULL && (kinds & KERNEL_ROOTS_TIMERS) &&
        !mark_file("/proc/self/timers", "/", false))
        reason = "the kernel does not tell what timers hold (/proc/self/timers)";
    return reason;
}

static const char *begin(struct marker *m, int32_t task)
{
    for (unsigned i = 0; i < NOTED_MOST; i++)
        relaxed_store(&kernel.noted[i], 0);
    relaxed_store(&kernel.overflowed, false);
    atomic_store(&kernel.marking, true);
    const char *reason = mark_all(m, task);
    if (reason != NULL)
        kernel_roots_end();
    return reason;
}

const char *kernel_roots_scan(struct marker *m, int32_t task)
{
    if (!relaxed_load(&kernel.marking))
        return begin(m, task);
    for (unsigned i = 0; i < NOTED_MOST; i++)
        mark_word(m, acquire_load(&kernel.noted[i]));
    return atomic_exchange(&kernel.overflowed, false) ? mark_all(m, task) : NULL;
}

void kernel_roots_end(void)
{
    atomic_store(&kernel.marking, false);
}
