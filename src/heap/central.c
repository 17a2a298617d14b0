/* central.c -- batches of blocks between thread caches and spans.
 *
 * A span with at least one free slot is on its class's list; a full one is on none; an empty one
 * goes back to the page heap, except that the class keeps its last listed span. Free slots are
 * found through their slot bytes: nothing is ever written into a free block.
 *
 *   .inv.listed    A span is on the list if and only if free_slots > 0.
 *   .inv.counted   free_slots is the number of slots whose byte is 0. Both change together, under
 *                  the class's lock (fetch, release, sweep), but for .inv.unlocked.
 *   .inv.unlocked  While nobody is told of single blocks, the sweeper judges a span of small slots
 *                  without the class's lock, which would hold up allocating threads for some 5 us:
 *                  it takes the lock to find the span's slot bytes, and again to count what it
 *                  freed. It does not look at the descriptor in between. Judging is by
 *                  compare-and-swap, so of two that judge a span each slot is counted by one. What
 *                  is freed and not counted yet keeps the span from being empty, and retired. A
 *                  span may only vanish under a judge who has freed nothing in it, and finds
 *                  nothing in what comes after, for blocks are born with the current epoch. In the
 *                  child of fork the sweeper is gone, and what it had not counted is counted anew;
 *                  for a handler that forks on top of a sweeper, all that counts as a lock held
 *                  (sweep.c).
 *   .inv.swept     A slot is handed out only from a span swept since the last mark, so that its
 *                  unreachable neighbours are free by then (sweep on demand), and so that the
 *                  whole arena is swept before the next mark (sweep.h).
 *
 * Threads apart. What two processors write in turn travels between them, some 50 ns each time, so
 * blocks of one thread should not be mixed with another's, nor should their slot bytes:
 *
 *   .inv.lines     A batch from a span ends where a cache line of slot bytes ends (1 KiB of
 *                  blocks), if it is that long.
 *
 * and the transfer cache is in shards: one of another thread gives only what is more than half of
 * what it may hold, or when else a new span had to be made. Two threads that emptied and filled
 * their magazines through a common one exchanged all their blocks: smartheap on two threads took
 * 2.5 times as long.
 *
 * Giving back. What lay in a transfer cache unneeded since the last call goes to its spans, and the
 * kernel gets whole pages of free slots from spans in which nothing has changed for some calls: one
 * live block must not keep 64 KiB resident. Free slots hold nothing, so nothing is lost.
 *
 * Lock order: CENTRAL, then PAGE_HEAP and META. No two classes' locks at once, except in fork. */
#include "heap/central.h"

#include "base/check.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/page_heap.h"
#include "heap/sweep.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/pagemap.h"

#include <emmintrin.h>
#include <string.h>

enum {
    /* Blocks in a shard of the transfer cache of a class, and bytes in all of them. */
    SHARD_MOST = 2 * CENTRAL_BATCH_MOST,
    TRANSFER_BYTES = 512 << 10,
    KINDS = 4,
    CENTRALS = KINDS * SIZE_CLASS_COUNT,
    /* A batch that covers so much memory that was never touched has it populated. With 16 KiB a
     * program that touches little of its larger blocks had half as much resident again. */
    POPULATE_LEAST = 16 * PAGE_SIZE,
    /* slab.idle: the pages have been given to the kernel. */
    IDLE_DISCARDED = UINT8_MAX,
};

struct central {
    struct lock lock;
    /* All under `lock`. */
    uint32_t first;          /* list of spans with free slots: index + 1, 0 = none */
    uint32_t transfer_count; /* of all shards */
    uint32_t taken;          /* slots of its spans that are not free */
    bool used;               /* since central_scavenge */
    struct record *spare_records; /* of retired traced spans, chained through their first words */
} __attribute__((aligned(CACHE_LINE)));

__extension__ static struct central centrals[CENTRALS] = {
    [0 ... CENTRALS - 1] = {.lock = LOCK_INIT(CENTRAL)},
};
/* The transfer cache. Its central's lock. */
struct shard {
    uint32_t count;
    uint32_t low;  /* the least that it was since central_scavenge */
    uint32_t most; /* items[most..] were not written since their pages were given back */
    void *items[SHARD_MOST];
};
static GC_LARGE struct shard transfer[SIZE_CLASS_COUNT][CENTRAL_SHARDS];

static struct central *central_of(unsigned size_class, bool traced, bool leaf)
{
    return &centrals[size_class + (traced + 2u * leaf) * SIZE_CLASS_COUNT];
}

static struct central *central_of_span(const struct slab *span)
{
    return central_of(span->size_class, span->traced, span->leaf);
}

/* What it is for follows from where it lies: to write it down would touch all of them when the
 * process starts. */
static unsigned class_of(const struct central *c)
{
    return (unsigned)(c - centrals) % SIZE_CLASS_COUNT;
}

static bool is_traced(const struct central *c)
{
    return (c - centrals) / SIZE_CLASS_COUNT % 2 != 0;
}

static bool is_leaf(const struct central *c)
{
    return (c - centrals) / SIZE_CLASS_COUNT / 2 != 0;
}

static void list_add(struct central *c, struct slab *span)
{
    uint32_t ref = slab_index(span) + 1;
    span->prev = 0;
    span->next = c->first;
    if (c->first != 0)
        slab_at(c->first - 1)->prev = ref;
    c->first = ref;
    span->listed = 1;
}

static void list_remove(struct central *c, struct slab *span)
{
    if (span->prev != 0)
        slab_at(span->prev - 1)->next = span->next;
    else
        c->first = span->next;
    if (span->next != 0)
        slab_at(span->next - 1)->prev = span->prev;
    span->listed = 0;
}

static void span_retire(struct central *c, struct slab *span)
{
    uint32_t head = slab_index(span), slabs = slab_span(span);
    list_remove(c, span);
    if (span->traced) {
        memcpy((void *)span->records, &c->spare_records, sizeof(void *));
        c->spare_records = span->records;
    }
    slab_unmake(head, slabs);
    page_heap_free(head, slabs);
}

/* Puts the span where its count of free slots says. `keep`: the last one may stay though empty. */
static void span_settle(struct central *c, struct slab *span, bool keep)
{
    if (span->free_slots > 0 && !span->listed)
        list_add(c, span);
    else if (span->free_slots == 0 && span->listed)
        list_remove(c, span);
    if (span->free_slots < span->slots)
        return;
    bool only = span->prev == 0 && span->next == 0;
    if (!keep || !only)
        span_retire(c, span);
}

/* A span made while a mark is under way carries that mark's epoch: it has nothing to sweep, then
 * or when the mark has ended. */
static bool span_is_due(const struct slab *span)
{
    uint8_t epoch = acquire_load(&judge.epoch);
    return relaxed_load(&span->swept) != epoch && relaxed_load(&hot.epoch) == epoch;
}

static void span_count(struct central *c, struct slab *span, uint32_t freed)
{
    c->taken -= freed;
    span->free_slots = (uint16_t)(span->free_slots + freed);
    span->idle = freed != 0 ? 0 : span->idle;
    relaxed_store(&span->swept, relaxed_load(&judge.epoch));
    heap_note_reclaimed(freed, (uint64_t)freed * span->object_size);
}

static struct record *new_records(struct central *c)
{
    struct record *records = c->spare_records;
    if (records == NULL)
        return meta_alloc(size_classes[class_of(c)].slots * sizeof(struct record));
    memcpy(&c->spare_records, (void *)records, sizeof(void *));
    return records;
}

static bool span_new(struct central *c)
{
    bool zeroed;
    uint32_t slabs = size_classes[class_of(c)].slabs;
    struct record *records = is_traced(c) ? new_records(c) : NULL;
    uint32_t head = is_traced(c) && records == NULL ? NO_SLAB : page_heap_alloc(slabs, 1, &zeroed);
    if (head == NO_SLAB)
        return false;
    slab_make_classed(head, class_of(c), is_traced(c), is_leaf(c));
    slab_at(head)->records = records;
    slab_at(head)->touched = zeroed ? 0 : (uint16_t)(slabs * (SLAB_SIZE / GRANULE));
    list_add(c, slab_at(head));
    return true;
}

/* Bit i set: the byte of granule at + i is SLOT_FREE. `count`: of all granules of the span, whose
 * bytes may be the last that are committed. */
static uint64_t free_ones(const slot_byte *bytes, uint32_t at, uint32_t count)
{
    uint64_t found = 0;
    uint32_t from = (uint32_t)size_min(at, count - 64);
    for (uint32_t i = 0; i < 64; i += 16) {
        __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(bytes + from + i));
        some = _mm_cmpeq_epi8(some, _mm_set1_epi8(SLOT_FREE));
        found |= (uint64_t)(uint32_t)_mm_movemask_epi8(some) << i;
    }
    return found >> (at - from);
}

/* The multiples of `step` among bits 0 to 63. */
static uint64_t multiples(uint32_t step)
{
    uint64_t bits = 1;
    for (uint32_t reach = step; reach < 64; reach *= 2)
        bits |= bits << reach;
    return bits;
}

/* Takes up to `want` free slots that begin in the granules [at, end); the cursor goes behind the
 * last. Of most spans only few slots are free, so 64 granules are looked at together. */
static uint32_t take_between(struct slab *span, uint32_t at, uint32_t end, void **items,
                             uint32_t want)
{
    const uint32_t stride = span->object_size / GRANULE, step = (63 / stride + 1) * stride;
    const uint32_t granules = slab_span(span) * (SLAB_SIZE / GRANULE);
    const uintptr_t start = slab_address(slab_index(span));
    const uint64_t starts = multiples(stride);
    slot_byte *bytes = slot_of(start);
    uint32_t taken = 0;
    for (; at < end && taken < want; at += step) {
        uint64_t free = free_ones(bytes, at, granules) & starts;
        for (; free != 0 && taken < want; free &= free - 1) {
            uint32_t granule = at + (uint32_t)__builtin_ctzl(free);
            if (granule >= end)
                return taken;
            relaxed_store(bytes + granule, SLOT_CACHED);
            items[taken++] = (void *)(start + (uintptr_t)granule * GRANULE);
            span->cursor = (uint16_t)(granule + stride);
        }
    }
    return taken;
}

/* What was taken lies below the cursor; if some of it was never touched, that is *untouched. */
static void note_untouched(struct slab *span, struct page_range *untouched)
{
    uintptr_t start = slab_address(slab_index(span));
    if (span->cursor <= span->touched)
        return;
    untouched->start = align_up(start + (uintptr_t)span->touched * GRANULE, PAGE_SIZE);
    untouched->end = align_up(start + (uintptr_t)span->cursor * GRANULE, PAGE_SIZE);
    span->touched = span->cursor;
}

/* How many of `want` slots from the cursor on to take, so that what the next thread gets has its
 * slot bytes in other cache lines: .inv.lines. */
static uint32_t whole_lines(const struct slab *span, uint32_t want)
{
    const uint32_t stride = span->object_size / GRANULE;
    uint32_t end = (uint32_t)align_down(span->cursor + want * stride, CACHE_LINE);
    return end > span->cursor ? (end - span->cursor + stride - 1) / stride : want;
}

/* There are as many free slots as the span says. */
static uint32_t span_take(struct slab *span, void **items, uint32_t want,
                          struct page_range *untouched)
{
    const uint32_t end = span->slots * (span->object_size / GRANULE), cursor = span->cursor;
    uint32_t take = (uint32_t)size_min(whole_lines(span, want), span->free_slots);
    uint32_t taken = take_between(span, cursor, end, items, take);
    note_untouched(span, untouched);
    taken += take_between(span, 0, cursor, items + taken, take - taken);
    GC_CHECK(taken == take);
    span->free_slots = (uint16_t)(span->free_slots - take);
    span->idle = 0;
    return take;
}

/* *untouched: the last such part of what was taken. Fewer than `want`: it ended at a line. */
static uint32_t take_from_spans(struct central *c, void **items, uint32_t want,
                                struct page_range *untouched)
{
    uint32_t taken = 0;
    for (bool more = true; more && taken < want && c->first != 0;) {
        struct slab *span = slab_at(c->first - 1);
        if (span_is_due(span))
            span_count(c, span, judge_span(span));
        taken += span_take(span, items + taken, want - taken, untouched);
        more = span->free_slots == 0;
        span_settle(c, span, true);
    }
    c->taken += taken;
    if (taken != 0)
        heap_note_used((int64_t)taken * size_classes[class_of(c)].size);
    return taken;
}

static uint32_t take_from_shard(struct shard *shard, void **items, uint32_t want)
{
    uint32_t count = (uint32_t)size_min(want, shard->count);
    shard->count -= count;
    shard->low = (uint32_t)size_min(shard->low, shard->count);
    memcpy(items, &shard->items[shard->count], count * sizeof(void *));
    return count;
}

/* How many blocks a shard may hold, if the others hold none. */
static uint32_t shard_most(const struct central *c)
{
    return (uint32_t)size_min(TRANSFER_BYTES / size_classes[class_of(c)].size, SHARD_MOST);
}

/* From the caller's shard; if that is empty, from the next one that has more than `spared`. */
static uint32_t take_from_transfer(struct central *c, unsigned shard, uint32_t spared, void **items,
                                   uint32_t want)
{
    uint32_t count = take_from_shard(&transfer[class_of(c)][shard], items, want);
    for (unsigned i = 1; i < CENTRAL_SHARDS && c->transfer_count > spared && count == 0; i++) {
        struct shard *other = &transfer[class_of(c)][(shard + i) % CENTRAL_SHARDS];
        count = other->count > spared ? take_from_shard(other, items, want) : 0;
    }
    c->transfer_count -= count;
    return count;
}

/* No span has a free slot: sweep for one, else make a new span. Lock held on entry and exit;
 * released while other classes are swept. False: out of memory. */
static bool central_grow(struct central *c)
{
    lock_release(&c->lock);
    sweep_for(size_classes[class_of(c)].slabs);
    lock_acquire(&c->lock);
    return c->first != 0 || span_new(c);
}

uint32_t central_fetch(unsigned size_class, unsigned shard, void **items, uint32_t want)
{
    struct central *c = central_of(size_class, false, false);
    struct page_range untouched = {0, 0};
    lock_acquire(&c->lock);
    c->used = true;
    uint32_t count = take_from_transfer(c, shard, shard_most(c) / 2, items, want);
    if (count == 0)
        count = take_from_spans(c, items, want, &untouched);
    if (count == 0) /* rather than to make a new span */
        count = take_from_transfer(c, shard, 0, items, want);
    if (count == 0 && central_grow(c))
        count = take_from_spans(c, items, want, &untouched);
    lock_release(&c->lock);
    if (untouched.end >= untouched.start + POPULATE_LEAST)
        mem_populate((void *)untouched.start, untouched.end - untouched.start);
    return count;
}

/* Frees those of items[0..count) that lie in the span, up to the first that does not; one at least.
 * Returns how many. Its place changes with the first free slot, and perhaps with the last. */
static uint32_t span_give(struct central *c, struct slab *span, void **items, uint32_t count)
{
    uintptr_t start = slab_address(slab_index(span));
    uintptr_t bytes = (uintptr_t)size_classes[class_of(c)].slabs << SLAB_SHIFT;
    uint32_t given = 0, free_before = span->free_slots;
    for (; given < count && (uintptr_t)items[given] - start < bytes; given++) {
        slot_byte *byte = slot_of((uintptr_t)items[given]);
        GC_ASSERT(relaxed_load(byte) == SLOT_CACHED);
        relaxed_store(byte, SLOT_FREE);
    }
    span->free_slots = (uint16_t)(free_before + given);
    span->idle = 0;
    if (free_before == 0 || span->free_slots == span->slots)
        span_settle(c, span, true);
    return given;
}

static void give_to_spans(struct central *c, void **items, uint32_t count)
{
    for (uint32_t given = 0; given < count;) {
        struct slab *slab = slab_at(slab_index_of((uintptr_t)items[given]));
        GC_CHECK(slab_kind(slab) == SLAB_CLASSED && "a cached block lies in a span");
        given += span_give(c, slab_at(slab->head), items + given, count - given);
    }
    c->taken -= count;
    heap_note_returned((int64_t)count * size_classes[class_of(c)].size);
}

static uint32_t transfer_room(const struct central *c, const struct shard *shard)
{
    size_t most = TRANSFER_BYTES / size_classes[class_of(c)].size;
    size_t room = most > c->transfer_count ? most - c->transfer_count : 0;
    return (uint32_t)size_min(room, SHARD_MOST - shard->count);
}

void central_release(unsigned size_class, unsigned shard, void **items, uint32_t count)
{
    struct central *c = central_of(size_class, false, false);
    struct shard *s = &transfer[size_class][shard];
    lock_acquire(&c->lock);
    c->used = true;
    uint32_t room = (uint32_t)size_min(count, transfer_room(c, s));
    memcpy(&s->items[s->count], items, room * sizeof(void *));
    s->count += room;
    s->most = (uint32_t)size_max(s->most, s->count);
    c->transfer_count += room;
    give_to_spans(c, items + room, count - room);
    lock_release(&c->lock);
}

void central_return(unsigned size_class, void **items, uint32_t count)
{
    struct central *c = central_of(size_class, false, false);
    lock_acquire(&c->lock);
    give_to_spans(c, items, count);
    lock_release(&c->lock);
}

void *central_fetch_single(unsigned size_class, const struct record *record, bool leaf)
{
    struct central *c = central_of(size_class, record != NULL, leaf);
    struct page_range untouched;
    void *item = NULL;
    struct block b;
    lock_acquire(&c->lock);
    if (take_from_spans(c, &item, 1, &untouched) == 0 && central_grow(c))
        take_from_spans(c, &item, 1, &untouched);
    if (item != NULL && record != NULL && block_find((uintptr_t)item, &b))
        b.head->records[b.slot] = *record;
    lock_release(&c->lock);
    return item;
}

void central_release_single(const struct block *block)
{
    struct central *c = central_of_span(block->head);
    void *item = (void *)block->start;
    lock_acquire(&c->lock);
    give_to_spans(c, &item, 1);
    lock_release(&c->lock);
}

static bool is_span_of(uint32_t index, const struct central *c)
{
    const struct slab *slab = slab_at(index);
    return slab_kind(slab) == SLAB_CLASSED && slab->head == index && central_of_span(slab) == c;
}

/* .inv.unlocked */
static uint32_t judge_off_lock(struct central *c, struct slab *span)
{
    if (!judge_needs_bytes_only(span))
        return judge_span(span);
    slot_byte *bytes = slot_of(slab_address(slab_index(span)));
    uint32_t granules = slab_span(span) * (SLAB_SIZE / GRANULE);
    lock_release(&c->lock);
    uint32_t freed = judge_bytes(bytes, granules);
    lock_acquire(&c->lock);
    return freed;
}

struct slab *central_hold_span(uint32_t head)
{
    struct slab *span = slab_at(head);
    unsigned size_class = once(span->size_class);
    if (size_class == 0 || size_class >= SIZE_CLASS_COUNT)
        return NULL;
    struct central *c = central_of(size_class, once(span->traced) != 0, once(span->leaf) != 0);
    lock_acquire(&c->lock);
    /* It may have been retired, and remade, since the caller looked. */
    if (is_span_of(head, c))
        return span;
    lock_release(&c->lock);
    return NULL;
}

void central_let_go(const struct slab *span)
{
    lock_release(&central_of_span(span)->lock);
}

void central_sweep_span(uint32_t head)
{
    struct slab *span = central_hold_span(head);
    if (span == NULL)
        return;
    struct central *c = central_of_span(span);
    if (span_is_due(span)) {
        uint32_t freed = judge_off_lock(c, span);
        if (is_span_of(head, c)) {
            span_count(c, span, freed);
            span_settle(c, span, true);
        }
    }
    lock_release(&c->lock);
}

/* Nobody else is there. */
void central_recount(void)
{
    for (uint32_t i = 0; i < relaxed_load(&arena.top); i++) {
        struct slab *span = slab_at(i);
        if (slab_kind(span) != SLAB_CLASSED || span->head != i)
            continue;
        const slot_byte *bytes = slot_of(slab_address(i));
        uint32_t stride = span->object_size / GRANULE, uncounted = 0;
        for (uint32_t slot = 0; slot < span->slots; slot++)
            uncounted += relaxed_load(bytes + (size_t)slot * stride) == SLOT_FREE;
        uncounted -= span->free_slots;
        span->free_slots = (uint16_t)(span->free_slots + uncounted);
        heap_note_reclaimed(uncounted, (uint64_t)uncounted * span->object_size);
        struct central *c = central_of_span(span);
        lock_acquire(&c->lock);
        c->taken -= uncounted;
        span_settle(c, span, true);
        lock_release(&c->lock);
    }
}

struct central_count central_count(unsigned size_class)
{
    struct central_count sum = {0, once(centrals[size_class].transfer_count)};
    for (unsigned i = size_class; i < CENTRALS; i += SIZE_CLASS_COUNT)
        sum.taken += once(centrals[i].taken);
    return sum;
}

static void retire_empty(struct central *c)
{
    for (uint32_t ref = c->first; ref != 0;) {
        struct slab *span = slab_at(ref - 1);
        ref = span->next;
        span_settle(c, span, false);
    }
}

/* The oldest blocks lie at the bottom. */
static uint32_t return_oldest(struct central *c, struct shard *shard, uint32_t count)
{
    give_to_spans(c, shard->items, count);
    shard->count -= count;
    c->transfer_count -= count;
    memmove(shard->items, shard->items + count, shard->count * sizeof(void *));
    shard->low = shard->count;
    return count;
}

/* Of one that is empty: 3 MB, if many threads have given many sizes. */
static void discard_items(struct shard *shard)
{
    uintptr_t start = align_up((uintptr_t)shard->items, PAGE_SIZE);
    uintptr_t end = align_down((uintptr_t)&shard->items[shard->most], PAGE_SIZE);
    if (shard->count == 0 && start < end && mem_discard((void *)start, end - start))
        shard->most = 0;
}

static uint32_t return_unneeded(struct central *c, struct shard *shard)
{
    uint32_t count = return_oldest(c, shard, shard->low);
    discard_items(shard);
    return count;
}

void central_trim(void)
{
    for (unsigned i = 1; i < CENTRALS; i++) {
        struct central *c = &centrals[i];
        lock_acquire(&c->lock);
        if (i < SIZE_CLASS_COUNT) {
            for (unsigned k = 0; k < CENTRAL_SHARDS; k++)
                return_oldest(c, &transfer[i][k], transfer[i][k].count);
        }
        retire_empty(c);
        lock_release(&c->lock);
    }
}

uint32_t central_scavenge(void)
{
    uint32_t returned = 0;
    for (unsigned i = 1; i < CENTRALS; i++) {
        struct central *c = &centrals[i];
        lock_acquire(&c->lock);
        if (i < SIZE_CLASS_COUNT)
            for (unsigned k = 0; k < CENTRAL_SHARDS; k++)
                returned += return_unneeded(c, &transfer[i][k]);
        if (!c->used)
            retire_empty(c);
        c->used = false;
        lock_release(&c->lock);
    }
    return returned;
}

/* A run of free slots, from slot `from` on: whole pages of it. */
static size_t discard_run(uintptr_t span, uint32_t size, uint32_t from, uint32_t to)
{
    uintptr_t start = align_up(span + (uintptr_t)from * size, PAGE_SIZE);
    uintptr_t end = align_down(span + (uintptr_t)to * size, PAGE_SIZE);
    return start < end && mem_discard((void *)start, end - start) ? end - start : 0;
}

static size_t discard_free(const struct slab *span)
{
    uintptr_t start = slab_address(slab_index(span));
    uint32_t size = span->object_size, from = 0;
    size_t bytes = 0;
    for (uint32_t slot = 0; slot < span->slots; slot++) {
        if (relaxed_load(slot_of(start + (uintptr_t)slot * size)) == SLOT_FREE)
            continue;
        bytes += discard_run(start, size, from, slot);
        from = slot + 1;
    }
    return bytes + discard_run(start, size, from, span->slots);
}

/* Beside the program: a guess. */
static bool may_hold_free_pages(uint32_t index)
{
    const struct slab *slab = slab_at(index);
    return slab_kind(slab) == SLAB_CLASSED && once(slab->head) == index &&
           once(slab->idle) != IDLE_DISCARDED &&
           (size_t)once(slab->free_slots) * once(slab->object_size) >= PAGE_SIZE;
}

/* While it lasts nobody takes a slot from the span; those that are free stay so. */
static size_t discard_idle(struct slab *span, unsigned calls)
{
    if (span->idle < calls) {
        span->idle++;
        return 0;
    }
    span->idle = IDLE_DISCARDED;
    return discard_free(span);
}

size_t central_discard_pages(unsigned calls)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < relaxed_load(&arena.top); i++) {
        struct slab *span = may_hold_free_pages(i) ? central_hold_span(i) : NULL;
        if (span == NULL)
            continue;
        if (span->idle != IDLE_DISCARDED)
            bytes += discard_idle(span, calls);
        central_let_go(span);
    }
    return bytes;
}

void central_lock_all(void)
{
    for (unsigned i = 0; i < CENTRALS; i++)
        lock_acquire(&centrals[i].lock);
}

void central_unlock_all(void)
{
    for (unsigned i = CENTRALS; i-- > 0;)
        lock_release(&centrals[i].lock);
}

void central_reset_locks(void)
{
    for (unsigned i = 0; i < CENTRALS; i++)
        lock_reset(&centrals[i].lock);
}
