/* leak_report.c -- the text of a leak report.
 *
 * LeakSanitizer's words, to the letter, wherever it has some: people know them, and editors and
 * test runners parse them. What it has no words for, blocks that were freed by the collector, comes
 * after the leaks that remain, under headings that begin with "Reclaimed", so that a parser of
 * "Direct leak of" counts what is leaked now.
 *
 * Differences that are seen: no source lines (the `gcmalloc` command adds them: reading DWARF is no
 * business of a program that is exiting), and no frame of malloc itself.
 *
 *   .inv.order   Remaining before reclaimed, direct before indirect, more bytes before fewer; then
 *                by stack and size, so that equal input gives equal text.
 *
 * The order is made in a mapping of its own, four bytes a group: the groups belong to the caller,
 * and the heap is what this report is about. If that memory cannot be had, they come unordered.
 *
 * Cost: n log n for the order; naming is symbol.c's. Stack space 9 KiB. */
#include "watch/leak_report.h"

#include "base/check.h"
#include "mutator/sampler.h"
#include "sys/print.h"
#include "sys/syscall.h"
#include "watch/modules.h"
#include "watch/stack_table.h"
#include "watch/symbol.h"

#include <sys/mman.h>

struct total {
    uint64_t blocks, bytes;
};

/* ---- order ----------------------------------------------------------------------------------- */

/* True if `a` is printed before `b`: .inv.order. */
static bool before(const struct leak_group *a, const struct leak_group *b)
{
    if (a->reclaimed != b->reclaimed)
        return b->reclaimed;
    if (a->indirect != b->indirect)
        return b->indirect;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes;
    if (a->stack != b->stack)
        return a->stack < b->stack;
    return a->block_size > b->block_size;
}

static void sift_down(const struct leak_group *groups, uint32_t *order, size_t at, size_t end)
{
    for (size_t child; (child = 2 * at + 1) < end; at = child) {
        if (child + 1 < end && before(&groups[order[child]], &groups[order[child + 1]]))
            child++;
        if (!before(&groups[order[at]], &groups[order[child]]))
            return;
        uint32_t swap = order[at];
        order[at] = order[child];
        order[child] = swap;
    }
}

/* Heapsort: no recursion, no memory. */
static void sort(const struct leak_group *groups, uint32_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    for (size_t i = count / 2; i-- > 0;)
        sift_down(groups, order, i, count);
    for (size_t end = count; end-- > 1;) {
        uint32_t swap = order[0];
        order[0] = order[end];
        order[end] = swap;
        sift_down(groups, order, 0, end);
    }
}

static size_t order_size(size_t count)
{
    return align_up(count * sizeof(uint32_t), PAGE_SIZE);
}

/* The groups' numbers in .inv.order, or NULL. */
static uint32_t *order_make(const struct leak_report *report)
{
    long at = syscall6(__NR_mmap, 0, (long)order_size(report->count), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at < 0 && at > -4096)
        return NULL;
    sort(report->groups, (uint32_t *)at, report->count);
    return (uint32_t *)at;
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* Whatever is there now has other names. */
static void print_gone(struct printer *out, const struct module *m, uintptr_t pc)
{
    printer_printf(out, " (%s+0x%lx)", m->path, pc - m->start);
    for (unsigned i = 0; i < m->build_id_size; i++)
        printer_printf(out, "%s%02x", i == 0 ? " (BuildId: " : "", m->build_id[i]);
    printer_printf(out, "%s\n", m->build_id_size != 0 ? ")" : "");
}

/* `time`: when it was called. */
static void print_frame(struct printer *out, unsigned number, uintptr_t return_address,
                        uint64_t time, struct symbol_reader *reader)
{
    struct symbol s;
    uintptr_t pc = return_address - 1; /* in the call, not behind it */
    const struct module *gone = modules_gone(pc, time);
    printer_printf(out, "    #%u 0x%012lx ", number, pc);
    if (gone != NULL) {
        print_gone(out, gone, pc);
        return;
    }
    bool found = symbol_find(reader, pc, &s);
    if (s.function[0])
        printer_printf(out, "in %s", s.function);
    if (!found) {
        printer_printf(out, " (<unknown module>)\n");
        return;
    }
    printer_printf(out, " (%s+0x%lx)", s.module, s.module_offset);
    if (s.build_id[0])
        printer_printf(out, " (BuildId: %s)", s.build_id);
    printer_printf(out, "\n");
}

void leak_report_print_stack(struct printer *out, const uintptr_t *pcs, unsigned depth,
                             struct symbol_time *naming)
{
    struct symbol_reader reader;
    symbol_reader_open(&reader, naming);
    for (unsigned i = 0; i < depth; i++)
        print_frame(out, i, pcs[i], UINT64_MAX, &reader);
    symbol_reader_close(&reader);
}

static void print_unsampled(struct printer *out, const struct leak_group *g, const char *no_stacks)
{
    printer_printf(out, "    (no stack recorded");
    if (g->block_size != 0)
        printer_printf(out, " for blocks of %u bytes", g->block_size);
    printer_printf(out, ": %s)\n",
                   no_stacks != NULL ? no_stacks : "this allocation was not sampled; "
                                                   "GCMALLOC=stacks=all records every one");
}

/* Nothing where each block has its stack. */
static void print_estimate(struct printer *out, const struct leak_group *g)
{
    uint64_t blocks = sampler_whole(g->parts), bytes = sampler_whole(g->byte_parts);
    if (blocks > g->blocks)
        printer_printf(out, "    (about %lu byte(s) in %lu object(s), with those whose stack was "
                            "not sampled)\n", bytes, blocks);
}

static void print_group(struct printer *out, const struct leak_group *g, const char *no_stacks,
                        struct symbol_reader *reader)
{
    static const char *const kind[2][2] = {{"Direct", "Indirect"},
                                           {"Reclaimed direct", "Reclaimed indirect"}};
    uintptr_t pcs[STACK_DEPTH_MAX];
    unsigned depth = stack_table_get(g->stack, pcs);
    printer_printf(out, "%s leak of %lu byte(s) in %lu object(s) allocated from:\n",
                   kind[g->reclaimed][g->indirect], g->bytes, g->blocks);
    for (unsigned i = 0; i < depth; i++)
        print_frame(out, i, pcs[i], stack_table_time(g->stack), reader);
    if (depth == 0)
        print_unsampled(out, g, no_stacks);
    else
        print_estimate(out, g);
    printer_printf(out, "    (unreachable for %u to %u cycles)\n\n", g->age_least, g->age_most);
}

/* Prints up to max_groups groups, and how much the others are. */
static void print_groups(struct printer *out, const struct leak_report *report)
{
    struct symbol_reader reader;
    struct total rest = {0, 0};
    size_t most = report->max_groups ? report->max_groups : report->count, left_out = 0;
    uint32_t *order = order_make(report);
    symbol_reader_open(&reader, report->naming);
    for (size_t i = 0; i < report->count; i++) {
        const struct leak_group *g = &report->groups[order ? order[i] : i];
        if (i < most) {
            print_group(out, g, report->no_stacks, &reader);
            continue;
        }
        left_out++;
        rest.blocks += g->blocks;
        rest.bytes += g->bytes;
    }
    symbol_reader_close(&reader);
    if (order)
        syscall2(__NR_munmap, (long)order, (long)order_size(report->count));
    if (left_out)
        printer_printf(out,
                       "libgcmalloc: %zu more site(s), %lu byte(s) in %lu object(s), are not "
                       "shown; GCMALLOC=max_leaks=0 shows all.\n\n",
                       left_out, rest.bytes, rest.blocks);
}

/* ---- the report ------------------------------------------------------------------------------ */

static struct total sum(const struct leak_report *report, bool reclaimed)
{
    struct total t = {0, 0};
    for (size_t i = 0; i < report->count; i++) {
        if (report->groups[i].reclaimed == reclaimed) {
            t.blocks += report->groups[i].blocks;
            t.bytes += report->groups[i].bytes;
        }
    }
    return t;
}

static void print_leaks(struct printer *out, const struct leak_report *report)
{
    struct total remain = sum(report, false), reclaimed = sum(report, true);
    printer_printf(out,
                   "\n================================================================="
                   "\n==%d==ERROR: LeakSanitizer: detected memory leaks\n\n",
                   report->pid);
    print_groups(out, report);
    printer_printf(out, "SUMMARY: LeakSanitizer: %lu byte(s) leaked in %lu allocation(s).\n",
                   remain.bytes + reclaimed.bytes, remain.blocks + reclaimed.blocks);
    printer_printf(out,
                   "libgcmalloc: %lu byte(s) in %lu allocation(s) of these were reclaimed while "
                   "the program ran, %lu byte(s) in %lu allocation(s) remain.\n",
                   reclaimed.bytes, reclaimed.blocks, remain.bytes, remain.blocks);
    if (report->still_reachable_blocks)
        printer_printf(out, "libgcmalloc: %lu byte(s) in %lu allocation(s) are still reachable.\n",
                       report->still_reachable_bytes, report->still_reachable_blocks);
}

void leak_report_print(const struct leak_report *report, struct printer *out)
{
    GC_ASSERT(report->count <= UINT32_MAX && (report->groups || report->count == 0));
    if (report->count > 0)
        print_leaks(out, report);
    if (report->not_collected_reason)
        printer_printf(out, "libgcmalloc: nothing was collected: %s\n",
                       report->not_collected_reason);
}
