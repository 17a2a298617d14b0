/* reachable.c -- gcmalloc reachable: what is still reachable, by site, largest first.
 *
 * With stacks=sampled a block that has a stack stands for others: a block of n bytes was sampled
 * with the probability 1 - exp(-n / sample) (watch/profile.h). The profile has the number and the
 * bytes of a stack's blocks, not the sizes; their mean is taken, as pprof does for Go. The blocks
 * without a stack are those which the others stand for, so they are not listed again. */
#include "cli/arguments.h"
#include "cli/leak_text.h"
#include "cli/output.h"
#include "cli/profile.h"
#include "cli/symbolize.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct site {
    const struct profile_reach *reach;
    double blocks, bytes; /* estimated */
};

struct listing {
    const struct profile *profile;
    struct symbolizer *symbolizer;
    double sample; /* mean bytes between two samples; 0: every block has its stack, or none has */
    LIST(struct site) sites;
};

/* How many blocks one of these stands for. */
static double weight(const struct listing *listing, const struct profile_reach *reach)
{
    if (listing->sample == 0 || reach->stack == 0 || reach->blocks == 0)
        return 1;
    double mean = (double)reach->bytes / (double)reach->blocks;
    return mean > 0 ? 1 / -expm1(-mean / listing->sample) : 1;
}

static int larger_first(const void *one, const void *other)
{
    const struct site *a = one, *b = other;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->reach->stack < b->reach->stack ? -1 : a->reach->stack > b->reach->stack;
}

static bool any_stack(const struct profile *profile)
{
    for (size_t i = 0; i < profile->reach.count; i++)
        if (profile->reach.items[i].stack != 0)
            return true;
    return false;
}

static void collect(struct listing *listing)
{
    const struct profile *profile = listing->profile;
    if (strcmp(profile_option(profile, "stacks"), "sampled") == 0 && any_stack(profile))
        listing->sample = (double)profile_size_option(profile, "sample");
    for (size_t i = 0; i < profile->reach.count; i++) {
        const struct profile_reach *reach = &profile->reach.items[i];
        double stands_for = weight(listing, reach);
        if (listing->sample != 0 && reach->stack == 0)
            continue;
        *LIST_ADD(&listing->sites) = (struct site){reach, (double)reach->blocks * stands_for,
                                                   (double)reach->bytes * stands_for};
    }
    if (listing->sites.count != 0)
        qsort(listing->sites.items, listing->sites.count, sizeof(struct site), larger_first);
}

static void print_site(const struct listing *listing, const struct site *site, FILE *out)
{
    const struct profile_stack *stack = profile_stack(listing->profile, site->reach->stack);
    fprintf(out, "%s%.0f byte(s) in %.0f object(s) are still reachable, allocated from:\n",
            listing->sample != 0 ? "About " : "", site->bytes, site->blocks);
    if (stack != NULL)
        leak_text_stack(listing->profile, listing->symbolizer, stack, out);
    else if (site->reach->size != 0)
        fprintf(out, "    (no stack recorded for blocks of %" PRIu64 " bytes)\n",
                site->reach->size);
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
    if (listing->sample != 0)
        fprintf(out,
                "libgcmalloc: the numbers above are estimates: one allocation in %.0f bytes had "
                "its stack recorded; GCMALLOC=stacks=all records every one.\n",
                listing->sample);
    fprintf(out,
            "libgcmalloc: %" PRIu64 " byte(s) in %" PRIu64 " allocation(s) are still reachable.\n",
            bytes, blocks);
}

static void print(const struct listing *listing, uint64_t most, FILE *out)
{
    size_t count = listing->sites.count;
    size_t shown = most != 0 && most < count ? (size_t)most : count;
    for (size_t i = 0; i < shown; i++)
        print_site(listing, &listing->sites.items[i], out);
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
