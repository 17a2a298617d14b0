/* frame_rule.c -- the cache of frame rules: one for the process, lock-free.
 *
 * Working out a rule takes libunwind microseconds; a program has a few thousand distinct return
 * addresses. One cache line holds four entries, so a lookup costs one cache miss at most.
 *
 *   .inv.torn   An entry is two words written without a lock: `data` = the rule, and `check` = the
 *               rule xor the tag. An entry half of one writer and half of another matches no tag
 *               that is looked for (Hyatt's transposition-table trick, 2002).
 *   .inv.epoch  The tag holds the epoch in its top 16 bits, which are 0 in a user address. A flush
 *               raises the epoch, and all older entries match nothing. A rule carries the epoch
 *               from before it was worked out, so a flush in between makes it stale at birth.
 *
 * Trap: libunwind's own cache is per thread (256 KiB each, written in full at creation), freed from
 * a thread-specific destructor, and never flushed: after dlclose it follows rules of code that is
 * gone. After 65,536 flushes an ancient entry could match again; it would give wrong frames for one
 * address, not a fault (.inv.ask in peek.c).
 *
 * Cost: 512 KiB of zero pages, touched as used; 2-3 ns for a hit. */
#include "watch/frame_rule.h"

#include "base/atomic.h"
#include "base/rng.h"

#include <string.h>

enum {
    /* Lines of four entries. 32,768 return addresses: a large C++ server has about 20,000 that
     * lead to malloc. Less thrashes there, more is address space nobody touches. */
    LINES_SHIFT = 13,
    LINES = 1 << LINES_SHIFT,
    WAYS = 4,
    EPOCH_SHIFT = 48,
};

struct entry {
    _Atomic uint64_t check, data;
};
struct line {
    struct entry ways[WAYS];
} __attribute__((aligned(CACHE_LINE)));

static GC_LARGE struct line lines[LINES];
static _Atomic uint64_t epoch;

/* Functions made alike lie at equal distances, and a product alone takes some distances (144: a
 * Fibonacci number) to few lines: two thirds of 4,096 rules had no room. The page's number, xored
 * in, breaks every such series. */
static struct line *line_of(uintptr_t pc)
{
    return &lines[((pc ^ pc / PAGE_SIZE) * 0x9e3779b97f4a7c15u) >> (64 - LINES_SHIFT)];
}

static uint64_t tag_of(uintptr_t pc, uint64_t at_epoch)
{
    return pc ^ (at_epoch << EPOCH_SHIFT); /* .inv.epoch */
}

bool frame_rule_find(uintptr_t pc, struct frame_rule *rule)
{
    struct line *line = line_of(pc);
    uint64_t tag = tag_of(pc, relaxed_load(&epoch));
    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t data = relaxed_load(&line->ways[i].data);
        if ((relaxed_load(&line->ways[i].check) ^ data) == tag) { /* .inv.torn */
            memcpy(rule, &data, sizeof *rule);
            return true;
        }
    }
    return false;
}

uint64_t frame_rule_epoch(void)
{
    return acquire_load(&epoch);
}

/* A way that is unused, or of another epoch, or else a pseudo-random one. */
static struct entry *way_for(struct line *line, uint64_t tag)
{
    for (unsigned i = 0; i < WAYS; i++) {
        uint64_t there = relaxed_load(&line->ways[i].check) ^ relaxed_load(&line->ways[i].data);
        if (there == 0 || there >> EPOCH_SHIFT != tag >> EPOCH_SHIFT)
            return &line->ways[i];
    }
    return &line->ways[mix64(tag) % WAYS];
}

void frame_rule_add(uintptr_t pc, struct frame_rule rule, uint64_t at_epoch)
{
    uint64_t data, tag = tag_of(pc, at_epoch);
    struct entry *entry = way_for(line_of(pc), tag);
    memcpy(&data, &rule, sizeof data);
    relaxed_store(&entry->data, data);
    relaxed_store(&entry->check, data ^ tag);
}

void frame_rule_flush(void)
{
    atomic_fetch_add_explicit(&epoch, 1, memory_order_acq_rel);
}
