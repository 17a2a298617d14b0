/* totals.h -- the figures of the process, by name: one table for all who show them.
 *
 * From this table come the struct, the lines `total NAME VALUE` of a profile, the words of the
 * shared page (stats_page.h), and the metrics. Sizes in bytes, times in nanoseconds. Where Go's
 * MemStats has the figure its name stands in the comment.
 *
 *   X(name, kind, help)   kind: GAUGE, or COUNTER, which never falls
 *
 * New rows come at the end: readers of an older or newer table take what both have. */
#ifndef GC_TOTALS_H
#define GC_TOTALS_H

#include <stdint.h>

#define TOTALS(X) \
    X(heap_used, GAUGE, "bytes in blocks that are live, or lie in a cache") /* HeapAlloc */ \
    X(heap_live, GAUGE, "bytes that the last mark reached") \
    X(heap_goal, GAUGE, "bytes of heap at which the next cycle should end") /* NextGC */ \
    X(heap_mapped, GAUGE, "bytes of address space that the heap has used so far") /* HeapSys */ \
    X(heap_free, GAUGE, "bytes in free runs of slabs") /* HeapIdle */ \
    X(heap_released, GAUGE, "of these, bytes that the kernel has back") /* HeapReleased */ \
    X(large_bytes, GAUGE, "bytes in blocks larger than every size class") \
    X(large_blocks, GAUGE, "such blocks") \
    X(allocated_bytes, COUNTER, "bytes ever taken from spans") /* TotalAlloc */ \
    X(freed_bytes, COUNTER, "bytes that the program freed, and spans got back") \
    X(reclaimed_bytes, COUNTER, "bytes of leaked blocks that were reclaimed") \
    X(reclaimed_blocks, COUNTER, "leaked blocks that were reclaimed") \
    X(unreached_bytes, GAUGE, "bytes that the last mark did not reach") \
    X(unreached_blocks, GAUGE, "blocks that the last mark did not reach") \
    X(cycles, COUNTER, "finished cycles") /* NumGC */ \
    X(cycles_forced, COUNTER, "of these, not begun by growth") /* NumForcedGC */ \
    X(last_cycle, GAUGE, "when the last one ended, since the start") /* LastGC */ \
    X(pause_total, COUNTER, "time for which the program was stopped") /* PauseTotalNs */ \
    X(pause_longest, GAUGE, "the longest such time") \
    X(collector_time, COUNTER, "processor time of the collector") /* GCCPUFraction */ \
    X(stack_bytes, GAUGE, "bytes of stacks that the last mark read") /* StackInuse */ \
    X(root_bytes, GAUGE, "bytes of other memory of the program that it read") \
    X(threads, GAUGE, "threads of the program that are known") \
    X(contradictions, COUNTER, "blocks that were used though no pointer to them had been found") \
    X(probation_needed, GAUGE, "cycles of probation in all") \
    X(probation_passed, GAUGE, "of these, passed") \
    X(reclaiming, GAUGE, "1 while leaked blocks are reclaimed") \
    X(stacks, GAUGE, "distinct stacks of allocations") \
    X(stack_table_bytes, GAUGE, "bytes that they take") /* BuckHashSys */ \
    X(meta_bytes, GAUGE, "bytes of the library's own data") /* GCSys and MSpanSys */ \
    X(resident_bytes, GAUGE, "resident memory of the process") \
    X(mallocs, COUNTER, "blocks ever allocated") /* Mallocs */ \
    X(frees, COUNTER, "blocks that were freed or reclaimed") /* Frees */ \
    X(live_bytes, GAUGE, "bytes in blocks that are neither freed nor reclaimed") /* Alloc */ \
    X(cached_bytes, GAUGE, "bytes of free blocks in caches")

struct totals {
#define TOTALS_FIELD(name, kind, help) uint64_t name;
    TOTALS(TOTALS_FIELD)
#undef TOTALS_FIELD
};

#endif
