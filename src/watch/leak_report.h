/* leak_report.h -- the text of a leak report. */
#ifndef GC_LEAK_REPORT_H
#define GC_LEAK_REPORT_H

#include "base/base.h"

struct printer;
struct symbol_time;

/* Leaked blocks of one allocation site. */
struct leak_group {
    uint32_t stack;      /* a number of stack_table.h; 0: not recorded */
    bool indirect;       /* reachable from another leaked block */
    bool reclaimed;      /* the collector has freed them already */
    uint64_t blocks, bytes;
    uint64_t parts, byte_parts; /* what they stand for, in SAMPLER_PARTS, if their stack is known */
    uint32_t age_least, age_most; /* cycles for which the blocks have been unreachable */
    uint32_t block_size; /* usable bytes when all are equal, else 0 */
};

struct leak_report {
    const struct leak_group *groups; /* in any order */
    size_t count;
    int pid;
    const char *not_collected_reason; /* or NULL */
    uint64_t still_reachable_blocks, still_reachable_bytes;
    unsigned max_groups; /* 0 = all */
    struct symbol_time *naming; /* or NULL: for as long as it takes */
    const char *no_stacks;      /* why none were recorded, or NULL */
};

/* Prints the report: nothing at all without leaks and without a reason. Names functions, so not in
 * a signal handler and not while the world is stopped (symbol.h). The caller flushes. */
void leak_report_print(const struct leak_report *report, struct printer *out);

/* Return addresses, innermost first, a line each, in the report's form; `naming` as above. Under
 * the same conditions, except that a handler of a fault in the program's own code may call it. */
void leak_report_print_stack(struct printer *out, const uintptr_t *pcs, unsigned depth,
                             struct symbol_time *naming);

#endif
