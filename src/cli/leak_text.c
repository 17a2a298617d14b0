/* leak_text.c -- a leak report as text.
 *
 * LeakSanitizer's words to the letter, and the library's own (src/watch/leak_report.c) for what it
 * has none for, so that one parser reads both. What this one has more are source lines and inlined
 * calls.
 *
 *   .inv.order   Remaining before reclaimed, direct before indirect, more bytes before fewer; then
 *                by stack and size: the order of the library's report. */
#include "cli/leak_text.h"

#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct total {
    uint64_t blocks, bytes;
};

/* ---- order ----------------------------------------------------------------------------------- */

static int ascending(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* .inv.order */
static int compare(const void *one, const void *other)
{
    const struct profile_leak *a = *(const struct profile_leak *const *)one;
    const struct profile_leak *b = *(const struct profile_leak *const *)other;
    if (a->reclaimed != b->reclaimed)
        return ascending(a->reclaimed, b->reclaimed);
    if (a->indirect != b->indirect)
        return ascending(a->indirect, b->indirect);
    if (a->bytes != b->bytes)
        return ascending(b->bytes, a->bytes);
    if (a->stack != b->stack)
        return ascending(a->stack, b->stack);
    return ascending(b->size, a->size);
}

static const struct profile_leak **sorted(const struct profile *profile)
{
    const struct profile_leak **order = list_alloc(profile->leaks.count, sizeof(*order));
    for (size_t i = 0; i < profile->leaks.count; i++)
        order[i] = &profile->leaks.items[i];
    qsort(order, profile->leaks.count, sizeof(*order), compare);
    return order;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void print_place(const struct frame *f, FILE *out)
{
    fprintf(out, " %s", f->file);
    if (f->line != 0)
        fprintf(out, ":%d", f->line);
    if (f->line != 0 && f->column != 0)
        fprintf(out, ":%d", f->column);
}

static void print_module(const struct frame *f, FILE *out)
{
    fprintf(out, " (%s+0x%" PRIx64 ")", f->module->path, f->offset);
    if (f->module->build_id[0] != 0)
        fprintf(out, " (BuildId: %s)", f->module->build_id);
}

static void print_frame(unsigned number, const struct frame *f, FILE *out)
{
    fprintf(out, "    #%u 0x%012" PRIx64 " ", number, f->pc);
    if (f->function != NULL)
        fprintf(out, "in %s", f->function);
    if (f->module == NULL)
        fprintf(out, " (<unknown module>)");
    else if (f->file != NULL)
        print_place(f, out);
    else
        print_module(f, out);
    fprintf(out, "\n");
}

void leak_text_stack(const struct profile *profile, struct symbolizer *symbolizer,
                     const struct profile_stack *stack, FILE *out)
{
    unsigned number = 0;
    for (size_t i = 0; i < stack->depth; i++) {
        struct frames f = symbolize(symbolizer, profile->pcs.items[stack->first + i], stack->time);
        for (size_t j = 0; j < f.count; j++)
            print_frame(number++, &f.items[j], out);
    }
}

/* ---- groups ---------------------------------------------------------------------------------- */

static const char *colour(FILE *out, const char *code)
{
    return output_coloured(out) ? code : "";
}

static void print_unsampled(const struct profile_leak *leak, const char *unrecorded, FILE *out)
{
    fprintf(out, "    (no stack recorded");
    if (leak->size != 0)
        fprintf(out, " for blocks of %" PRIu64 " bytes", leak->size);
    fprintf(out, ": %s)\n",
            unrecorded != NULL ? unrecorded : "this allocation was not sampled; "
                                              "GCMALLOC=stacks=all records every one");
}

/* Nothing where each block has its stack. */
static void print_estimate(const struct profile_leak *leak, FILE *out)
{
    if (leak->for_blocks > leak->blocks)
        fprintf(out, "    (about %" PRIu64 " byte(s) in %" PRIu64 " object(s), with those whose "
                "stack was not sampled)\n", leak->for_bytes, leak->for_blocks);
}

static void print_group(const struct leak_text *text, const struct profile_leak *leak, FILE *out)
{
    static const char *const kind[2][2] = {{"Direct", "Indirect"},
                                           {"Reclaimed direct", "Reclaimed indirect"}};
    const struct profile_stack *stack = profile_stack(text->profile, leak->stack);
    fprintf(out,
            "%s%s leak of %" PRIu64 " byte(s) in %" PRIu64 " object(s) allocated from:\n%s",
            colour(out, "\033[1m\033[34m"), kind[leak->reclaimed][leak->indirect], leak->bytes,
            leak->blocks, colour(out, "\033[1m\033[0m"));
    if (stack != NULL && stack->depth != 0) {
        leak_text_stack(text->profile, text->symbolizer, stack, out);
        print_estimate(leak, out);
    } else {
        print_unsampled(leak, text->profile->unrecorded, out);
    }
    fprintf(out, "    (unreachable for %" PRIu64 " to %" PRIu64 " cycles)\n\n", leak->youngest,
            leak->oldest);
}

static void print_rest(const struct profile_leak **order, size_t shown, size_t count, FILE *out)
{
    struct total rest = {0, 0};
    for (size_t i = shown; i < count; i++) {
        rest.blocks += order[i]->blocks;
        rest.bytes += order[i]->bytes;
    }
    if (count > shown)
        fprintf(out,
                "libgcmalloc: %zu more site(s), %" PRIu64 " byte(s) in %" PRIu64 " object(s), are "
                "not shown; --max-leaks 0 shows all.\n\n",
                count - shown, rest.bytes, rest.blocks);
}

static void print_groups(const struct leak_text *text, FILE *out)
{
    size_t count = text->profile->leaks.count, shown = count;
    const struct profile_leak **order = sorted(text->profile);
    if (text->max_leaks != 0 && text->max_leaks < count)
        shown = text->max_leaks;
    for (size_t i = 0; i < shown; i++)
        print_group(text, order[i], out);
    print_rest(order, shown, count, out);
    free(order);
}

/* ---- the report ------------------------------------------------------------------------------ */

static void print_suppressed(const struct suppressions *suppressions, FILE *out)
{
    static const char rule[] = "-----------------------------------------------------";
    bool used = false;
    for (size_t i = 0; i < suppressions->patterns.count; i++) {
        const struct suppression *s = &suppressions->patterns.items[i];
        if (s->blocks == 0)
            continue;
        if (!used)
            fprintf(out, "%s\nSuppressions used:\n  count      bytes template\n", rule);
        used = true;
        fprintf(out, "%7" PRIu64 " %10" PRIu64 " %s\n", s->blocks, s->bytes, s->pattern);
    }
    if (used)
        fprintf(out, "%s\n\n", rule);
}

static struct total sum(const struct profile *profile, bool reclaimed)
{
    struct total t = {0, 0};
    for (size_t i = 0; i < profile->leaks.count; i++) {
        if (profile->leaks.items[i].reclaimed == reclaimed) {
            t.blocks += profile->leaks.items[i].blocks;
            t.bytes += profile->leaks.items[i].bytes;
        }
    }
    return t;
}

static void print_heading(const struct profile *profile, FILE *out)
{
    fprintf(out,
            "\n================================================================="
            "\n%s==%" PRIu64 "==ERROR: LeakSanitizer: detected memory leaks\n%s\n",
            colour(out, "\033[1m\033[31m"), profile->pid, colour(out, "\033[1m\033[0m"));
}

static void print_summary(const struct profile *profile, FILE *out)
{
    struct total remain = sum(profile, false), reclaimed = sum(profile, true);
    fprintf(out,
            "SUMMARY: LeakSanitizer: %" PRIu64 " byte(s) leaked in %" PRIu64 " allocation(s).\n",
            remain.bytes + reclaimed.bytes, remain.blocks + reclaimed.blocks);
    fprintf(out,
            "libgcmalloc: %" PRIu64 " byte(s) in %" PRIu64 " allocation(s) of these were "
            "reclaimed while the program ran, %" PRIu64 " byte(s) in %" PRIu64 " allocation(s) "
            "remain.\n",
            reclaimed.bytes, reclaimed.blocks, remain.bytes, remain.blocks);
}

void leak_text_unrecorded(const struct profile *profile, FILE *out)
{
    if (profile->unrecorded != NULL)
        fprintf(out, "libgcmalloc: no stacks were recorded: %s\n", profile->unrecorded);
}

void leak_text_estimates(const struct profile *profile, FILE *out)
{
    fprintf(out,
            "libgcmalloc: the numbers above are estimates: one allocation in %" PRIu64
            " bytes had its stack recorded; GCMALLOC=stacks=all records every one.\n",
            profile_size_option(profile, "sample"));
}

static void print_reachable(const struct profile *profile, FILE *out)
{
    struct total t = {0, 0};
    for (size_t i = 0; i < profile->reach.count; i++) {
        t.blocks += profile->reach.items[i].blocks;
        t.bytes += profile->reach.items[i].bytes;
    }
    if (t.blocks != 0)
        fprintf(out,
                "libgcmalloc: %" PRIu64 " byte(s) in %" PRIu64 " allocation(s) are still "
                "reachable.\n",
                t.bytes, t.blocks);
}

static void print_notes(const struct profile *profile, FILE *out)
{
    const char *what = profile_total(profile, "cycles") == 0
                           ? "nothing was collected"
                           : "not everything was collected or reclaimed";
    for (size_t i = 0; i < profile->notes.count; i++)
        fprintf(out, "libgcmalloc: %s: %s\n", what, profile->notes.items[i]);
    if (profile->forgotten != 0)
        fprintf(out, "libgcmalloc: %" PRIu64 " unloaded module(s) were not kept: functions that "
                "were in them may have no name, or another one.\n", profile->forgotten);
    leak_text_unrecorded(profile, out);
}

static void print_contradictions(const struct leak_text *text, FILE *out)
{
    const struct profile *p = text->profile;
    uint64_t all = profile_total(p, "contradictions"), listed = 0;
    for (size_t i = 0; i < p->contradictions.count; i++)
        listed += p->contradictions.items[i].count;
    if (all == 0 && listed == 0)
        return;
    fprintf(out,
            "libgcmalloc: %" PRIu64 " contradiction(s): the program used a block to which no "
            "pointer had been found.\n",
            all > listed ? all : listed);
    for (size_t i = 0; i < p->contradictions.count; i++) {
        const struct profile_stack *stack = profile_stack(p, p->contradictions.items[i].stack);
        if (stack == NULL)
            continue;
        fprintf(out, "%" PRIu64 " of them with blocks allocated from:\n",
                p->contradictions.items[i].count);
        leak_text_stack(p, text->symbolizer, stack, out);
    }
}

void leak_text_write(const struct leak_text *text, FILE *out)
{
    const struct profile *profile = text->profile;
    if (profile->leaks.count != 0) {
        print_heading(profile, out);
        print_groups(text, out);
    }
    print_suppressed(text->suppressions, out);
    if (profile->leaks.count != 0)
        print_summary(profile, out);
    else
        fprintf(out, "libgcmalloc: no leaks were found.\n");
    print_reachable(profile, out);
    print_notes(profile, out);
    print_contradictions(text, out);
}
