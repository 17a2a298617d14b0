/* metrics_file.c -- the figures of this process, again and again, for node_exporter's textfile
 * collector and its like.
 *
 *   .inv.one    A file belongs to one process. A child of fork has another one if its number is in
 *               the name; else it may have its parent's when there is none any more, neither who
 *               began the file nor who forked the child: daemons are such children.
 *   .inv.once   What is wrong is said once, and tried again: a full disk may be empty tomorrow, and
 *               a line each quarter of a minute helps nobody.
 *
 * At the process's end the file stays as it is; its time tells its age. */
#include "watch/metrics_file.h"

#include "sys/file.h"
#include "sys/options.h"
#include "sys/print.h"
#include "sys/syscall.h"
#include "sys/task.h"
#include "watch/destination.h"
#include "watch/metrics.h"
#include "watch/textfile.h"

#include <errno.h>
#include <string.h>

enum { PROGRAM_MAX = 64 };

static struct {
    int32_t self, parent, owner;
    bool said;      /* .inv.once */
} metrics_file;

void metrics_file_start(void)
{
    metrics_file.self = metrics_file.owner = (int32_t)syscall0(__NR_getpid);
}

void metrics_file_after_fork(void)
{
    metrics_file.parent = metrics_file.self;
    metrics_file.self = (int32_t)syscall0(__NR_getpid);
}

bool metrics_file_wanted(void)
{
    return options.mode != MODE_OFF && strcmp(options.metrics, "off") != 0;
}

static bool is_there(int32_t pid)
{
    return syscall2(__NR_kill, pid, 0) != -ESRCH;
}

/* In a name space of processes of its own a child knows nobody's number. */
static bool is_ours(void)
{
    if (destination_names_process(options.metrics))
        return true;
    if (metrics_file.owner != metrics_file.self && syscall0(__NR_getppid) != 0 &&
        !is_there(metrics_file.owner) && !is_there(metrics_file.parent))
        metrics_file.owner = metrics_file.self; /* .inv.one */
    return metrics_file.owner == metrics_file.self;
}

static void add_line(const char *line, void *data)
{
    printer_printf(data, "%s", line);
}

/* The main thread's name, which is the process's. */
static void read_program(char name[PROGRAM_MAX])
{
    long got = file_read("/proc/self/comm", name, PROGRAM_MAX - 1);
    name[got > 0 ? got : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
}

static void say(const char *path, long error)
{
    if (metrics_file.said)
        return;
    metrics_file.said = true;
    if (error == -EEXIST)
        print_error("the metrics are not written to '%s': it is no regular file", path);
    else
        print_error("the metrics cannot be written to '%s' (error %ld)", path, -error);
}

void metrics_file_write(const struct stats_page *page)
{
    struct textfile f;
    char program[PROGRAM_MAX];
    if (!is_ours())
        return;
    read_program(program);
    struct metrics_source source = {
        .prefix = "gcmalloc",
        .program = program,
        .pid = page->pid,
        .processors = task_processors(),
        .page = page,
    };
    long error = textfile_open(&f, options.metrics);
    if (error == 0) {
        metrics_each_line(&source, add_line, &f.out);
        error = textfile_close(&f);
    }
    if (error != 0)
        say(f.path.text, error);
}
