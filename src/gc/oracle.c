/* oracle.c -- the reference mark.
 *
 * It runs as the mark of the epoch after the current one, over a copy: the slot bytes are saved,
 * all roots are read whole, and every live block that the second mark reached must carry the epoch
 * of the first in the saved bytes. Then they are put back, and the team is that of the first mark
 * again: what hangs from finalizers has yet to be marked.
 *
 *   .inv.garbage   A block that was born during the mark holds what the memory held before, until
 *                  the program writes it, and that keeps nothing alive: the first mark reads
 *                  written pages of such blocks only. So must the second, or it would reach what is
 *                  garbage. Which blocks were born and which were reached is in mark_claimed, a bit
 *                  a granule.
 *
 *   .inv.late      A thread may store the old epoch in the byte of a new block, long after the
 *                  epoch has advanced (judge.c, .inv.newborn). An old word that happens to point
 *                  there was read when the block was nobody's, and need not be read again. So only
 *                  blocks that were live when the mark began are asked for.
 *
 * It has a loop of its own, without prefetches, teams and shortcuts. */
#include "gc/oracle.h"


#include "base/check.h"
#include "gc/protected.h"
#include "gc/team.h"
#include "heap/judge.h"
#include "heap/slab.h"
#include "sys/mem.h"
#include "sys/print.h"

#include <string.h>

#if GC_CHECK_LEVEL >= 1

static struct {
    uint8_t *claimed, *written;  /* bits: a granule each, a page each */
    size_t claimed_bytes;
    uint8_t *saved;              /* slot bytes when the mark had ended, */
    uint8_t *first;              /* and when it began, of the first `first_bytes` granules */
    size_t first_bytes;
    uint8_t epoch;
    struct marker *m;
    struct pagemap *pagemap;
} oracle;

static size_t slabs_now(void)
{
    return relaxed_load(&arena.top);
}

static bool bit(const uint8_t *bits, size_t index)
{
    return (bits[index / 8] >> (index % 8)) & 1;
}

/* The bits' own place is no root: it must not be armed, for markers write there. */
static bool reserve_bits(void)
{
    size_t size = align_up(arena.slab_count * (SLAB_SIZE / GRANULE / 8), PAGE_SIZE);
    oracle.claimed = mem_reserve(size);
    if (oracle.claimed == NULL)
        return false;
    roots_exclude((uintptr_t)oracle.claimed, (uintptr_t)oracle.claimed + size);
    return true;
}

static bool remember_bytes(void)
{
    if (oracle.first != NULL)
        mem_release(oracle.first, oracle.first_bytes);
    oracle.first_bytes = slabs_now() * (SLAB_SIZE / GRANULE);
    oracle.first = mem_map(oracle.first_bytes);
    if (oracle.first == NULL)
        return false;
    for (size_t i = 0; i < oracle.first_bytes; i++)
        oracle.first[i] = relaxed_load(&hot.slots[i]);
    return true;
}

bool oracle_begin(void)
{
    size_t slabs = size_min(arena.slab_count, 2 * slabs_now() + 4096);
    size_t bytes = align_up(slabs * (SLAB_SIZE / GRANULE / 8), PAGE_SIZE);
    if (oracle.claimed == NULL && !reserve_bits())
        return false;
    if (!mem_commit(oracle.claimed, bytes) || !mem_discard(oracle.claimed, bytes))
        return false;
    oracle.claimed_bytes = bytes;
    mark_remember(oracle.claimed, slabs);
    return remember_bytes();
}

static void note_written(uintptr_t start, uintptr_t end, void *data)
{
    (void)data;
    for (uintptr_t page = start; page < end; page += PAGE_SIZE) {
        size_t index = (page - arena.base) >> PAGE_SHIFT;
        oracle.written[index / 8] |= (uint8_t)(1u << (index % 8));
    }
}

/* Which pages of the heap were written since they were armed. */
static void look_at_barrier(const struct barrier *barrier)
{
    uintptr_t end = slab_address((uint32_t)slabs_now());
    if (barrier == NULL)
        note_written(arena.base, end, NULL);
    else
        barrier->take(arena.base, end, false, note_written, NULL);
}

static bool was_born(uintptr_t block)
{
    size_t granule = (block - arena.base) >> GRANULE_SHIFT;
    return oracle.saved[granule] == oracle.epoch && !bit(oracle.claimed, granule);
}

struct reading {
    uintptr_t end;               /* of the block: its last page may hold more */
    bool born;
};

static void read_pages(uintptr_t start, uintptr_t end, void *data)
{
    const struct reading *r = data;
    end = size_min(end, r->end);
    for (uintptr_t at = start, next; at < end; at = next) {
        next = size_min(align_down(at, PAGE_SIZE) + PAGE_SIZE, end);
        bool skip = r->born && !bit(oracle.written, (at - arena.base) >> PAGE_SHIFT);
        if (!skip)
            mark_words(oracle.m, (const uintptr_t *)at, (next - at) / WORD_SIZE);
    }
}

/* Pages that do not exist are not read: that would make them. */
static void read_block(const struct block *b)
{
    struct reading r = {b->start + align_down(b->size, WORD_SIZE), was_born(b->start)};
    struct work work = {b->start, b->size};
    if (protected_overlaps(b->start, b->size))
        oracle.m->read_carefully(oracle.m, work);
    else if (b->size < SPARSE_LEAST ||
             !pagemap_each(oracle.pagemap, PAGEMAP_POPULATED, b->start,
                           align_up(b->start + b->size, PAGE_SIZE), read_pages, &r))
        read_pages(b->start, r.end, &r);
}

static void drain(void)
{
    struct worklist *list = &oracle.m->work;
    struct block b;
    mark_flush(oracle.m);
    while (list->count != 0) {
        struct work item = list->items[--list->count];
        if (block_find(item.start, &b) && !b.head->leaf)
            read_block(&b);
        mark_flush(oracle.m);
    }
    GC_CHECK(!list->overflowed && "the oracle's list grows without bound");
}

static void mark_all(const struct roots_request *request)
{
    struct roots_request all = *request;
    struct roots_stats stats;
    all.pass = ROOTS_ALL;
    mark_remember(NULL, 0);
    team_start(1, oracle.pagemap);
    const char *reason = roots_scan(oracle.m, &all, &stats);
    if (reason != NULL)
        print_fatal("oracle: %s", reason);
    drain();
}

static void check_span(struct slab *head)
{
    uintptr_t start = slab_address(slab_index(head));
    for (uint32_t slot = 0; slot < head->slots; slot++) {
        uintptr_t block = start + (uintptr_t)slot * head->object_size;
        size_t granule = (block - arena.base) >> GRANULE_SHIFT;
        uint8_t before = oracle.saved[granule], now = relaxed_load(slot_of(block));
        if (granule >= oracle.first_bytes || !slot_is_live(oracle.first[granule]))
            continue; /* .inv.late */
        if (now == epoch_next(oracle.epoch) && before != oracle.epoch && slot_is_live(before))
            print_fatal("oracle: the block at %p of %u bytes (class %u) is reachable, and was not "
                        "marked: its byte is %u, the epoch %u",
                        (void *)block, head->object_size, head->size_class, before, oracle.epoch);
    }
}

static void check_all(const struct roots_request *request, size_t bytes)
{
    look_at_barrier(request->barrier);
    memcpy(oracle.saved, (const void *)(uintptr_t)hot.slots, bytes);
    struct team_totals totals = team_totals();
    relaxed_store(&hot.epoch, epoch_next(oracle.epoch));
    mark_all(request);
    relaxed_store(&hot.epoch, oracle.epoch);
    team_start(1, oracle.pagemap);
    team_set_totals(totals);
    for (uint32_t i = 0; i < slabs_now(); i++)
        if (slab_kind(slab_at(i)) >= SLAB_CLASSED && slab_at(i)->head == i)
            check_span(slab_at(i));
    memcpy((void *)(uintptr_t)hot.slots, oracle.saved, bytes);
}

void oracle_check(const struct roots_request *request)
{
    size_t bytes = slabs_now() * (SLAB_SIZE / GRANULE);
    size_t pages = align_up(slabs_now() * (SLAB_SIZE / PAGE_SIZE / 8), PAGE_SIZE);
    /* The heap outgrew the bits: what lies above them cannot be told. */
    if (slabs_now() * (SLAB_SIZE / GRANULE / 8) > oracle.claimed_bytes)
        return;
    oracle.epoch = relaxed_load(&hot.epoch);
    oracle.m = team_leader();
    oracle.pagemap = &request->files->pagemap;
    oracle.saved = mem_map(bytes);
    oracle.written = mem_map(pages);
    if (oracle.saved != NULL && oracle.written != NULL)
        check_all(request, bytes);
    if (oracle.saved != NULL)
        mem_release(oracle.saved, bytes);
    if (oracle.written != NULL)
        mem_release(oracle.written, pages);
}

#else

bool oracle_begin(void)
{
    return false;
}

void oracle_check(const struct roots_request *request)
{
    (void)request;
}

#endif
