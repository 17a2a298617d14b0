/* diff.c -- gcmalloc diff: what grew between two profiles.
 *
 * Stacks are compared by the modules and offsets of their frames: two runs of a program put them at
 * other addresses. For both profiles a hash is made of each stack (met.h says how often two have
 * the same one), the rows are sorted by it and merged as two decks of cards.
 *
 *   .inv.once   In a side every key occurs once: rows whose stacks are the same but for addresses
 *               (a module that was unloaded and loaded elsewhere) are added up.
 *   .inv.alike  What is compared are estimates (usage.h) of all blocks of a stack: a block that was
 *               sampled stands for others, and for how many depends on its size. The totals at the
 *               end are of blocks that were counted one by one.
 *
 * A module that was built anew meanwhile has other offsets; that is said, for its stacks then seem
 * to be new. The words "new" and "increased" are valgrind's. */
#include "cli/arguments.h"
#include "cli/fault.h"
#include "cli/leak_text.h"
#include "cli/met.h"
#include "cli/output.h"
#include "cli/profile.h"
#include "cli/symbolize.h"
#include "cli/usage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct keyed {
    uint64_t key;
    struct usage_row row;
};

struct side {
    struct profile profile;
    struct symbolizer *symbolizer;
    struct keyed *rows; /* by key: .inv.once */
    size_t count;
    bool sampled;
};

struct growth {
    const struct keyed *after;
    struct usage_amount before, now;
};

struct grown {
    LIST(struct growth) list;
};

/* What is compared, and how it is called. */
static const struct compared {
    enum usage_kind kind;
    const char *words;
} compared[] = {
    {USAGE_leaked, "leaked"},
    {USAGE_reachable, "still reachable"},
};

/* ---- a side ---------------------------------------------------------------------------------- */

/* Of the modules' paths and the offsets; 1 without a stack. */
static uint64_t make_key(const struct side *side, const struct profile_stack *stack)
{
    uint64_t key = 1;
    for (size_t i = 0; stack != NULL && i < stack->depth; i++) {
        struct frames f =
            symbolize(side->symbolizer, side->profile.pcs.items[stack->first + i], stack->time);
        const struct frame *last = &f.items[f.count - 1];
        if (last->module != NULL)
            key = met_hash_text(key, last->module->path);
        key = met_hash(key, last->module != NULL ? last->offset : last->pc);
    }
    return key;
}

static int ascending(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_key(const void *one, const void *other)
{
    return ascending(((const struct keyed *)one)->key, ((const struct keyed *)other)->key);
}

static void add_row(struct usage_row *sum, const struct usage_row *row)
{
    for (int kind = 0; kind < USAGE_COUNT; kind++) {
        sum->of[kind].blocks += row->of[kind].blocks;
        sum->of[kind].bytes += row->of[kind].bytes;
        sum->estimated[kind].blocks += row->estimated[kind].blocks;
        sum->estimated[kind].bytes += row->estimated[kind].bytes;
    }
}

/* Adds up rows of the same key: .inv.once. */
static size_t merge_equal(struct keyed *rows, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept != 0 && rows[kept - 1].key == rows[i].key)
            add_row(&rows[kept - 1].row, &rows[i].row);
        else
            rows[kept++] = rows[i];
    return kept;
}

static enum status load(struct side *side, const char *path, double seconds)
{
    enum status status = profile_read(path, &side->profile);
    if (status != STATUS_OK)
        return status;
    side->symbolizer =
        symbolizer_open(side->profile.modules.items, side->profile.modules.count, seconds);
    side->sampled = profile_is_sampled(&side->profile);
    struct usage usage = usage_make(&side->profile);
    side->rows = list_alloc(usage.count, sizeof(*side->rows));
    for (size_t i = 0; i < usage.count; i++)
        side->rows[i] = (struct keyed){make_key(side, usage.rows[i].stack), usage.rows[i]};
    free(usage.rows);
    qsort(side->rows, usage.count, sizeof(*side->rows), by_key);
    side->count = merge_equal(side->rows, usage.count);
    return STATUS_OK;
}

/* ---- differences ----------------------------------------------------------------------------- */

static bool larger(struct usage_amount now, struct usage_amount before)
{
    return now.blocks > before.blocks || now.bytes > before.bytes;
}

static int most_growth_first(const void *one, const void *other)
{
    const struct growth *a = one, *b = other;
    int64_t x = (int64_t)(a->now.bytes - a->before.bytes);
    int64_t y = (int64_t)(b->now.bytes - b->before.bytes);
    return x != y ? (x < y ? 1 : -1) : ascending(a->after->key, b->after->key);
}

static void compare(const struct side *before, const struct side *after, enum usage_kind kind,
                    struct grown *grown)
{
    size_t at = 0;
    for (size_t i = 0; i < after->count; i++) {
        struct usage_amount was = {0}, now = after->rows[i].row.estimated[kind];
        while (at < before->count && before->rows[at].key < after->rows[i].key)
            at++;
        if (at < before->count && before->rows[at].key == after->rows[i].key)
            was = before->rows[at].row.estimated[kind]; /* .inv.alike */
        if (larger(now, was))
            *LIST_ADD(&grown->list) = (struct growth){&after->rows[i], was, now};
    }
    if (grown->list.count != 0)
        qsort(grown->list.items, grown->list.count, sizeof(struct growth), most_growth_first);
}

static void print_growth(const struct side *after, const struct growth *g, const char *words,
                         bool about, FILE *out)
{
    const struct profile_stack *stack = g->after->row.stack;
    fprintf(out,
            "%s: %s%" PRIu64 " (%+" PRId64 ") byte(s) in %" PRIu64 " (%+" PRId64
            ") object(s) are %s, allocated from:\n",
            g->before.blocks == 0 ? "new" : "increased", about ? "about " : "", g->now.bytes,
            (int64_t)(g->now.bytes - g->before.bytes), g->now.blocks,
            (int64_t)(g->now.blocks - g->before.blocks), words);
    if (stack != NULL)
        leak_text_stack(&after->profile, after->symbolizer, stack, out);
    else
        fprintf(out, "    (no stack recorded)\n");
    fprintf(out, "\n");
}

static void print_grown(const struct side *after, const struct grown *grown, const char *words,
                        bool about, uint64_t most, FILE *out)
{
    size_t count = grown->list.count;
    size_t shown = most != 0 && most < count ? (size_t)most : count;
    for (size_t i = 0; i < shown; i++)
        print_growth(after, &grown->list.items[i], words, about, out);
    if (shown < count)
        fprintf(out, "libgcmalloc: %zu more site(s) are not shown; --max 0 shows all.\n\n",
                count - shown);
}

static struct usage_amount total(const struct side *side, enum usage_kind kind)
{
    struct usage_amount sum = {0};
    for (size_t i = 0; i < side->count; i++) {
        sum.blocks += side->rows[i].row.of[kind].blocks;
        sum.bytes += side->rows[i].row.of[kind].bytes;
    }
    return sum;
}

static void print_total(const struct side *before, const struct side *after,
                        const struct compared *what, FILE *out)
{
    struct usage_amount was = total(before, what->kind), now = total(after, what->kind);
    fprintf(out,
            "libgcmalloc: %" PRIu64 " (%+" PRId64 ") byte(s) in %" PRIu64 " (%+" PRId64
            ") allocation(s) are %s.\n",
            now.bytes, (int64_t)(now.bytes - was.bytes), now.blocks,
            (int64_t)(now.blocks - was.blocks), what->words);
}

/* Modules of the same path and another build. */
static void warn_of_builds(const struct profile *before, const struct profile *after)
{
    for (size_t i = 0; i < after->modules.count; i++) {
        const struct profile_module *now = &after->modules.items[i];
        bool same = false, other = false;
        for (size_t j = 0; j < before->modules.count; j++) {
            const struct profile_module *was = &before->modules.items[j];
            if (strcmp(was->path, now->path) != 0)
                continue;
            same |= strcmp(was->build_id, now->build_id) == 0;
            other |= strcmp(was->build_id, now->build_id) != 0;
        }
        if (other && !same)
            fault(STATUS_OK, "%s was built anew between the two: its stacks cannot be compared",
                  now->path);
    }
}

/* True if anything grew. */
static bool show(const struct side *before, const struct side *after, uint64_t most, FILE *out)
{
    enum { COMPARED = sizeof(compared) / sizeof(compared[0]) };
    bool any = false, about = before->sampled || after->sampled;
    for (size_t i = 0; i < COMPARED; i++) {
        struct grown grown = {0};
        compare(before, after, compared[i].kind, &grown);
        print_grown(after, &grown, compared[i].words, about, most, out);
        any |= grown.list.count != 0;
        free(grown.list.items);
    }
    if (about && any)
        leak_text_estimates(after->sampled ? &after->profile : &before->profile, out);
    for (size_t i = 0; i < COMPARED; i++)
        print_total(before, after, &compared[i], out);
    return any;
}

int diff_main(int argc, char **argv)
{
    struct arguments arguments;
    struct side before, after;
    struct output output;
    if (!arguments_parse(argc, argv, 2, "gcmalloc diff [OPTIONS] BEFORE AFTER", &arguments))
        return STATUS_USAGE;
    enum status status = load(&before, arguments.files[0], arguments.seconds);
    if (status == STATUS_OK)
        status = load(&after, arguments.files[1], arguments.seconds);
    if (status == STATUS_OK)
        status = output_open(&output, arguments.output, false);
    if (status != STATUS_OK)
        return status;
    warn_of_builds(&before.profile, &after.profile);
    bool grew = show(&before, &after, arguments.max, output.stream);
    symbolizer_close(before.symbolizer);
    symbolizer_close(after.symbolizer);
    status = output_close(&output);
    return status != STATUS_OK ? status : grew ? STATUS_DIFFERENT : STATUS_OK;
}
