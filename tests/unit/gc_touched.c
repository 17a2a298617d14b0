/* gc_touched.c -- what is a write through a pointer that nobody saw, and all that is not.
 *
 * The barrier is a double: the test chooses which pages it reports, and marks nothing. Pages and
 * slot bytes are real. */
#include "gc/touched.h"

#include "child.h"
#include "heap/judge.h"
#include "hidden.h"

#include <sys/mman.h>

enum { SMALL = 4000, LARGE = 80 * PAGE_SIZE, PAGES_MOST = 256 };

/* ---- the double ---- */

static struct {
    uintptr_t page;             /* reported by the look right after arming; 0: none */
    bool guesses, refuses;
    bool faulted;               /* everything was, for the whole process */
    uintptr_t armed;            /* outside of the heap */
} fake;

static bool fake_arm(uintptr_t start, uintptr_t end)
{
    EXPECT(end - start == PAGE_SIZE && is_aligned(start, PAGE_SIZE) && !arena_contains(start));
    fake.armed = start;
    return !fake.refuses;
}

static void fake_take(uintptr_t start, uintptr_t end, bool rearm, pagemap_visit_fn *visit,
                      void *data)
{
    EXPECT(!rearm);
    if (start == fake.armed && fake.faulted)
        visit(start, end, data);
    if (fake.page >= start && fake.page < end)
        visit(fake.page, fake.page + PAGE_SIZE, data);
}

static bool fake_exact(void)
{
    return !fake.guesses;
}

static struct barrier barrier = {
    .name = "fake", .arm = fake_arm, .take = fake_take, .exact = fake_exact};

/* ---- a heap, and marks that reach nothing ---- */

static struct pagemap pagemap;
static struct {
    unsigned blocks, first;
    hidden last;
} told;

static void tell(const struct block *block, bool first)
{
    told.blocks++;
    told.first += first;
    told.last = ~block->start;
}

static void start(void)
{
    EXPECT(hidden_heap(256 * MIB, true) && pagemap_open(&pagemap));
}

static void mark_begins(void)
{
    touched_begin(&barrier, &pagemap, slab_address(relaxed_load(&arena.top)));
    relaxed_store(&hot.window, 1);
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
}

static void mark_ends(void)
{
    told.blocks = told.first = 0;
    relaxed_store(&hot.window, 0);
    touched_end(tell);
}

/* Live, and not reached by the last `marks`. */
static void make_unreached(hidden h, unsigned marks)
{
    uint8_t byte = relaxed_load(&hot.epoch);
    for (unsigned i = 0; i < marks; i++)
        byte = epoch_before(byte);
    hidden_set_byte(h, byte);
}

static hidden large_block(size_t size)
{
    hidden h = hidden_new(size);
    memset(reveal(h), 1, size);
    make_unreached(h, 1);
    return h;
}

static uintptr_t page_of(hidden h, size_t inside)
{
    return align_down(~h + inside, PAGE_SIZE);
}

static void note(uintptr_t page)
{
    touched_note(page, page + PAGE_SIZE);
}

/* A mark in which the page is reported: how many blocks are told of. */
static unsigned blocks_told(uintptr_t page)
{
    mark_begins();
    note(page);
    mark_ends();
    return told.blocks;
}

/* ---- what is told ---- */

static void one_block(void)
{
    start();
    hidden h = large_block(LARGE), other = large_block(LARGE);
    mark_begins();
    for (size_t i = 0; i < 10; i++) {
        note(page_of(h, i * PAGE_SIZE));
        note(page_of(h, i * PAGE_SIZE)); /* by two rounds */
    }
    EXPECT(told.blocks == 0); /* not before the end */
    mark_ends();
    EXPECT(told.blocks == 1 && told.first == 1 && told.last == h);
    EXPECT(hidden_byte(h) == relaxed_load(&hot.epoch)); /* the sweep lets it live */
    EXPECT(hidden_byte(other) != relaxed_load(&hot.epoch));
    note(page_of(other, 0)); /* no mark is under way */
    mark_ends();
    EXPECT(told.blocks == 0);
    EXPECT(blocks_told(page_of(h, 0)) == 0); /* it counts as reached by the last mark */
    EXPECT(blocks_told(page_of(other, LARGE - PAGE_SIZE)) == 1 && told.last == other);
}

static hidden small[SMALL];

static uintptr_t page_of_small(size_t size)
{
    for (size_t i = 0; i < SMALL; i++)
        small[i] = hidden_new(size);
    for (size_t i = 0; i < SMALL; i++)
        make_unreached(small[i], 1);
    return page_of(small[SMALL / 2], 0);
}

static size_t overlapping(uintptr_t page, hidden *one)
{
    size_t count = 0;
    for (size_t i = 0; i < SMALL; i++) {
        struct block b;
        if (!block_find(~small[i], &b) || b.start >= page + PAGE_SIZE || b.start + b.size <= page)
            continue;
        count++;
        *one = small[i];
    }
    return count;
}

/* All on the page, of which two may begin or end elsewhere. */
static void many_blocks(void)
{
    hidden one = 0;
    start();
    uintptr_t page = page_of_small(100);
    size_t count = overlapping(page, &one);
    EXPECT(count > PAGE_SIZE / 128);
    EXPECT(blocks_told(page) == count && told.first == 1);
    for (size_t i = 0; i < SMALL; i++)
        make_unreached(small[i], 1);
    mark_begins();
    note(page);
    note(page + PAGE_SIZE);
    mark_ends();
    EXPECT(told.blocks > count && told.first == 2); /* once a page */
}

/* The rest is dropped. */
static void more_than_fit(void)
{
    start();
    hidden h = large_block((PAGES_MOST + 20) * PAGE_SIZE);
    hidden other = large_block(LARGE), third = large_block(LARGE);
    mark_begins();
    touched_note(~h, ~h + (PAGES_MOST + 20) * PAGE_SIZE);
    note(page_of(other, 0));
    mark_ends();
    EXPECT(told.blocks == 1 && told.last == h);
    mark_begins();
    for (unsigned i = 0; i < 2 * PAGES_MOST; i++) /* by as many rounds: one page */
        note(page_of(other, 0));
    note(page_of(third, 0));
    mark_ends();
    EXPECT(told.blocks == 2 && told.last == third);
}

/* ---- what is not ---- */

/* .inv.old: one block of the page is something else. */
static void not_alone(void)
{
    hidden one = 0;
    start();
    uintptr_t page = page_of_small(100);
    overlapping(page, &one);
    uint8_t before = hidden_byte(one);
    static const uint8_t states[] = {SLOT_FREE, SLOT_CACHED, SLOT_KEPT};
    for (size_t i = 0; i < GC_COUNT(states); i++) {
        hidden_set_byte(one, states[i]);
        EXPECT(blocks_told(page) == 0);
    }
    make_unreached(one, 0); /* reached by the last mark, or born after it */
    EXPECT(blocks_told(page) == 0);
    hidden_set_byte(one, before);
    mark_begins();
    make_unreached(one, 0); /* born in this one; it may have been an old one before */
    note(page);
    mark_ends();
    EXPECT(told.blocks == 0);
    hidden_set_byte(one, before);
    EXPECT(blocks_told(page) != 0);
}

/* .inv.end: what this mark reaches, or the program frees, until it ends; one block on a page is
 * enough, for it may be the one that was written. */
static void reached_late(void)
{
    hidden h = 0;
    start();
    uintptr_t page = page_of_small(100);
    overlapping(page, &h);
    static const uint8_t freed = SLOT_FREE;
    for (unsigned i = 0; i < 2; i++) {
        make_unreached(h, 1);
        mark_begins();
        note(page);
        hidden_set_byte(h, i == 0 ? relaxed_load(&hot.epoch) : freed);
        mark_ends();
        EXPECT(told.blocks == 0);
    }
}

/* Held up within malloc: by the last stop, by this one. */
static void newborn(void)
{
    start();
    hidden h = large_block(LARGE);
    judge_forget_newborn();
    judge_note_newborn(~h);
    judge_end_newborn();
    EXPECT(blocks_told(page_of(h, 0)) == 0);
    judge_forget_newborn();
    judge_end_newborn();
    mark_begins();
    note(page_of(h, 0));
    judge_note_newborn(~h);
    judge_end_newborn();
    mark_ends();
    EXPECT(told.blocks == 0);
    judge_forget_newborn();
    judge_end_newborn();
    EXPECT(blocks_told(page_of(h, 0)) == 1);
}

/* The last page of a block belongs to it in part. */
static void tail(void)
{
    start();
    hidden h = large_block(LARGE + 100);
    EXPECT(blocks_told(page_of(h, LARGE)) == 0);
    EXPECT(blocks_told(page_of(h, LARGE) + PAGE_SIZE) == 0); /* in the slab, not in the block */
    EXPECT(blocks_told(page_of(h, LARGE - 1)) == 1);
}

/* .inv.known */
static void not_armed(void)
{
    start();
    hidden h = large_block(LARGE);
    fake.page = page_of(h, 5 * PAGE_SIZE);
    EXPECT(blocks_told(page_of(h, 5 * PAGE_SIZE)) == 0);
    EXPECT(blocks_told(page_of(h, SLAB_SIZE - 1)) == 0); /* the slab */
    EXPECT(blocks_told(page_of(h, SLAB_SIZE)) == 1);
    fake.page = 0;
    make_unreached(h, 1);
    touched_begin(&barrier, &pagemap, slab_address(slab_index_of(~h)));
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    note(page_of(h, 0));
    mark_ends();
    EXPECT(told.blocks == 0); /* came after what was armed */
}

/* .inv.exact */
static void vanished(void)
{
    start();
    hidden h = large_block(LARGE);
    EXPECT(madvise(reveal(h), 2 * PAGE_SIZE, MADV_DONTNEED) == 0);
    EXPECT(*(volatile char *)reveal(h) == 0); /* the zero page */
    EXPECT(blocks_told(page_of(h, 0)) == 0 && blocks_told(page_of(h, PAGE_SIZE)) == 0);
    EXPECT(blocks_told(page_of(h, 2 * PAGE_SIZE)) == 1);
}

static void guessed(void)
{
    start();
    hidden h = large_block(LARGE);
    fake.guesses = true;
    EXPECT(blocks_told(page_of(h, 0)) == 0);
    fake.guesses = false;
    barrier.exact = NULL;
    EXPECT(blocks_told(page_of(h, 0)) == 0);
    barrier.exact = fake_exact;
    fake.refuses = true;
    EXPECT(blocks_told(page_of(h, 0)) == 0);
    fake.refuses = false;
    mark_begins();
    note(page_of(h, 0));
    touched_off(); /* given up */
    mark_ends();
    EXPECT(told.blocks == 0);
    EXPECT(blocks_told(page_of(h, 0)) == 1);
}

/* .inv.nobody */
static void faulted(void)
{
    start();
    hidden h = large_block(LARGE);
    mark_begins();
    note(page_of(h, 0));
    fake.faulted = true;
    mark_ends();
    EXPECT(told.blocks == 0 && hidden_byte(h) != relaxed_load(&hot.epoch));
    fake.faulted = false;
    EXPECT(blocks_told(page_of(h, 0)) == 1);
}

IN_CHILD(one_block)
IN_CHILD(many_blocks)
IN_CHILD(more_than_fit)
IN_CHILD(not_alone)
IN_CHILD(reached_late)
IN_CHILD(newborn)
IN_CHILD(tail)
IN_CHILD(not_armed)
IN_CHILD(vanished)
IN_CHILD(guessed)
IN_CHILD(faulted)

UNIT_MAIN(TEST(test_one_block), TEST(test_many_blocks), TEST(test_more_than_fit),
          TEST(test_not_alone), TEST(test_reached_late), TEST(test_newborn), TEST(test_tail),
          TEST(test_not_armed), TEST(test_vanished), TEST(test_guessed), TEST(test_faulted))
