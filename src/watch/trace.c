/* trace.c -- the gctrace line (Go's runtime documentation, GODEBUG gctrace=1). */
#include "watch/trace.h"

#include "sys/print.h"
#include "sys/task.h"

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static struct {
    struct probation_status trust;
    const char *interlock;
} told;

static void trace_trust(const struct cycle_record *r)
{
    const struct probation_status *now = &r->trust, *before = &told.trust;
    if (now->needed == before->needed && now->passed == before->passed &&
        now->contradictions == before->contradictions && r->interlock == told.interlock)
        return;
    told.trust = *now;
    told.interlock = r->interlock;
    print_fd(2, "gcmalloc trust: probation %u/%u, %lu contradictions%s%s\n", now->passed,
             now->needed, now->contradictions, r->interlock != NULL ? ", interlock: " : "",
             r->interlock != NULL ? r->interlock : "");
}

void trace_cycle(const struct cycle_record *r)
{
    unsigned cpus = task_processors();
    uint64_t now = r->begun + r->took;
    uint64_t percent = now == 0 ? 0 : r->total * 100 / (now * cpus);
    uint64_t running = r->took - r->paused, last = r->pause - r->stopping;
    print_fd(2,
             "gc %u @%.3fs %lu%%: %.3f+%.3f+%.3f ms clock, %.3f+%.3f/%.3f/%.3f+%.3f ms cpu, "
             "%ld->%ld->%ld MB, %ld MB goal, %lu MB stacks, %lu MB globals, %u P%s\n",
             r->number, (double)r->begun / 1e9, percent, ms(r->stopping), ms(running), ms(last),
             ms(r->stopping), 0.0, ms(running), 0.0, ms(r->paused - r->stopping),
             r->heap_before >> 20, r->heap_marked >> 20, r->live >> 20, r->goal >> 20,
             r->stack_bytes >> 20, r->root_bytes >> 20, cpus,
             r->reason == CYCLE_GROWTH ? "" : " (forced)");
    trace_trust(r);
}
