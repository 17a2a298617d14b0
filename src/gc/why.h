/* why.h -- what keeps a block alive: the shortest way to it from a root.
 *
 * Thread safety: the collector, the world stopped, no mark under way, and no sweep open. */
#ifndef GC_WHY_H
#define GC_WHY_H

#include "gc/roots.h"

enum { WHY_STEPS = 1000 };

struct why_step {
    uintptr_t start;
    size_t size;     /* as the program asked for it, where that is known */
    uint32_t stack;  /* of its allocation, or 0 */
};

struct why {
    bool complete;             /* all was looked at; else memory was short */
    bool reached;
    struct roots_place place;  /* from where the first step is referred to, */
    size_t count;              /* and the steps after each other, the block itself last */
    size_t skipped;            /* of them that are left out, before the last one */
    struct why_step steps[WHY_STEPS];
};

/* `all`: ROOTS_ALL; `block`: the start of a live one. Where `why` lies is a root like others, so it
 * should hold nothing yet. */
void why_find(const struct roots_request *all, uintptr_t block, struct why *why);

#endif
