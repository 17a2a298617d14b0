/* leak.c -- totals per site: a growing array of groups with an open-addressed index.
 *
 * A site is the allocation's stack, where one was recorded; blocks without one are told apart by
 * their size. Direct and indirect, reclaimed and remaining are counted apart, as they are reported.
 * Memory comes from meta_alloc; arrays that were outgrown are lost to it, together at most as much
 * as the last one. */
#include "watch/leak.h"

#include "base/check.h"
#include "base/rng.h"
#include "cycle/probation.h"
#include "heap/meta.h"
#include "sys/lock.h"
#include "sys/print.h"
#include "sys/syscall.h"
#include "watch/destination.h"
#include "watch/leak_report.h"
#include "watch/stack_table.h"

#include <string.h>

enum { GROUPS_START = 256, NO_GROUP = 0 };

static struct {
    struct lock lock;
    struct leak_group *groups;
    size_t count, room;
    uint32_t *index;       /* group number + 1, 0 = empty; 2 * room entries */
    uint64_t dropped;      /* blocks that found no room */
} leaks = {.lock = LOCK_INIT(SITES)};

static uint64_t hash(const struct leak_group *g)
{
    uint64_t key = (uint64_t)g->stack << 32 | (g->stack == 0 ? g->block_size : 0);
    return mix64(key * 4 + (uint64_t)g->indirect * 2 + g->reclaimed + 1);
}

static bool same_site(const struct leak_group *a, const struct leak_group *b)
{
    return a->stack == b->stack && a->indirect == b->indirect && a->reclaimed == b->reclaimed &&
           (a->stack != 0 || a->block_size == b->block_size);
}

static uint32_t *slot_for(const struct leak_group *g)
{
    size_t mask = 2 * leaks.room - 1;
    size_t at = hash(g) & mask;
    while (leaks.index[at] != NO_GROUP && !same_site(&leaks.groups[leaks.index[at] - 1], g))
        at = (at + 1) & mask;
    return &leaks.index[at];
}

static bool make_room(void)
{
    if (leaks.count < leaks.room)
        return true;
    size_t room = leaks.room == 0 ? GROUPS_START : 2 * leaks.room;
    struct leak_group *groups = meta_alloc(room * sizeof(*groups));
    uint32_t *index = meta_alloc(2 * room * sizeof(*index));
    if (groups == NULL || index == NULL)
        return false;
    memcpy(groups, leaks.groups, leaks.count * sizeof(*groups));
    leaks.groups = groups;
    leaks.index = index;
    leaks.room = room;
    for (size_t i = 0; i < leaks.count; i++)
        *slot_for(&groups[i]) = (uint32_t)i + 1;
    return true;
}

static struct leak_group *find_or_add(const struct leak_group *key)
{
    /* A known site needs no room: it is found even when there is no memory left. */
    uint32_t *slot = leaks.room == 0 ? NULL : slot_for(key);
    if (slot == NULL || *slot == NO_GROUP) {
        if (!make_room())
            return NULL;
        slot = slot_for(key);
        leaks.groups[leaks.count] = *key;
        *slot = (uint32_t)++leaks.count;
    }
    return &leaks.groups[*slot - 1];
}

void leak_note(const struct block *block, unsigned age, bool indirect, bool reclaimed)
{
    struct leak_group key = {.stack = block_stack(block), .indirect = indirect,
                             .reclaimed = reclaimed, .age_least = age, .age_most = age,
                             .block_size = (uint32_t)size_min(block_requested(block), UINT32_MAX)};
    lock_acquire(&leaks.lock);
    struct leak_group *g = find_or_add(&key);
    if (g != NULL) {
        g->blocks++;
        g->bytes += block_requested(block);
        g->age_least = age < g->age_least ? age : g->age_least;
        g->age_most = age > g->age_most ? age : g->age_most;
        if (g->block_size != key.block_size)
            g->block_size = 0;
    } else {
        leaks.dropped++;
    }
    lock_release(&leaks.lock);
}

bool leak_any(void)
{
    return leaks.count != 0;
}

bool leak_group(size_t number, struct leak_group *out)
{
    lock_acquire(&leaks.lock);
    bool there = number < leaks.count;
    if (there)
        *out = leaks.groups[number];
    lock_release(&leaks.lock);
    return there;
}

/* Where the blocks come from that were used though no pointer to them had been found. */
static void print_contradictions(struct printer *p, const struct leak_summary *s)
{
    uint32_t stack;
    uint64_t count;
    printer_printf(p, "libgcmalloc: %lu contradiction(s): the program used a block to which no "
                      "pointer had been found.\n", s->contradictions);
    if (s->written != 0)
        printer_printf(p, "libgcmalloc: %lu of them were writes to a page of such blocks, seen by "
                          "the barrier; the first block of the page is counted.\n", s->written);
    for (uint32_t i = 0; probation_site(i, &stack, &count); i++) {
        const uintptr_t *pcs;
        if (s->max_groups != 0 && i == s->max_groups)
            break;
        if (count == 0)
            continue;
        printer_printf(p, "%lu of them with blocks allocated from:\n", count);
        unsigned depth = stack_table_get(stack, &pcs);
        leak_report_print_stack(p, pcs, depth);
    }
}

static void write_report(const struct leak_summary *s, int fd)
{
    struct printer p;
    struct leak_report report = {
        .groups = leaks.groups,
        .count = leaks.count,
        .pid = (int)syscall0(__NR_getpid),
        .not_collected_reason = s->not_collected,
        .still_reachable_blocks = s->reachable_blocks,
        .still_reachable_bytes = s->reachable_bytes,
        .max_groups = s->max_groups,
    };
    printer_start(&p, fd);
    leak_report_print(&report, &p);
    if (leaks.dropped != 0)
        printer_printf(&p, "libgcmalloc: %lu leaked block(s) more, for which there was no memory "
                           "to record the site.\n", leaks.dropped);
    if (s->interlock != NULL)
        printer_printf(&p, "libgcmalloc: in the end nothing was reclaimed: %s\n", s->interlock);
    if (s->contradictions != 0)
        print_contradictions(&p, s);
    if (s->withheld != 0)
        printer_printf(&p, "libgcmalloc: %lu block(s) were withheld, %lu of them were used.\n",
                       s->withheld, s->touched);
    printer_flush(&p);
}

void leak_report_write(const struct leak_summary *s)
{
    if (strcmp(s->destination, "off") == 0)
        return;
    if (leaks.count == 0 && s->not_collected == NULL && s->contradictions == 0)
        return;
    int fd = destination_open(s->destination, "the report", true);
    if (fd == 2 && !print_stderr_usable())
        return;
    write_report(s, fd);
    destination_close(fd);
}

struct lock *leak_lock(void)
{
    return &leaks.lock;
}
