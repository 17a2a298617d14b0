/* leak.c -- totals per site: a growing array of groups with an open-addressed index.
 *
 * A site is the allocation's stack, where one was recorded; blocks without one are told apart by
 * their size. Direct and indirect, reclaimed and remaining are counted apart, as they are reported.
 * What no mark has reached, and nobody has judged yet, is counted anew whenever somebody asks.
 * Memory comes from meta_alloc; arrays that were outgrown are lost to it, together at most as much
 * as the last one. */
#include "watch/leak.h"

#include "base/check.h"
#include "base/rng.h"
#include "cycle/probation.h"
#include "gc/leak_graph.h"
#include "heap/census.h"
#include "heap/meta.h"
#include "mutator/alloc.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/print.h"
#include "sys/syscall.h"
#include "watch/destination.h"
#include "watch/leak_report.h"
#include "watch/modules.h"
#include "watch/stack_table.h"
#include "watch/suppress.h"
#include "watch/symbol.h"

#include <string.h>

enum { GROUPS_START = 256, NO_GROUP = 0 };

struct table {
    struct leak_group *groups;
    size_t count, room;
    uint32_t *index;       /* group number + 1, 0 = empty; 2 * room entries */
    uint64_t dropped;      /* blocks that found no room */
};

static struct {
    struct lock lock;
    struct table judged;   /* for good */
    struct table present;  /* not judged yet, when they were last counted */
    bool ended;            /* all are judged */
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

static uint32_t *slot_for(struct table *t, const struct leak_group *g)
{
    size_t mask = 2 * t->room - 1;
    size_t at = hash(g) & mask;
    while (t->index[at] != NO_GROUP && !same_site(&t->groups[t->index[at] - 1], g))
        at = (at + 1) & mask;
    return &t->index[at];
}

static bool make_room(struct table *t)
{
    if (t->count < t->room)
        return true;
    size_t room = t->room == 0 ? GROUPS_START : 2 * t->room;
    struct leak_group *groups = meta_alloc(room * sizeof(*groups));
    uint32_t *index = meta_alloc(2 * room * sizeof(*index));
    if (groups == NULL || index == NULL)
        return false;
    memcpy(groups, t->groups, t->count * sizeof(*groups));
    t->groups = groups;
    t->index = index;
    t->room = room;
    for (size_t i = 0; i < t->count; i++)
        *slot_for(t, &groups[i]) = (uint32_t)i + 1;
    return true;
}

static struct leak_group *find_or_add(struct table *t, const struct leak_group *key)
{
    /* A known site needs no room: it is found even when there is no memory left. */
    uint32_t *slot = t->room == 0 ? NULL : slot_for(t, key);
    if (slot == NULL || *slot == NO_GROUP) {
        if (!make_room(t))
            return NULL;
        slot = slot_for(t, key);
        t->groups[t->count] = *key;
        t->groups[t->count].bytes = t->groups[t->count].parts = 0;
        *slot = (uint32_t)++t->count;
    }
    return &t->groups[*slot - 1];
}

/* SITES lock held. */
static void note(struct table *t, const struct leak_group *key)
{
    struct leak_group *g = find_or_add(t, key);
    if (g == NULL) {
        t->dropped++;
        return;
    }
    g->blocks += 1;
    g->bytes += key->bytes;
    g->parts += key->parts;
    g->byte_parts += key->parts * key->bytes;
    g->age_least = key->age_least < g->age_least ? key->age_least : g->age_least;
    g->age_most = key->age_most > g->age_most ? key->age_most : g->age_most;
    if (g->block_size != key->block_size)
        g->block_size = 0;
}

void leak_note(const struct block *block, unsigned age, bool indirect, bool reclaimed)
{
    struct leak_group key = {.stack = block_stack(block), .indirect = indirect,
                             .reclaimed = reclaimed, .age_least = age, .age_most = age,
                             .bytes = block_requested(block), .parts = alloc_parts(block),
                             .block_size = (uint32_t)size_min(block_requested(block), UINT32_MAX)};
    lock_acquire(&leaks.lock);
    note(&leaks.judged, &key);
    lock_release(&leaks.lock);
}

static void note_present(const struct census_entry *entry, void *data)
{
    (void)data;
    if (!entry->unreached) /* first: that is most, and their stacks need not be looked up */
        return;
    struct leak_group key = {.stack = stack_table_has(entry->stack) ? entry->stack : 0,
                             .indirect = leak_graph_is_indirect(entry->start),
                             .age_least = entry->age, .age_most = entry->age,
                             .bytes = entry->bytes,
                             .parts = alloc_parts_of_size(entry->size),
                             .block_size = (uint32_t)size_min(entry->bytes, UINT32_MAX)};
    lock_acquire(&leaks.lock);
    if (!leaks.ended)
        note(&leaks.present, &key);
    lock_release(&leaks.lock);
}

static void forget_present(bool for_good)
{
    lock_acquire(&leaks.lock);
    struct table *t = &leaks.present;
    if (t->index != NULL)
        memset(t->index, 0, 2 * t->room * sizeof(*t->index));
    t->count = 0;
    t->dropped = 0;
    leaks.ended |= for_good;
    lock_release(&leaks.lock);
}

void leak_end_present(void)
{
    forget_present(true);
}

void leak_count_present(void)
{
    forget_present(false);
    census_take(note_present, NULL);
}

bool leak_any(void)
{
    return leaks.judged.count != 0 || leaks.present.count != 0;
}

bool leak_group(size_t number, struct leak_group *out)
{
    lock_acquire(&leaks.lock);
    const struct table *t = &leaks.judged;
    if (number >= t->count) {
        number -= t->count;
        t = &leaks.present;
    }
    bool there = number < t->count;
    if (there)
        *out = t->groups[number];
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
        uintptr_t pcs[STACK_DEPTH_MAX];
        if (s->max_groups != 0 && i == s->max_groups)
            break;
        if (count == 0)
            continue;
        printer_printf(p, "%lu of them with blocks allocated from:\n", count);
        unsigned depth = stack_table_get(stack, pcs);
        leak_report_print_stack(p, pcs, depth, s->naming);
    }
}

/* All groups, in a mapping of their own: nobody waits for the SITES lock while they are printed. */
struct copy {
    struct leak_group *groups;
    size_t count, bytes;
};

static struct copy copy_groups(void)
{
    struct copy c = {.bytes = 0};
    lock_acquire(&leaks.lock);
    size_t count = leaks.judged.count + leaks.present.count;
    c.bytes = align_up(count * sizeof(struct leak_group), PAGE_SIZE);
    c.groups = count == 0 ? NULL : mem_map(c.bytes);
    if (c.groups != NULL) {
        memcpy(c.groups, leaks.judged.groups, leaks.judged.count * sizeof(struct leak_group));
        memcpy(c.groups + leaks.judged.count, leaks.present.groups,
               leaks.present.count * sizeof(struct leak_group));
        c.count = count;
    }
    lock_release(&leaks.lock);
    return c;
}

static void drop_copy(struct copy c)
{
    if (c.groups != NULL)
        mem_release(c.groups, c.bytes);
}

bool leak_any_unsuppressed(struct symbol_time *naming)
{
    struct copy all = copy_groups();
    bool any = suppress_apply(all.groups, all.count, naming) != 0;
    drop_copy(all);
    return any;
}

static void print_left_out(struct printer *p, const struct symbol_time *naming)
{
    if (naming == NULL || naming->left_out == 0)
        return;
    printer_printf(p, "libgcmalloc: the time for names (symbolize_seconds) was over: %lu frame(s) "
                      "could not be looked up%s\n", naming->left_out,
                   suppress_any() ? ", so suppressions may have missed some leaks." : ".");
}

static void write_report(const struct leak_summary *s, int fd)
{
    struct printer p;
    struct copy all = copy_groups();
    all.count = suppress_apply(all.groups, all.count, s->naming);
    uint64_t dropped = leaks.judged.dropped + leaks.present.dropped;
    struct leak_report report = {
        .groups = all.groups,
        .count = all.count,
        .pid = (int)syscall0(__NR_getpid),
        .not_collected_reason = s->not_collected,
        .still_reachable_blocks = s->reachable_blocks,
        .still_reachable_bytes = s->reachable_bytes,
        .max_groups = s->max_groups,
        .naming = s->naming,
        .no_stacks = s->no_stacks,
    };
    printer_start(&p, fd);
    leak_report_print(&report, &p);
    suppress_print(&p);
    if (dropped != 0)
        printer_printf(&p, "libgcmalloc: %lu leaked block(s) more, for which there was no memory "
                           "to record the site.\n", dropped);
    if (modules_forgotten() != 0)
        printer_printf(&p, "libgcmalloc: %lu unloaded module(s) were not kept: functions that were "
                           "in them may have no name, or another one.\n", modules_forgotten());
    if (s->interlock != NULL)
        printer_printf(&p, "libgcmalloc: in the end nothing was reclaimed: %s\n", s->interlock);
    if (s->contradictions != 0)
        print_contradictions(&p, s);
    if (s->withheld != 0)
        printer_printf(&p, "libgcmalloc: %lu block(s) were withheld, %lu of them were used.\n",
                       s->withheld, s->touched);
    print_left_out(&p, s->naming);
    printer_flush(&p);
    drop_copy(all);
}

void leak_report_write(const struct leak_summary *s)
{
    if (strcmp(s->destination, "off") == 0)
        return;
    if (!leak_any() && s->not_collected == NULL && s->contradictions == 0)
        return;
    struct destination to = destination_open(s->destination, "the report", true);
    if (to.fd >= 0)
        write_report(s, to.fd);
    destination_close(to);
}

struct lock *leak_lock(void)
{
    return &leaks.lock;
}
