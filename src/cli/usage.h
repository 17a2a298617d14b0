/* usage.h -- what each stack of a profile has: its blocks and bytes of every kind. */
#ifndef GC_CLI_USAGE_H
#define GC_CLI_USAGE_H

#include "cli/profile.h"

#include <stddef.h>
#include <stdint.h>

/*  X(name, "what it is") */
#define USAGE_KINDS(X) \
    X(leaked, "not reached, reclaimed ones included") \
    X(live, "allocated and not yet freed or reclaimed") \
    X(allocated, "ever allocated") \
    X(reachable, "reached by the last mark")

enum usage_kind {
#define USAGE_KIND(name, help) USAGE_##name,
    USAGE_KINDS(USAGE_KIND)
#undef USAGE_KIND
    USAGE_COUNT
};

struct usage_row {
    const struct profile_stack *stack; /* NULL: no stack was recorded */
    /* Leaked and reachable: counted one by one. The others are estimates. */
    struct usage_amount {
        uint64_t blocks, bytes;
    } of[USAGE_COUNT];
    /* Estimates of all of them, also where one stack in many was recorded: then nothing of those
     * that have no stack, for the others stand for them. */
    struct usage_amount estimated[USAGE_COUNT];
};

/* One row for each stack that has anything, and one for what has none. */
struct usage {
    struct usage_row *rows;
    size_t count;
};

struct usage usage_make(const struct profile *profile);
/* USAGE_COUNT if there is none of that name. */
enum usage_kind usage_kind(const char *name);

#endif
