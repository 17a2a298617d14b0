/* mark_loop.h -- the marking loop, compiled once per instruction set.
 *
 * Theory: a stack of candidate words with a short FIFO in front (Cher, Hosking and Vitek 2004). A
 * word that leaves the stack has everything prefetched that it will need: descriptor, slot byte and
 * the block's first two lines, at once, since nearly every word that passes the range filter is the
 * start of a live block. MARK_FIFO words later it is tested, its block marked, and read at once;
 * the words found go on the stack. So the cache misses of an object are under way together, and a
 * lone word (a chain) waits for the slowest of them only.
 *
 * A pointer in a packed struct lies at a multiple of four only (Ruby's input buffers: what they
 * hold was reclaimed). So each block is looked at a second time, from its fourth byte on: its lines
 * are in the cache by then. Two halves of neighbours are in range only if one of them is the upper
 * half of an address, so that hardly anything more is found. Whoever reads a part of something adds
 * mark_overlap() to its end.
 *
 * The stack is bounded: a block that does not fit, or is large, goes to the work list instead. The
 * list holds each block at most once, since only newly marked ones get there.
 *
 *   .inv.black   A block whose byte is the current epoch, and was not born with it, is on a work
 *                list, has been read, or is being read and its words are in words[], feed[] or the
 *                FIFO; or some list's `overflowed` is set.
 *   .inv.cas     Owners store 1 over a live value and the current epoch over 1; the marker moves an
 *                older live value to the current epoch; nobody ever stores an older value. So a
 *                compare-and-swap that succeeds from an older live value proves that the block, and
 *                its span, have existed without a break since before the mark began: the descriptor
 *                fields that were read before it were consistent. When it fails, the block was
 *                freed, or somebody else has marked it, and there is nothing to do.
 *   .inv.torn    Until then the fields may be any mixture of old and new. What is computed from
 *                them must only be a readable address: a start at or before the word, in the arena.
 *   .inv.leaf    A leaf block (heap/slab.h) is marked, and never read: it is on no list, and dirty
 *                pages of it are passed over. Whether it is one stands in each descriptor of its
 *                span, and is read before the compare-and-swap (.inv.cas).
 *   .inv.stale   A block may be freed and used again while it is on a list. Its memory stays mapped
 *                (protected.h has the exception), and words that are no longer pointers keep
 *                garbage for a cycle.
 *
 * The file that includes this defines LOOP_NAME, LOOP_TARGET (attributes) and LOOP_HITS(words,
 * count, base, extent, out): which of the words are in range. */
#include "base/check.h"
#include "gc/mark.h"
#include "heap/slab.h"

/* From the start of a block of the class to its last byte, 64 at most: what to prefetch. */
extern uint8_t mark_reach[256];

GC_INLINE void mark_prefetch(uintptr_t word)
{
    uint32_t slab = slab_index_of(word);
    __builtin_prefetch(slab_at(slab));
    __builtin_prefetch((const void *)(uintptr_t)slot_of(word), 1);
    __builtin_prefetch((const void *)word);
    __builtin_prefetch((const void *)(word + mark_reach[hot.slab_class[slab] >> SIZE_CLASS_SHIFT]));
}

struct found {
    uintptr_t start;
    size_t size;
    bool leaf;
};

/* The block that a word lies in, by descriptors that may be changing: .inv.torn. */
GC_INLINE bool mark_find(uintptr_t word, struct found *out)
{
    struct slab *slab = slab_at(slab_index_of(word));
    if (slab_kind(slab) < SLAB_CLASSED)
        return false;
    uint32_t head = once(slab->head), object = once(slab->object_size);
    uintptr_t first = slab_address(head);
    uint64_t slot = ((word - first) >> GRANULE_SHIFT) * once(slab->magic) >> 31;
    if (GC_UNLIKELY(slot >= once(slab->slots)))
        return false;
    out->start = first + slot * object;
    out->size = object != 0 ? object : once(slab_at(head)->bytes);
    out->leaf = once(slab->leaf) != 0;
    return word - out->start < (object != 0 ? object : arena_size());
}

/* Marks the block: true if this call did, and nobody before. */
GC_INLINE bool mark_claim(uint8_t epoch, uintptr_t block, uint8_t *seen)
{
    slot_byte *byte = slot_of(block);
    uint8_t value = relaxed_load(byte);
    *seen = value;
    if (value == epoch || !slot_is_live(value))
        return false;
    /* .inv.cas: what was read before stays before. */
    bool claimed = atomic_compare_exchange_strong_explicit(
        byte, &value, epoch, memory_order_acq_rel, memory_order_relaxed);
#if GC_CHECK_LEVEL >= 1
    if (claimed)
        mark_note_claim(block, epoch);
#endif
    return claimed;
}

GC_INLINE void mark_count(struct marker *m, size_t bytes)
{
    m->marked_blocks++;
    m->marked_bytes += bytes;
}

/* The block is to be read. */
GC_INLINE void mark_list(struct marker *m, struct found found)
{
    if (found.leaf)
        return;
    struct work work = {found.start, align_down(found.size, WORD_SIZE)};
    if (work.size >= SPARSE_LEAST && m->pagemap != NULL)
        work.start |= WORK_SPARSE;
    worklist_push(&m->work, work);
}

/* It has just been marked, and is to be read. */
GC_INLINE void mark_push(struct marker *m, struct found found)
{
    mark_count(m, found.size);
    mark_list(m, found);
}

#ifdef LOOP_NAME
LOOP_TARGET bool LOOP_NAME(struct marker *m)
{
    uintptr_t fifo[MARK_FIFO], *words = m->words, base = arena.base;
    size_t extent = (size_t)relaxed_load(&arena.top) << SLAB_SHIFT, count = m->count;
    unsigned oldest = 0, live = 0, until_tick = MARK_TICK;
    uint8_t epoch = m->epoch, seen;
    uint32_t halves = m->halves;
    bool stop = false;
    while (!stop) {
        struct found found;
        for (; live < MARK_FIFO && count != 0; live++) {
            uintptr_t word = words[--count];
            mark_prefetch(word);
            fifo[(oldest + live) % MARK_FIFO] = word;
        }
        if (live == 0)
            break;
        uintptr_t word = fifo[oldest % MARK_FIFO];
        oldest++;
        live--;
        if (mark_find(word, &found) && mark_claim(epoch, found.start, &seen)) {
            size_t size_in_words = found.size / WORD_SIZE;
            if (found.size <= m->at_once && !found.leaf &&
                count + (size_in_words << halves) <= MARK_WORDS - MARK_FIFO) {
                mark_count(m, found.size);
                m->scanned_bytes += found.size;
                count += LOOP_HITS((const uintptr_t *)found.start, size_in_words, base, extent,
                                   words + count);
                if (halves)
                    count += LOOP_HITS((const uintptr_t *)(found.start + WORD_SIZE / 2),
                                       size_in_words - 1, base, extent, words + count);
            } else {
                mark_push(m, found);
            }
        }
        if (GC_UNLIKELY(--until_tick == 0)) {
            until_tick = MARK_TICK;
            m->count = (uint32_t)count;
            stop = m->tick != NULL && m->tick(m);
            count = m->count;
        }
    }
    for (; live != 0; live--)
        words[count++] = fifo[oldest++ % MARK_FIFO];
    m->count = (uint32_t)count;
    return !stop;
}
#endif
