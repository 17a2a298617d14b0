/* page_heap.c -- free runs of slabs in a treap.
 *
 * Theory: the free runs form a binary search tree by address which is at the same time a heap by a
 * pseudo-random priority (a hash of the run's index), so its expected depth is O(log n) without
 * any balancing state (Seidel and Aragon 1996). Each node carries the longest run of its subtree,
 * which makes first fit in address order a single descent. The nodes are the descriptors of the
 * runs' first slabs: the structure costs no memory. First fit in address order is the policy that
 * keeps the top of the arena low.
 *
 *   .inv.coalesced   No two free runs touch.
 *   .inv.tags        In a free run, the first slab holds `run`, the last holds `run_head`.
 *   .inv.dirty       slab_dirty[i] == 0 means the pages of slab i read as zeros; the head of a free
 *                    run counts its dirty slabs, so that coalescing looks at the given ones only.
 *
 * Decay: a run that stayed free for PAGE_HEAP_DECAY_SECONDS goes back to the kernel
 * (MADV_DONTNEED), looked at when runs are freed, at most once a second, and by the collector's
 * thread where there is one (cycle/collector.h): a process too small for a collection keeps what it
 * last freed until its next use of the page heap or malloc_trim. */
#include "heap/page_heap.h"

#include "base/check.h"
#include "base/rng.h"
#include "heap/meta.h"
#include "heap/slab.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/mem.h"

#include <string.h>

enum {
    /* Given back in one step: 4 MiB. */
    RELEASE_SLABS = 64,
    /* What a thread that frees gives back at most on that occasion: ~2 ms. */
    FREE_RELEASES = 16 << 20,
};

static struct {
    struct lock lock;
    uint32_t root;          /* index + 1 of the tree's root; 0 = empty */
    uint32_t free_slabs, dirty_slabs;
    uint32_t last_decay;    /* seconds */
    uint64_t released;
} heap = {.lock = LOCK_INIT(PAGE_HEAP)};

static struct slab *node(uint32_t ref)
{
    return slab_at(ref - 1);
}

static uint64_t priority(uint32_t ref)
{
    return mix64(ref);
}

static uint32_t longest_of(uint32_t ref)
{
    return ref == 0 ? 0 : node(ref)->longest;
}

static void update(uint32_t ref)
{
    struct slab *n = node(ref);
    uint32_t longest = n->run;
    if (longest_of(n->left) > longest)
        longest = longest_of(n->left);
    if (longest_of(n->right) > longest)
        longest = longest_of(n->right);
    n->longest = longest;
}

/* Splits the tree into runs below and above index `key` (which is in no run of the tree). */
static void split(uint32_t ref, uint32_t key, uint32_t *low, uint32_t *high)
{
    if (ref == 0) {
        *low = *high = 0;
        return;
    }
    if (ref - 1 < key) {
        split(node(ref)->right, key, &node(ref)->right, high);
        *low = ref;
    } else {
        split(node(ref)->left, key, low, &node(ref)->left);
        *high = ref;
    }
    update(ref);
}

static uint32_t merge(uint32_t low, uint32_t high)
{
    if (low == 0 || high == 0)
        return low | high;
    if (priority(low) > priority(high)) {
        node(low)->right = merge(node(low)->right, high);
        update(low);
        return low;
    }
    node(high)->left = merge(low, node(high)->left);
    update(high);
    return high;
}

static uint32_t now_seconds(void)
{
    return (uint32_t)(clock_coarse_ns() / 1000000000u);
}

static uint32_t count_dirty(uint32_t head, uint32_t slabs)
{
    uint32_t dirty = 0;
    for (uint32_t i = 0; i < slabs; i++)
        dirty += arena.slab_dirty[head + i];
    return dirty;
}

static void tree_insert(uint32_t head, uint32_t slabs, uint32_t dirty)
{
    struct slab *n = slab_at(head);
    uint32_t low, high;
    n->left = n->right = 0;
    n->run = n->longest = slabs;
    n->dirty = dirty;
    n->freed_at = now_seconds();
    slab_at(head + slabs - 1)->run_head = head;
    GC_EXPENSIVE(dirty == count_dirty(head, slabs));
    split(heap.root, head, &low, &high);
    heap.root = merge(merge(low, head + 1), high);
    heap.free_slabs += slabs;
    heap.dirty_slabs += dirty;
}

static void tree_remove(uint32_t head)
{
    struct slab *n = slab_at(head);
    uint32_t low, middle, high;
    split(heap.root, head, &low, &middle);
    split(middle, head + 1, &middle, &high);
    GC_CHECK(middle == head + 1);
    heap.root = merge(low, high);
    heap.free_slabs -= n->run;
    heap.dirty_slabs -= n->dirty;
}

static uint32_t first_fit(uint32_t slabs)
{
    uint32_t ref = heap.root;
    if (longest_of(ref) < slabs)
        return NO_SLAB;
    for (;;) {
        struct slab *n = node(ref);
        if (longest_of(n->left) >= slabs)
            ref = n->left;
        else if (n->run >= slabs)
            return ref - 1;
        else
            ref = n->right;
    }
}

static void set_kind(uint32_t head, uint32_t slabs, enum slab_kind kind)
{
    for (uint32_t i = 0; i < slabs; i++)
        release_store(&slab_at(head + i)->kind, (uint8_t)kind);
}

/* The free run that ends just before `index`, or NO_SLAB. */
static uint32_t run_before(uint32_t index)
{
    if (index == 0 || slab_kind(slab_at(index - 1)) != SLAB_UNUSED)
        return NO_SLAB;
    return slab_at(index - 1)->run_head;
}

static bool free_at(uint32_t index)
{
    return index < relaxed_load(&arena.top) && slab_kind(slab_at(index)) == SLAB_UNUSED;
}

/* Puts slabs of kind SLAB_TAKEN into the tree, coalesced with their neighbours. */
static void give(uint32_t head, uint32_t slabs)
{
    if (slabs == 0)
        return;
    GC_ASSERT(slab_kind(slab_at(head)) == SLAB_TAKEN);
    uint32_t dirty = count_dirty(head, slabs), before = run_before(head), after = head + slabs;
    set_kind(head, slabs, SLAB_UNUSED);
    if (before != NO_SLAB) {
        tree_remove(before);
        dirty += slab_at(before)->dirty;
        slabs += head - before;
        head = before;
    }
    if (free_at(after)) {
        tree_remove(after);
        dirty += slab_at(after)->dirty;
        slabs += slab_at(after)->run;
    }
    tree_insert(head, slabs, dirty);
}

/* Takes the first `slabs` slabs of the free run at `head`; the rest stays free. */
static void take_run(uint32_t head, uint32_t slabs)
{
    uint32_t run = slab_at(head)->run, dirty = slab_at(head)->dirty;
    tree_remove(head);
    if (run > slabs)
        tree_insert(head + slabs, run - slabs, dirty - count_dirty(head, slabs));
    set_kind(head, slabs, SLAB_TAKEN);
}

/* Extends the used part of the arena so that its last `slabs` slabs are ours, reusing a free run
 * at its end. Slab 0 stays empty for good: its address is the arena's, which our own variables and
 * registers hold, and a conservative scan would take for a reference to its first block. */
static uint32_t grow(uint32_t slabs)
{
    uint32_t top = relaxed_load(&arena.top);
    uint32_t before = run_before(top);
    uint32_t head = before == NO_SLAB ? (uint32_t)size_max(top, 1) : before;
    if (slabs > arena.slab_count - head || !arena_commit(head + slabs))
        return NO_SLAB;
    if (top == 0)
        set_kind(0, 1, SLAB_TAKEN);
    if (before != NO_SLAB)
        tree_remove(before);
    set_kind(head, slabs, SLAB_TAKEN);
    release_store(&arena.top, head + slabs);
    return head;
}

static uint32_t find_run(uint32_t slabs)
{
    uint32_t head = first_fit(slabs);
    if (head == NO_SLAB)
        return grow(slabs);
    take_run(head, slabs);
    return head;
}

static uint32_t find_aligned_run(uint32_t slabs, uint32_t alignment)
{
    if (alignment == 1)
        return find_run(slabs);
    uint32_t with_slack = slabs + alignment - 1;
    uint32_t head = find_run(with_slack);
    if (head == NO_SLAB)
        return NO_SLAB;
    uintptr_t unit = (uintptr_t)alignment << SLAB_SHIFT;
    uint32_t aligned = slab_index_of(align_up(slab_address(head), unit));
    give(aligned + slabs, head + with_slack - (aligned + slabs));
    give(head, aligned - head);
    return aligned;
}

/* From here on the pages may be written. Returns whether they read as zeros now. */
static bool make_dirty(uint32_t head, uint32_t slabs)
{
    bool zeroed = count_dirty(head, slabs) == 0;
    memset(&arena.slab_dirty[head], 1, slabs);
    return zeroed;
}

uint32_t page_heap_alloc(uint32_t slabs, uint32_t alignment, bool *zeroed)
{
    GC_ASSERT(slabs > 0 && is_power_of_two(alignment));
    lock_acquire(&heap.lock);
    uint32_t head = find_aligned_run(slabs, alignment);
    if (head != NO_SLAB)
        *zeroed = make_dirty(head, slabs);
    lock_release(&heap.lock);
    return head;
}

bool page_heap_extend(uint32_t end, uint32_t more)
{
    lock_acquire(&heap.lock);
    uint32_t run = free_at(end) ? slab_at(end)->run : 0;
    bool fits = run >= more;
    if (fits)
        take_run(end, more);
    else if (end + run == relaxed_load(&arena.top))
        fits = grow(more) != NO_SLAB;
    if (fits)
        make_dirty(end, more);
    lock_release(&heap.lock);
    return fits;
}

/* Gives up to RELEASE_SLABS of the free run at `head` back, from its first dirty slab on. Returns
 * the bytes, 0 if the kernel kept them. */
static size_t release_some(uint32_t head)
{
    struct slab *n = slab_at(head);
    const uint8_t *dirty = arena.slab_dirty;
    uint32_t from = head, end = head + n->run;
    while (from < end && !dirty[from])
        from++;
    uint32_t slabs = (uint32_t)size_min(end - from, RELEASE_SLABS);
    size_t bytes = (size_t)slabs << SLAB_SHIFT;
    /* Locked memory stays, and stays dirty: what is called clean must read as zeros. */
    if (!mem_discard((void *)slab_address(from), bytes))
        return 0;
    mem_discard((void *)(uintptr_t)slot_of(slab_address(from)),
                (size_t)slabs * (SLAB_SIZE / GRANULE));
    uint32_t were = count_dirty(from, slabs);
    heap.dirty_slabs -= were;
    n->dirty -= were;
    heap.released += bytes;
    memset(&arena.slab_dirty[from], 0, slabs);
    return bytes;
}

/* Walks the tree in address order without recursion: the run after index `from`. */
static uint32_t next_run(uint32_t from)
{
    uint32_t ref = heap.root, best = NO_SLAB;
    while (ref != 0) {
        if (ref - 1 >= from) {
            best = ref - 1;
            ref = node(ref)->left;
        } else {
            ref = node(ref)->right;
        }
    }
    return best;
}

/* One step, from run `*at` on: so much as may be done with the lock held. 0: nothing is due. */
static size_t decay_step(uint32_t seconds, uint32_t *at)
{
    uint32_t now = now_seconds();
    uint32_t head = heap.dirty_slabs == 0 ? NO_SLAB : next_run(*at);
    for (; head != NO_SLAB; head = next_run(head + slab_at(head)->run)) {
        struct slab *n = slab_at(head);
        size_t released = now - n->freed_at >= seconds && n->dirty != 0 ? release_some(head) : 0;
        *at = head;
        if (released != 0)
            return released;
    }
    heap.last_decay = now;
    return 0;
}

/* The lock is let go between two steps: others need it, and a step takes 0.1-0.5 ms. */
static size_t decay(uint32_t seconds, size_t most)
{
    size_t released = 0, step = 1;
    for (uint32_t at = 0; step != 0 && released < most; released += step) {
        lock_acquire(&heap.lock);
        step = decay_step(seconds, &at);
        lock_release(&heap.lock);
    }
    return released;
}

void page_heap_free(uint32_t head, uint32_t slabs)
{
    lock_acquire(&heap.lock);
    give(head, slabs);
    bool due = now_seconds() != heap.last_decay;
    lock_release(&heap.lock);
    if (due)
        decay(PAGE_HEAP_DECAY_SECONDS, FREE_RELEASES);
}

void page_heap_note_clean(uint32_t head, uint32_t slabs)
{
    lock_acquire(&heap.lock);
    memset(&arena.slab_dirty[head], 0, slabs);
    lock_release(&heap.lock);
}

size_t page_heap_decay(uint32_t seconds)
{
    return decay(seconds, SIZE_MAX);
}

bool page_heap_has(uint32_t slabs)
{
    lock_acquire(&heap.lock);
    bool has = longest_of(heap.root) >= slabs;
    lock_release(&heap.lock);
    return has;
}

struct page_heap_stats page_heap_stats(void)
{
    lock_acquire(&heap.lock);
    struct page_heap_stats s = {relaxed_load(&arena.top), heap.free_slabs, heap.dirty_slabs,
                                heap.released};
    lock_release(&heap.lock);
    return s;
}

struct lock *page_heap_lock(void)
{
    return &heap.lock;
}
