/* reachable.c -- gcmalloc reachable: what is still reachable, by site, largest first.
 *
 * With stacks=sampled a block that has a stack stands for others (watch/profile.h). The blocks
 * without a stack are those which the others stand for, so they are not listed again. */
#include "cli/arguments.h"
#include "cli/leak_text.h"
#include "cli/output.h"
#include "cli/profile.h"
#include "cli/symbolize.h"

#include <inttypes.h>
#include <stdlib.h>

struct listing {
    const struct profile *profile;
    struct symbolizer *symbolizer;
    bool sampled;
    LIST(const struct profile_reach *) sites;
};

static int larger_first(const void *one, const void *other)
{
    const struct profile_reach *a = *(const struct profile_reach *const *)one;
    const struct profile_reach *b = *(const struct profile_reach *const *)other;
    if (a->for_bytes != b->for_bytes)
        return a->for_bytes < b->for_bytes ? 1 : -1;
    return a->stack < b->stack ? -1 : a->stack > b->stack;
}

static void collect(struct listing *listing)
{
    const struct profile *profile = listing->profile;
    listing->sampled = profile_is_sampled(profile);
    for (size_t i = 0; i < profile->reach.count; i++) {
        const struct profile_reach *reach = &profile->reach.items[i];
        if (reach->for_blocks != 0)
            *LIST_ADD(&listing->sites) = reach;
    }
    if (listing->sites.count != 0)
        qsort(listing->sites.items, listing->sites.count, sizeof(listing->sites.items[0]),
              larger_first);
}

static void print_site(const struct listing *listing, const struct profile_reach *site, FILE *out)
{
    const struct profile_stack *stack = profile_stack(listing->profile, site->stack);
    fprintf(out,
            "%s%" PRIu64 " byte(s) in %" PRIu64
            " object(s) are still reachable, allocated from:\n",
            listing->sampled ? "About " : "", site->for_bytes, site->for_blocks);
    if (stack != NULL)
        leak_text_stack(listing->profile, listing->symbolizer, stack, out);
    else if (site->size != 0)
        fprintf(out, "    (no stack recorded for blocks of %" PRIu64 " bytes)\n", site->size);
    else
        fprintf(out, "    (no stack recorded)\n");
    fprintf(out, "\n");
}

static void print_total(const struct listing *listing, FILE *out)
{
    const struct profile *profile = listing->profile;
    uint64_t blocks = 0, bytes = 0;
    for (size_t i = 0; i < profile->reach.count; i++) {
        blocks += profile->reach.items[i].blocks;
        bytes += profile->reach.items[i].bytes;
    }
    if (listing->sampled)
        leak_text_estimates(profile, out);
    leak_text_unrecorded(profile, out);
    fprintf(out,
            "libgcmalloc: %" PRIu64 " byte(s) in %" PRIu64 " allocation(s) are still reachable.\n",
            bytes, blocks);
}

static void print(const struct listing *listing, uint64_t most, FILE *out)
{
    size_t count = listing->sites.count;
    size_t shown = most != 0 && most < count ? (size_t)most : count;
    for (size_t i = 0; i < shown; i++)
        print_site(listing, listing->sites.items[i], out);
    if (shown < count)
        fprintf(out, "libgcmalloc: %zu more site(s) are not shown; --max 0 shows all.\n",
                count - shown);
    print_total(listing, out);
}

int reachable_main(int argc, char **argv)
{
    struct arguments arguments;
    struct profile profile;
    struct output output;
    if (!arguments_parse(argc, argv, 1, "gcmalloc reachable [OPTIONS] FILE", &arguments))
        return STATUS_USAGE;
    enum status status = profile_read(arguments.files[0], &profile);
    if (status == STATUS_OK)
        status = output_open(&output, arguments.output, false);
    if (status != STATUS_OK)
        return status;
    struct listing listing = {.profile = &profile};
    listing.symbolizer =
        symbolizer_open(profile.modules.items, profile.modules.count, arguments.seconds);
    collect(&listing);
    print(&listing, arguments.max, output.stream);
    symbolizer_close(listing.symbolizer);
    return output_close(&output);
}
