/* mark.c -- the marking loop.
 *
 * Theory: depth first, with two short FIFOs in the way. A word that passes the range filter does
 * not get its block looked up at once: the cache lines of its descriptor and slot byte are
 * prefetched, and it waits for MARK_FIFO further words. A block that was newly marked goes on the
 * work list; when it is popped, its first lines are prefetched and it waits for MARK_FIFO further
 * blocks. So up to 32 cache misses are under way at any time (Cher, Hosking and Vitek 2004 found
 * that a FIFO in front of a stack is what makes prefetching work in a depth-first marker).
 *
 *   .inv.black   A block whose byte is the current epoch is on the work list, in a FIFO, or has
 *                been scanned; or `overflowed` is set.
 *
 * Large blocks are read only where they hold pages: a sparse gigabyte costs nothing. */
#include "gc/mark.h"

#include "base/check.h"
#include "gc/protected.h"
#include "heap/judge.h"
#include "heap/slab.h"

void marker_start(struct marker *m, struct pagemap *pagemap)
{
    GC_ASSERT(m->work.count == 0);
    m->filter = scan_filter_best();
    m->pagemap = pagemap;
    m->work.overflowed = false;
    m->epoch = relaxed_load(&hot.epoch);
    m->marked_blocks = m->marked_bytes = m->scanned_bytes = 0;
    m->next_word = m->next_block = 0;
    for (unsigned i = 0; i < MARK_FIFO; i++) {
        m->words[i] = 0;
        m->blocks[i].size = 0;
    }
}

/* The block of a candidate word: mark it if it is live and not yet marked. */
static void test_word(struct marker *m, uintptr_t word)
{
    struct block b;
    if (!block_find(word, &b))
        return;
    slot_byte *byte = slot_of(b.start);
    uint8_t value = relaxed_load(byte);
    if (value == m->epoch)
        return;
    if (!slot_is_live(value)) {
        if (m->note_newborn && value == SLOT_CACHED && b.start == word)
            judge_note_newborn(word);
        return;
    }
    if (!atomic_compare_exchange_strong(byte, &value, m->epoch))
        return;
    m->marked_blocks++;
    m->marked_bytes += b.size;
    worklist_push(&m->work, (struct work){b.start, b.size});
}

GC_INLINE void queue_word(struct marker *m, uintptr_t word)
{
    __builtin_prefetch(slab_at(slab_index_of(word)));
    __builtin_prefetch((const void *)(uintptr_t)slot_of(word), 1);
    uintptr_t oldest = m->words[m->next_word];
    m->words[m->next_word] = word;
    m->next_word = (m->next_word + 1) % MARK_FIFO;
    if (oldest != 0)
        test_word(m, oldest);
}

void mark_word(struct marker *m, uintptr_t word)
{
    if (arena_contains(word))
        queue_word(m, word);
}

void mark_words(struct marker *m, const uintptr_t *words, size_t count)
{
    uintptr_t hits[SCAN_MOST];
    size_t extent = (size_t)relaxed_load(&arena.top) << SLAB_SHIFT;
    m->scanned_bytes += count * WORD_SIZE;
    while (count != 0) {
        size_t piece = size_min(count, SCAN_MOST);
        size_t found = m->filter(words, piece, arena.base, extent, hits);
        for (size_t i = 0; i < found; i++)
            queue_word(m, hits[i]);
        words += piece;
        count -= piece;
    }
}

static void scan_range(uintptr_t start, uintptr_t end, void *data)
{
    mark_words(data, (const uintptr_t *)start, (end - start) / WORD_SIZE);
}

static void scan_populated(struct marker *m, struct work work)
{
    uintptr_t end = align_up(work.start + work.size, PAGE_SIZE);
    if (!pagemap_each(m->pagemap, PAGEMAP_POPULATED, work.start, end, scan_range, m))
        scan_range(work.start, end, m);
}

static void scan_block(struct marker *m, struct work work)
{
    if (GC_UNLIKELY(protected_overlaps(work.start, work.size)))
        m->scan_protected(m, work);
    else if (work.size >= SPARSE_LEAST && m->pagemap != NULL)
        scan_populated(m, work);
    else
        mark_words(m, (const uintptr_t *)work.start, work.size / WORD_SIZE);
}

/* Puts a block (size 0: none) into the FIFO and scans the one that comes out. */
static bool rotate_block(struct marker *m, struct work in)
{
    struct work out = m->blocks[m->next_block];
    m->blocks[m->next_block] = in;
    m->next_block = (m->next_block + 1) % MARK_FIFO;
    if (out.size == 0)
        return false;
    scan_block(m, out);
    return true;
}

static void drain_work(struct marker *m)
{
    for (unsigned left = 256; m->work.count != 0 && left != 0; left--) {
        struct work work = m->work.items[--m->work.count];
        __builtin_prefetch((const void *)work.start);
        if (work.size > CACHE_LINE)
            __builtin_prefetch((const void *)(work.start + CACHE_LINE));
        rotate_block(m, work);
    }
}

void mark_flush(struct marker *m)
{
    for (unsigned i = 0; i < MARK_FIFO; i++) {
        uintptr_t word = m->words[i];
        m->words[i] = 0;
        if (word != 0)
            test_word(m, word);
    }
}

static bool flush_blocks(struct marker *m)
{
    bool any = false;
    for (unsigned i = 0; i < MARK_FIFO; i++)
        any |= rotate_block(m, (struct work){0, 0});
    return any;
}

static void drain_all(struct marker *m)
{
    do {
        drain_work(m);
        mark_flush(m);
    } while (m->work.count != 0 || flush_blocks(m) || m->work.count != 0);
}

/* Scans again every marked block of the span: some of them may have been dropped. */
static void rescan_span(struct marker *m, struct slab *head)
{
    uintptr_t start = slab_address(slab_index(head));
    size_t size = head->object_size != 0 ? head->object_size : head->bytes;
    for (uint32_t slot = 0; slot < head->slots; slot++) {
        uintptr_t block = start + (uintptr_t)slot * head->object_size;
        if (relaxed_load(slot_of(block)) == m->epoch)
            scan_block(m, (struct work){block, size});
    }
}

static void recover_overflow(struct marker *m)
{
    uint32_t top = relaxed_load(&arena.top);
    m->work.overflowed = false;
    for (uint32_t i = 0; i < top; i++) {
        struct slab *slab = slab_at(i);
        if (slab_kind(slab) >= SLAB_CLASSED && slab->head == i) {
            rescan_span(m, slab);
            drain_all(m);
        }
    }
}

bool mark_drain_some(struct marker *m)
{
    drain_work(m);
    if (m->work.count != 0)
        return false;
    mark_drain(m);
    return true;
}

void mark_dirty_range(struct marker *m, uintptr_t start, uintptr_t end)
{
    struct block b;
    for (uintptr_t at = start; at < end;) {
        if (!block_find(at, &b)) {
            at = slab_kind(slab_at(slab_index_of(at))) >= SLAB_CLASSED ? at + GRANULE : align_down(at, SLAB_SIZE) + SLAB_SIZE;
            continue;
        }
        uintptr_t low = size_max(b.start, start), high = size_min(b.start + b.size, end);
        if (relaxed_load(slot_of(b.start)) == m->epoch && high > low)
            mark_words(m, (const uintptr_t *)low, (high - low) / WORD_SIZE);
        at = size_max(b.start + b.size, at + GRANULE);
    }
}

void mark_drain(struct marker *m)
{
    drain_all(m);
    while (m->work.overflowed)
        recover_overflow(m);
}
