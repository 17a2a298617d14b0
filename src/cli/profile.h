/* profile.h -- a profile, read into memory. watch/profile.h says what is in the file.
 *
 *   .inv.whole   What is here came from a file whose last line is there and agrees; every number
 *                fits into a signed 64-bit integer, and so do all sums of blocks and of bytes over
 *                the records of one kind: who adds them up need not look.
 *
 * A record refers to a stack by its number, which need not be in the file: 0 is none. Texts are as
 * the program had them, any bytes but zero (`\xHH` is decoded). A profile is not changed after it
 * was read; everything lives until the command ends. */
#ifndef GC_CLI_PROFILE_H
#define GC_CLI_PROFILE_H

#include "cli/command.h"
#include "cli/list.h"
#include "watch/stats_page.h"

#include <stdbool.h>
#include <stdint.h>

struct profile_option {
    const char *name, *value;
};

struct profile_total {
    const char *name;
    uint64_t value;
};

struct profile_module {
    uint64_t start, end, loaded, unloaded; /* ns; unloaded 0: still there */
    const char *build_id;                  /* hexadecimal; "" if it has none */
    const char *path;
};

struct profile_thread {
    uint64_t tid;
    const char *name;
};

struct profile_stack {
    uint64_t id, time;
    size_t first, depth;   /* in `pcs` */
    uint64_t parent, kept; /* of its outermost frames so many are that stack's too; 0: none */
};

struct profile_site {
    uint64_t stack, allocated_blocks, allocated_bytes, freed_blocks, freed_bytes;
};

/* `for_blocks`, `for_bytes`: estimates of how many there are of which these are the ones that have
 * a stack; so nothing where they have none, but others do (profile_is_sampled). Else themselves. */
struct profile_reach {
    uint64_t stack, size, blocks, bytes, for_blocks, for_bytes;
};

struct profile_leak {
    uint64_t stack, size;
    bool indirect, reclaimed;
    uint64_t blocks, bytes, youngest, oldest, for_blocks, for_bytes;
};

struct profile_contradiction {
    uint64_t stack, count;
};

struct profile_event {
    uint64_t time, thread;
    enum event_kind kind; /* EVENT_NONE: one that is not known here */
    const char *kind_name;
    uint64_t a, b;
};

struct profile {
    const char *path;
    uint64_t pid, ppid, uid, started_unix_ns, uptime_ns;
    const char *program, *reason;
    uint64_t forgotten;     /* unloaded modules that are not among `modules` */
    const char *unrecorded; /* why no stacks were recorded, or NULL */
    LIST(const char *) arguments, notes;
    LIST(struct profile_option) options;
    LIST(struct profile_total) totals;
    LIST(struct profile_module) modules;
    LIST(struct profile_thread) threads;
    LIST(struct profile_stack) stacks; /* by id, ascending */
    LIST(uint64_t) pcs;
    LIST(struct profile_site) sites;
    LIST(struct profile_reach) reach;
    LIST(struct profile_leak) leaks;
    LIST(struct profile_contradiction) contradictions;
    LIST(struct stats_cycle) cycles;
    LIST(struct stats_moment) moments;
    LIST(struct profile_event) events;
};

/*  X(FIELD): the fields of struct stats_cycle and of struct stats_moment, in their order. */
#define PROFILE_CYCLE_FIELDS(X)                                                                \
    X(number) X(reason) X(begun) X(took) X(stopping) X(pauses) X(pause) X(paused)              \
    X(heap_before) X(heap_marked) X(live) X(goal) X(stack_bytes) X(root_bytes)                 \
    X(unreached_blocks) X(unreached_bytes) X(reclaimed_blocks) X(reclaimed_bytes)              \
    X(contradictions) X(reclaiming)
#define PROFILE_MOMENT_FIELDS(X)                                                               \
    X(time) X(heap_used) X(live) X(reclaimed_bytes) X(unreached_bytes) X(resident_bytes)

/* Reads a file, or says in one line why it is none. */
enum status profile_read(const char *path, struct profile *profile);
/* NULL if there is none of that number. */
const struct profile_stack *profile_stack(const struct profile *profile, uint64_t id);
/* "" and 0 if there is none of that name, here and below. */
const char *profile_option(const struct profile *profile, const char *name);
/* An option that is a number of bytes, which may have the suffix K, M, G or T. */
uint64_t profile_size_option(const struct profile *profile, const char *name);
/* Do blocks with a stack stand for those without one? */
bool profile_is_sampled(const struct profile *profile);
/* Of how many bytes, in the mean, one allocation has its stack recorded: 1 if each has. */
uint64_t profile_sample(const struct profile *profile);
uint64_t profile_total(const struct profile *profile, const char *name);
/* The word for a cycle's reason. */
const char *profile_cycle_reason(uint64_t reason);

#endif
