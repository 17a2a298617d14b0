/* collect.c -- `gcmalloc collect`: a cycle now, and what it found. */
#include "cli/values.h"
#include "cli/fault.h"
#include "cli/process.h"
#include "cli/units.h"

#include <getopt.h>
#include <stdio.h>

static const struct stats_cycle *last_cycle(const struct stats_page *page)
{
    return &page->cycles[(page->cycles_next + STATS_CYCLES - 1) % STATS_CYCLES];
}

static const char *why_not(const struct stats_page *page)
{
    return page->interlock[0] != '\0' ? page->interlock : page->not_collected;
}

static void print_cycle(const struct process *p, const struct stats_page *before,
                        const struct stats_page *after)
{
    const struct stats_cycle *cycle = last_cycle(after);
    uint64_t bytes = after->totals.reclaimed_bytes - before->totals.reclaimed_bytes;
    uint64_t blocks = after->totals.reclaimed_blocks - before->totals.reclaimed_blocks;
    printf("%d (%s): %s live, %s in %lu blocks unreached, %s in %lu blocks reclaimed; "
           "took %s, stopped for %s%s%s\n",
           p->pid, p->name, units_bytes(after->totals.heap_live).text,
           units_bytes(after->totals.unreached_bytes).text, after->totals.unreached_blocks,
           units_bytes(bytes).text, blocks, units_duration(cycle->took).text,
           units_duration(cycle->paused).text, *why_not(after) != '\0' ? "; " : "",
           why_not(after));
}

static enum status collect(struct process *p)
{
    static struct stats_page before, after;
    enum status status = process_attach(p);
    if (status == STATUS_OK)
        status = process_look(p, &before);
    if (status == STATUS_OK)
        status = process_request(p, STATS_COLLECT, &after);
    if (status != STATUS_OK)
        return status;
    if (after.totals.cycles == before.totals.cycles)
        return fault(STATUS_TIMEOUT, "process %d finished no cycle%s%s", p->pid,
                     *why_not(&after) != '\0' ? ": " : "", why_not(&after));
    print_cycle(p, &before, &after);
    return fflush(stdout) == 0 ? STATUS_OK
                               : fault(STATUS_OUTPUT, "standard output cannot be written");
}

int collect_main(int argc, char **argv)
{
    static const struct option options[] = {{"timeout", required_argument, NULL, 't'}, {0}};
    uint64_t timeout = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        enum status status = c == 't' ? values_seconds("--timeout", optarg, &timeout)
                                      : STATUS_USAGE;
        if (status != STATUS_OK)
            return status;
    }
    const char *pid = values_only(argv[0], argc, argv);
    struct process p;
    enum status status = pid == NULL ? STATUS_USAGE : process_find(&p, pid);
    if (status != STATUS_OK)
        return status;
    if (timeout != 0)
        p.answer_ns = timeout;
    status = collect(&p);
    process_release(&p);
    return status;
}
