/* mark.c -- a marker's own work: feeding it, and reading the blocks of its list.
 *
 * The loop itself, its theory and the invariants are in mark_loop.h.
 *
 * Words from outside (roots, dirty pages) pass a FIFO of their own, feed[]: their blocks are marked
 * and listed, not read, so that feeding takes a time that depends on what is fed only.
 *
 * Large blocks are read in pieces of MARK_PIECE, the rest going back on the list, where others can
 * steal it, and only where they hold pages: a sparse gigabyte costs nothing. */
#include "gc/mark.h"

#include "base/check.h"
#include "gc/mark_loop.h"
#include "gc/protected.h"
#include "gc/scan.h"
#include "heap/judge.h"

#include <emmintrin.h>
#include <string.h>

enum {
    /* Small blocks of the list whose lines are fetched together. */
    BATCH = 8,
    /* Ranges asked of the pagemap at a time. */
    SPARSE_RANGES = 32,
    /* Bytes that are read word by word at a time, 50 us; in a stop of a small heap, too. */
    OUTSIDE_MOST = 64 * KIB,
};
_Static_assert(BATCH * MARK_AT_ONCE / WORD_SIZE <= MARK_WORDS / 2, "a batch always fits, its words "
                                                                   "taken twice");

uint8_t mark_reach[256];

static scan_filter_fn *filter;
static uint32_t halves;

void mark_set_align(size_t align)
{
    halves = align < WORD_SIZE;
}

size_t mark_overlap(void)
{
    return halves * WORD_SIZE;
}

/* As `filter`, for the words that begin `offset` bytes into each of words[0..count); the last one's
 * other part follows. */
static size_t filter_from(const uintptr_t *words, size_t offset, size_t count, size_t extent,
                          uintptr_t *out)
{
    return filter((const uintptr_t *)((uintptr_t)words + offset), count, arena.base, extent, out);
}

static size_t filter_halves(const uintptr_t *words, size_t count, size_t extent, uintptr_t *out)
{
    return filter_from(words, WORD_SIZE / 2, count, extent, out);
}

static void choose(struct marker *m)
{
    if (filter == NULL) {
        for (unsigned i = 0; i < GC_COUNT(mark_reach); i++) {
            size_t size = i < SIZE_CLASS_COUNT && i != 0 ? size_classes[i].size : CACHE_LINE + 1;
            mark_reach[i] = (uint8_t)size_min(size - 1, CACHE_LINE);
        }
        filter = scan_filter_best();
    }
    m->loop = filter == scan_filter_avx2     ? mark_loop_avx2
              : filter == scan_filter_tagged ? mark_loop_tagged
                                             : mark_loop_portable;
    m->halves = halves;
}

void marker_start(struct marker *m, struct pagemap *pagemap)
{
    choose(m);
    m->pagemap = pagemap;
    m->work.count = 0;
    m->work.overflowed = m->work.dropped = false;
    m->count = m->fed = 0;
    m->epoch = relaxed_load(&hot.epoch);
    m->marked_blocks = m->marked_bytes = m->scanned_bytes = 0;
}

#if GC_CHECK_LEVEL >= 1
void mark_remember(uint8_t *bits, size_t slabs)
{
    slot_claims.granules = bits == NULL ? 0 : slabs * (SLAB_SIZE / GRANULE);
    release_store(&slot_claims.bits, (_Atomic uint8_t *)bits);
}

void mark_note_claim(uintptr_t block, uint8_t epoch)
{
    size_t granule = (block - arena.base) >> GRANULE_SHIFT;
    if (granule >= slot_claims.granules || relaxed_load(&slot_claims.bits) == NULL)
        return;
    atomic_fetch_or(&slot_claims.bits[granule / 8], (uint8_t)(1u << (granule % 8)));
    if (relaxed_load(slot_of(block)) != epoch) /* freed before we could note it */
        slot_note_death(granule);
}
#endif

/* ---- words from outside ---- */

static void test_word(struct marker *m, uintptr_t word)
{
    struct found found;
    uint8_t seen;
    if (!mark_find(word, &found))
        return;
    if (mark_claim(m->epoch, found.start, &seen))
        mark_push(m, found);
    else if (m->note_newborn && seen == SLOT_CACHED && found.start == word)
        judge_note_newborn(word);
}

static void feed(struct marker *m, uintptr_t word)
{
    uintptr_t *place = &m->feed[m->fed++ % MARK_FIFO];
    mark_prefetch(word);
    if (m->fed > MARK_FIFO)
        test_word(m, *place);
    *place = word;
}

void mark_flush(struct marker *m)
{
    uint32_t from = m->fed > MARK_FIFO ? m->fed - MARK_FIFO : 0;
    for (uint32_t i = from; i < m->fed; i++)
        test_word(m, m->feed[i % MARK_FIFO]);
    m->fed = 0;
}

void mark_word(struct marker *m, uintptr_t word)
{
    word = scan_untag(word);
    if (arena_contains(word))
        feed(m, word);
}

void mark_contents(struct marker *m, uintptr_t block)
{
    struct found found;
    if (mark_find(block, &found))
        mark_list(m, found);
}

/* May [start, start + size) be read by plain loads, until end_reading? */
static bool begin_reading(struct marker *m, uintptr_t start, size_t size)
{
    atomic_store(&m->reading, 1);
    if (!protected_direct_reads_forbidden() && !protected_overlaps(start, size))
        return true;
    atomic_store(&m->reading, 0);
    return false;
}

static void end_reading(struct marker *m)
{
    atomic_store(&m->reading, 0);
}

/* Wherever mark_words would look. */
static void mark_words_outside(struct marker *m, struct found block)
{
    uintptr_t word;
    size_t step = m->halves ? WORD_SIZE / 2 : WORD_SIZE;
    for (size_t at = 0; at + WORD_SIZE <= block.size; at += step) {
        memcpy(&word, (const char *)block.start + at, sizeof word);
        if (scan_untag(word) - block.start >= block.size)
            mark_word(m, word);
    }
    m->scanned_bytes += block.size;
}

void mark_contents_outside(struct marker *m, uintptr_t block)
{
    struct found found;
    if (!mark_find(block, &found) || found.leaf)
        return;
    if (found.size <= OUTSIDE_MOST && begin_reading(m, found.start, found.size)) {
        mark_words_outside(m, found);
        end_reading(m);
    } else {
        mark_list(m, found);
    }
}

void mark_alone(struct marker *m, uintptr_t block)
{
    struct found found;
    uint8_t seen;
    if (mark_find(block, &found) && mark_claim(relaxed_load(&hot.epoch), found.start, &seen))
        mark_count(m, found.size);
}

static void feed_all(struct marker *m, const uintptr_t *hits, size_t found)
{
    for (size_t i = 0; i < found; i++)
        __builtin_prefetch((const void *)(uintptr_t)slot_of(hits[i]), 1);
    for (size_t i = 0; i < found; i++) /* most of what is written leads nowhere new */
        if (relaxed_load(slot_of(hits[i])) != m->epoch)
            feed(m, hits[i]);
}

/* Words begin at multiples of `step` bytes. */
static void mark_stepping(struct marker *m, const uintptr_t *words, size_t count, size_t step)
{
    uintptr_t hits[SCAN_MOST];
    size_t extent = (size_t)relaxed_load(&arena.top) << SLAB_SHIFT;
    m->scanned_bytes += count * WORD_SIZE;
    for (size_t piece; count != 0; count -= piece, words += piece) {
        piece = size_min(count, SCAN_MOST);
        feed_all(m, hits, filter(words, piece, arena.base, extent, hits));
        for (size_t offset = step; offset < WORD_SIZE; offset += step)
            feed_all(m, hits, filter_from(words, offset, piece - (count == piece), extent, hits));
        if (m->fed > UINT32_MAX / 2)
            mark_flush(m);
    }
}

void mark_words(struct marker *m, const uintptr_t *words, size_t count)
{
    mark_stepping(m, words, count, m->halves ? WORD_SIZE / 2 : WORD_SIZE);
}

void mark_code(struct marker *m, const uintptr_t *words, size_t count)
{
    mark_stepping(m, words, count, 1);
}

/* ---- blocks of the list ---- */

/* Pushes the words of [start, end) that are in range, until words[] is full. Returns where it
 * stopped. A guest stops at once at what may not be read directly. */
static uintptr_t read_some(struct marker *m, uintptr_t start, uintptr_t end)
{
    size_t extent = (size_t)relaxed_load(&arena.top) << SLAB_SHIFT;
    if (!begin_reading(m, start, end - start)) {
        if (m->guest)
            return start;
        m->read_carefully(m, (struct work){start, end - start});
        return end;
    }
    uintptr_t at = start;
    while (at < end) {
        size_t left = (end - at) / WORD_SIZE, count = size_min(left, SCAN_MOST);
        if (m->count + (count << m->halves) > MARK_WORDS)
            break;
        m->count += (uint32_t)filter((const uintptr_t *)at, count, arena.base, extent,
                                     m->words + m->count);
        if (m->halves)
            m->count += (uint32_t)filter_halves((const uintptr_t *)at, count - (count == left),
                                                extent, m->words + m->count);
        at += count * WORD_SIZE;
    }
    end_reading(m);
    m->scanned_bytes += at - start;
    return at;
}

/* Puts on the list what exists of a block's beginning, and below that what is unknown yet. */
static bool look_up(struct marker *m, uintptr_t start, size_t size)
{
    struct page_range ranges[SPARSE_RANGES];
    uintptr_t end = align_up(start + size, PAGE_SIZE), next = end;
    if (m->guest)
        return false;
    long found = pagemap_scan(m->pagemap, PAGEMAP_POPULATED, start, end, ranges, SPARSE_RANGES,
                              &next);
    if (found < 0) {
        worklist_push(&m->work, (struct work){start, size});
        return true;
    }
    if (next < start + size)
        worklist_push(&m->work, (struct work){next | WORK_SPARSE, start + size - next});
    for (long i = 0; i < found; i++) { /* the last page may hold more than the block */
        uintptr_t to = size_min(ranges[i].end, start + size);
        worklist_push(&m->work, (struct work){ranges[i].start, to - ranges[i].start});
    }
    return true;
}

/* False: a guest cannot. The item is back on the list then. */
static bool do_large(struct marker *m, struct work item)
{
    if (item.start & WORK_SPARSE) {
        if (look_up(m, item.start - WORK_SPARSE, item.size))
            return true;
        worklist_push(&m->work, item);
        return false;
    }
    uintptr_t end = item.start + size_min(item.size, MARK_PIECE);
    if (item.size > MARK_PIECE) {
        worklist_push(&m->work, (struct work){end, item.size - MARK_PIECE});
        end += mark_overlap();
    }
    uintptr_t at = read_some(m, item.start, end);
    if (at < end)
        worklist_push(&m->work, (struct work){at, end - at});
    return at != item.start;
}

/* A word may be odd: that is not WORK_SPARSE. */
static bool is_small(struct work item)
{
    return item.size == 0 || (item.size <= MARK_AT_ONCE && !(item.start & WORK_SPARSE));
}

/* Takes up to BATCH small items from the list, or one that is not; words[] is empty. */
static bool do_items(struct marker *m)
{
    struct work batch[BATCH];
    unsigned count = 0;
    while (count < BATCH && m->work.count != 0) {
        struct work item = m->work.items[m->work.count - 1];
        if (!is_small(item) && count != 0)
            break;
        m->work.count--;
        if (!is_small(item))
            return do_large(m, item);
        __builtin_prefetch((const void *)item.start);
        __builtin_prefetch((const void *)(item.start + CACHE_LINE));
        batch[count++] = item;
    }
    bool good = true;
    for (unsigned i = 0; i < count; i++) {
        if (batch[i].size == 0)
            m->words[m->count++] = batch[i].start;
        else if (read_some(m, batch[i].start, batch[i].start + batch[i].size) == batch[i].start) {
            worklist_push(&m->work, batch[i]);
            good = false;
        }
    }
    return good;
}

bool mark_run(struct marker *m)
{
    /* The loop reads without asking; the list was filled by roots_scan, after marker_start. */
    m->at_once = protected_any() ? 0 : MARK_AT_ONCE;
    mark_flush(m);
    for (;;) {
        if (!m->loop(m))
            return false;
        if (m->work.count == 0)
            return true;
        if (!do_items(m))
            return false;
        mark_flush(m);
        if (m->tick != NULL && m->tick(m))
            return false;
    }
}

/* ---- full lists ---- */

static void read_whole(uintptr_t start, uintptr_t end, void *data)
{
    struct marker *m = data;
    while (start < end) {
        start = read_some(m, start, end);
        while (!m->loop(m))
            continue;
    }
}

static void recover_block(struct marker *m, uintptr_t start, size_t size)
{
    uintptr_t end = align_up(start + size, PAGE_SIZE);
    if (size < SPARSE_LEAST || m->pagemap == NULL ||
        !pagemap_each(m->pagemap, PAGEMAP_POPULATED, start, end, read_whole, m))
        read_whole(start, start + align_down(size, WORD_SIZE), m);
}

void mark_recover_span(struct marker *m, uint32_t index)
{
    struct slab *head = slab_at(index);
    if (slab_kind(head) < SLAB_CLASSED || once(head->head) != index)
        return;
    uint32_t object = once(head->object_size), slots = once(head->slots);
    for (uint32_t slot = 0; slot < slots; slot++) {
        struct found block;
        uintptr_t start = slab_address(index) + (uintptr_t)slot * object;
        if (arena_contains(start) && relaxed_load(slot_of(start)) == m->epoch &&
            mark_find(start, &block) && block.start == start && !block.leaf &&
            block.size <= relaxed_load(&arena.end) - start)
            recover_block(m, start, block.size);
    }
}

void mark_drain(struct marker *m)
{
    for (;;) {
        while (!mark_run(m))
            continue;
        if (!m->work.overflowed)
            return;
        m->work.overflowed = false;
        for (uint32_t i = 0; i < relaxed_load(&arena.top); i++) {
            mark_recover_span(m, i);
            while (!mark_run(m))
                continue;
        }
    }
}

/* ---- dirty pages ---- */

/* Scans [start, end) of the heap as roots are. */
static void rescan(struct marker *m, uintptr_t start, uintptr_t end)
{
    if (start >= end)
        return;
    if (begin_reading(m, start, end - start)) {
        mark_words(m, (const uintptr_t *)start, (end - start) / WORD_SIZE);
        end_reading(m);
    } else {
        m->read_carefully(m, (struct work){start, end - start});
    }
}

/* Bit i set: the slot byte of granule from + i is `epoch`; 16 of them, or up to `to`. */
static unsigned marked_ones(size_t from, size_t to, uint8_t epoch)
{
    unsigned wanted = 0;
    if (from + 16 <= to) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(hot.slots + from));
        return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8((char)epoch)));
    }
    for (size_t i = from; i < to; i++)
        wanted |= (unsigned)(relaxed_load(&hot.slots[i]) == epoch) << (i - from);
    return wanted;
}

/* The part [start, end) of one span of slots. Neighbours are scanned as one range. */
static void rescan_slots(struct marker *m, uintptr_t start, uintptr_t end, uint32_t object)
{
    struct found block;
    uintptr_t from = start, to = start; /* found, and not yet scanned */
    if (mark_find(start, &block) && relaxed_load(slot_of(block.start)) == m->epoch) {
        to = block.start + block.size;
        if (block.start < start) /* half of a word may be all that was written */
            from -= mark_overlap();
    }
    size_t last = (end - arena.base) >> GRANULE_SHIFT;
    for (size_t granule = (start - arena.base) >> GRANULE_SHIFT; granule < last; granule += 16) {
        for (unsigned marked = marked_ones(granule, last, m->epoch); marked != 0;
             marked &= marked - 1) {
            uintptr_t next = arena.base +
                             ((granule + (unsigned)__builtin_ctz(marked)) << GRANULE_SHIFT);
            if (next > to) {
                rescan(m, from, to);
                from = next;
            }
            to = size_max(to, next + object);
        }
    }
    rescan(m, from, size_min(to, end + mark_overlap()));
}

static void rescan_large(struct marker *m, uintptr_t start, uintptr_t end)
{
    struct found block;
    if (mark_find(start, &block) && relaxed_load(slot_of(block.start)) == m->epoch &&
        block.start + block.size > start)
        rescan(m, block.start < start ? start - mark_overlap() : start,
               size_min(end + mark_overlap(), align_down(block.start + block.size, WORD_SIZE)));
}

/* What is read of a descriptor was written before the span's memory was, whose page the barrier
 * has reported: a span that was of leaves, and is not any more, is not passed over. */
void mark_dirty_range(struct marker *m, uintptr_t start, uintptr_t end)
{
    for (uintptr_t at = start, to; at < end; at = to) {
        struct slab *slab = slab_at(slab_index_of(at));
        enum slab_kind kind = (enum slab_kind)slab_kind(slab);
        uint32_t object = once(slab->object_size);
        to = size_min(end, align_down(at, SLAB_SIZE) + SLAB_SIZE);
        if (once(slab->leaf) != 0) /* .inv.leaf */
            continue;
        if (kind == SLAB_CLASSED && object != 0)
            rescan_slots(m, at, to, object);
        else if (kind == SLAB_LARGE)
            rescan_large(m, at, to);
    }
}
