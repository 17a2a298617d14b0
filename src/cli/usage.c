/* usage.c -- what each stack of a profile has.
 *
 * The rows are made beside the profile's stacks, in the same order, with one more at the end for
 * what has no stack; then those that have nothing are left out. */
#include "cli/usage.h"

#include <string.h>

static struct usage_row *row_of(const struct usage *usage, const struct profile *profile,
                                uint64_t id)
{
    const struct profile_stack *stack = profile_stack(profile, id);
    size_t at = stack != NULL ? (size_t)(stack - profile->stacks.items) : profile->stacks.count;
    return &usage->rows[at];
}

static void add(struct usage_amount *amount, uint64_t blocks, uint64_t bytes)
{
    amount->blocks += blocks;
    amount->bytes += bytes;
}

static uint64_t less(uint64_t all, uint64_t gone)
{
    return all > gone ? all - gone : 0; /* estimates of each */
}

static void add_sites(const struct usage *usage, const struct profile *profile)
{
    for (size_t i = 0; i < profile->sites.count; i++) {
        const struct profile_site *s = &profile->sites.items[i];
        struct usage_row *row = row_of(usage, profile, s->stack);
        add(&row->of[USAGE_allocated], s->allocated_blocks, s->allocated_bytes);
        add(&row->of[USAGE_live], less(s->allocated_blocks, s->freed_blocks),
            less(s->allocated_bytes, s->freed_bytes));
        row->estimated[USAGE_allocated] = row->of[USAGE_allocated];
        row->estimated[USAGE_live] = row->of[USAGE_live];
    }
}

static void add_counted(const struct usage *usage, const struct profile *profile)
{
    for (size_t i = 0; i < profile->reach.count; i++) {
        const struct profile_reach *r = &profile->reach.items[i];
        struct usage_row *row = row_of(usage, profile, r->stack);
        add(&row->of[USAGE_reachable], r->blocks, r->bytes);
        add(&row->estimated[USAGE_reachable], r->for_blocks, r->for_bytes);
    }
    for (size_t i = 0; i < profile->leaks.count; i++) {
        const struct profile_leak *l = &profile->leaks.items[i];
        struct usage_row *row = row_of(usage, profile, l->stack);
        add(&row->of[USAGE_leaked], l->blocks, l->bytes);
        add(&row->estimated[USAGE_leaked], l->for_blocks, l->for_bytes);
    }
}

static void leave_out_empty(struct usage *usage)
{
    static const struct usage_amount nothing[USAGE_COUNT];
    size_t kept = 0;
    for (size_t i = 0; i < usage->count; i++)
        if (memcmp(usage->rows[i].of, nothing, sizeof(nothing)) != 0)
            usage->rows[kept++] = usage->rows[i];
    usage->count = kept;
}

struct usage usage_make(const struct profile *profile)
{
    size_t stacks = profile->stacks.count;
    struct usage usage = {list_alloc(stacks + 1, sizeof(struct usage_row)), stacks + 1};
    for (size_t i = 0; i < stacks; i++)
        usage.rows[i].stack = &profile->stacks.items[i];
    add_sites(&usage, profile);
    add_counted(&usage, profile);
    leave_out_empty(&usage);
    return usage;
}

enum usage_kind usage_kind(const char *name)
{
#define IS(kind, help) \
    if (strcmp(name, #kind) == 0) \
        return USAGE_##kind;
    USAGE_KINDS(IS)
#undef IS
    return USAGE_COUNT;
}
