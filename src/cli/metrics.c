/* metrics.c -- `gcmalloc metrics`: the figures of a process as OpenMetrics text (watch/metrics.c).
 *
 * With --every the file appears by rename: a reader sees the one before or this one, whole. */
#include "watch/metrics.h"

#include "cli/values.h"
#include "cli/fault.h"
#include "cli/instant.h"
#include "cli/process.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct order {
    const char *pid, *prefix, *path;
    uint64_t every, timeout;
};

/* As the process itself counts them. */
static unsigned processors_of(int pid)
{
    cpu_set_t set;
    if (sched_getaffinity(pid, sizeof(set), &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    return (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
}

static void put_line(const char *line, void *out)
{
    fputs(line, out);
}

static void write_text(const struct order *order, const struct process *p,
                       const struct stats_page *page, FILE *out)
{
    struct metrics_source source = {
        .prefix = order->prefix,
        .program = p->name,
        .pid = p->pid,
        .processors = processors_of(p->pid),
        .page = page,
    };
    metrics_each_line(&source, put_line, out);
}

static enum status cannot_write(const char *path)
{
    return fault(STATUS_OUTPUT, "%s: %s", path, strerror(errno));
}

static enum status write_file(const struct order *order, const struct process *p,
                              const struct stats_page *page)
{
    char fresh[4096];
    snprintf(fresh, sizeof(fresh), "%s.%d.new", order->path, (int)getpid());
    FILE *out = fopen(fresh, "we");
    if (out == NULL)
        return cannot_write(fresh);
    write_text(order, p, page, out);
    bool written = ferror(out) == 0;
    written = fclose(out) == 0 && written;
    if (written && rename(fresh, order->path) == 0)
        return STATUS_OK;
    enum status status = cannot_write(order->path);
    unlink(fresh);
    return status;
}

static enum status write_once(const struct order *order, struct process *p)
{
    static struct stats_page page;
    enum status status = process_look_anew(p, &page, order->every + 2 * NS_PER_SECOND);
    if (status != STATUS_OK)
        return status;
    if (order->path != NULL)
        return write_file(order, p, &page);
    write_text(order, p, &page, stdout);
    return fflush(stdout) == 0 ? STATUS_OK : cannot_write("standard output");
}

/* Until the process ends, which is no fault of its own here. The file goes with it: what it says
 * is true no more. */
static enum status write_again(const struct order *order, struct process *p)
{
    struct pollfd end = {.fd = p->pidfd, .events = POLLIN};
    enum status status = write_once(order, p);
    if (status != STATUS_OK)
        return status;
    while (status == STATUS_OK && poll(&end, 1, (int)(order->every / NS_PER_MS)) <= 0)
        status = write_once(order, p);
    unlink(order->path);
    return process_ended(p) ? STATUS_OK : status;
}

static enum status run(const struct order *order)
{
    struct process p;
    enum status status = process_find(&p, order->pid);
    if (status != STATUS_OK)
        return status;
    if (order->timeout != 0)
        p.answer_ns = order->timeout;
    status = process_attach(&p);
    if (status == STATUS_OK)
        status = order->every != 0 ? write_again(order, &p) : write_once(order, &p);
    process_release(&p);
    return status;
}

static bool is_name(const char *text)
{
    bool good = strlen(text) <= METRICS_PREFIX_MAX;
    good = good && (isalpha((unsigned char)*text) || *text == '_' || *text == ':');
    for (; good && *text != '\0'; text++)
        good = isalnum((unsigned char)*text) || *text == '_' || *text == ':';
    return good;
}

static enum status check(const struct order *order)
{
    if (!is_name(order->prefix))
        return fault(STATUS_USAGE, "--prefix: '%.40s' is no name of a metric", order->prefix);
    if (order->every != 0 && order->path == NULL)
        return fault(STATUS_USAGE, "--every needs --output PATH");
    return STATUS_OK;
}

int metrics_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"prefix", required_argument, NULL, 'p'}, {"every", required_argument, NULL, 'e'},
        {"output", required_argument, NULL, 'o'}, {"timeout", required_argument, NULL, 't'}, {0}};
    struct order order = {.prefix = "gcmalloc"};
    for (int c; (c = getopt_long(argc, argv, "o:", options, NULL)) != -1;) {
        enum status status = STATUS_OK;
        if (c == 'p')
            order.prefix = optarg;
        else if (c == 'o')
            order.path = optarg;
        else if (c == 'e')
            status = values_seconds("--every", optarg, &order.every);
        else if (c == 't')
            status = values_seconds("--timeout", optarg, &order.timeout);
        else
            status = STATUS_USAGE;
        if (status != STATUS_OK)
            return status;
    }
    order.pid = values_only(argv[0], argc, argv);
    enum status status = order.pid == NULL ? STATUS_USAGE : check(&order);
    return status == STATUS_OK ? run(&order) : status;
}
