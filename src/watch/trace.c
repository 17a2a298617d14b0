/* trace.c -- the gctrace line (Go's runtime documentation, GODEBUG gctrace=1). */
#include "watch/trace.h"

#include "sys/print.h"
#include "sys/syscall.h"

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static unsigned processors(void)
{
    uint64_t mask[16] = {0};
    long bytes = syscall3(__NR_sched_getaffinity, 0, sizeof(mask), (long)mask);
    unsigned count = 0;
    for (long i = 0; i < bytes / 8; i++)
        count += (unsigned)__builtin_popcountl(mask[i]);
    return count == 0 ? 1 : count;
}

void trace_cycle(const struct cycle_record *r)
{
    unsigned cpus = processors();
    uint64_t now = r->begun + r->stopping + r->marking + r->resuming;
    uint64_t percent = now == 0 ? 0 : r->total * 100 / (now * cpus);
    uint64_t last = r->marking + r->resuming;
    print_fd(2,
             "gc %u @%.3fs %lu%%: %.3f+%.3f+%.3f ms clock, %.3f+%.3f/%.3f/%.3f+%.3f ms cpu, "
             "%ld->%ld->%ld MB, %ld MB goal, %lu MB stacks, %lu MB globals, %u P%s\n",
             r->number, (double)r->begun / 1e9, percent, ms(r->stopping), 0.0, ms(last),
             ms(r->stopping), 0.0, 0.0, 0.0, ms(last), r->heap_before >> 20, r->heap_before >> 20,
             r->live >> 20, r->goal >> 20, r->stack_bytes >> 20, r->root_bytes >> 20, cpus,
             r->reason == CYCLE_GROWTH ? "" : " (forced)");
}
