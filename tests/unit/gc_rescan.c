/* gc_rescan.c -- what is read again, with a barrier whose answers the test chooses. */
#include "gc/rescan.h"

#include "child.h"
#include "hidden.h"
#include "sys/clock.h"

#include <sys/mman.h>

enum { MOST = 64 };

/* ---- the double ---- */

static struct {
    uintptr_t pages[MOST];      /* written; all if `all` */
    size_t count;
    bool all, refuse;
    unsigned arms, takes, rearms;
    uintptr_t armed_to, relaxed_to;
    bool relaxed[1024];         /* slabs */
} fake;

static bool fake_arm(uintptr_t start, uintptr_t end)
{
    EXPECT(is_aligned(start | end, PAGE_SIZE) && start < end);
    fake.arms++;
    if (fake.refuse)
        return false;
    EXPECT(fake.armed_to == 0 || fake.armed_to == start);
    fake.armed_to = end;
    return true;
}

static void fake_take(uintptr_t start, uintptr_t end, bool rearm, pagemap_visit_fn *visit,
                      void *data)
{
    EXPECT(end <= fake.armed_to);
    fake.takes++;
    fake.rearms += rearm;
    if (fake.all)
        visit(start, end, data);
    for (size_t i = 0; i < fake.count; i++)
        if (fake.pages[i] >= start && fake.pages[i] < end)
            visit(fake.pages[i], fake.pages[i] + PAGE_SIZE, data);
}

static void fake_relax(uintptr_t start, uintptr_t end)
{
    EXPECT(is_aligned(start | end, SLAB_SIZE) && start < end && start >= fake.relaxed_to);
    EXPECT(end <= slab_address(relaxed_load(&arena.top)));
    for (uint32_t i = slab_index_of(start); i < slab_index_of(end - 1) + 1; i++)
        fake.relaxed[i] = true;
    fake.relaxed_to = end;
}

static const struct barrier barrier = {
    .name = "fake", .arm = fake_arm, .take = fake_take, .relax = fake_relax};

/* ---- a heap, and a marker ---- */

static struct marker marker;
static struct pagemap pagemap;
static bool complete;

static void start(void)
{
    EXPECT(hidden_heap(8 * (size_t)GIB, true) && pagemap_open(&pagemap));
    worklist_init(&marker.work, arena.mark_stack, arena.mark_stack_size);
}

/* A mark begins: the heap is armed, and nothing is marked. */
static void begin(void)
{
    fake.armed_to = 0;
    fake.arms = fake.takes = fake.rearms = 0;
    fake.count = 0;
    fake.all = false;
    rescan_arm(&barrier);
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    marker.work.count = 0;
    marker_start(&marker, &pagemap);
}

static void mark_it(hidden h)
{
    hidden_set_byte(h, relaxed_load(&hot.epoch));
}

static bool marked(hidden h)
{
    return hidden_byte(h) == relaxed_load(&hot.epoch);
}

static void wrote(hidden h, size_t inside)
{
    fake.pages[fake.count++] = align_down(~h + inside, PAGE_SIZE);
}

static size_t rescan(bool rearm, uint64_t deadline)
{
    size_t pages = rescan_heap(&barrier, &marker, rearm, deadline, &complete);
    mark_drain(&marker);
    return pages;
}

/* ---- what is read ---- */

static void written_pages(void)
{
    start();
    hidden black = hidden_new(3000), white = hidden_new(3000), quiet = hidden_new(9000);
    hidden a = hidden_new(48), b = hidden_new(48), c = hidden_new(48);
    for (bool rearm = false;; rearm = true) {
        begin();
        mark_it(black);
        mark_it(quiet);
        hidden_link(black, 160, a, 0);
        hidden_link(white, 160, b, 0);
        hidden_link(quiet, 4096, c, 0);
        EXPECT(rescan(rearm, 0) == 0 && complete && !marked(a)); /* nothing was written */
        wrote(black, 160);
        wrote(white, 160);
        EXPECT(rescan(rearm, 0) == 2 && complete);
        EXPECT(marked(a) && !marked(b) && !marked(white)); /* what is not marked is not read */
        EXPECT(!marked(c) || align_down(~quiet + 4096, PAGE_SIZE) == fake.pages[0] ||
               align_down(~quiet + 4096, PAGE_SIZE) == fake.pages[1]);
        EXPECT(fake.rearms == (rearm ? fake.takes : 0) && fake.arms >= 1);
        if (rearm)
            break;
    }
}

/* Of a block over several pages the written one alone; of pages with several blocks, each. */
static void parts(void)
{
    enum { MANY = 100 };
    static hidden small[MANY], target[MANY];
    start();
    hidden large = hidden_new(40 * PAGE_SIZE), in[40];
    for (size_t i = 0; i < 40; i++)
        in[i] = hidden_new(48);
    for (size_t i = 0; i < MANY; i++) {
        small[i] = hidden_new(240);
        target[i] = hidden_new(48);
    }
    begin();
    mark_it(large);
    for (size_t i = 0; i < 40; i++)
        hidden_link(large, i * PAGE_SIZE + i * 8, in[i], 0);
    for (size_t i = 0; i < MANY; i++) {
        if (i % 3 != 0)
            mark_it(small[i]);
        hidden_link(small[i], 232, target[i], 5);
    }
    for (size_t i = 0; i < 40; i += 2)
        wrote(large, i * PAGE_SIZE);
    EXPECT(rescan(true, 0) == 20 && complete);
    for (size_t i = 0; i < 40; i++)
        EXPECT(marked(in[i]) == (i % 2 == 0));
    fake.count = 0;
    fake.all = true;
    rescan(true, 0);
    for (size_t i = 0; i < 40; i++)
        EXPECT(marked(in[i]));
    for (size_t i = 0; i < MANY; i++)
        EXPECT(marked(target[i]) == (i % 3 != 0));
}

/* Memory that came after the heap was armed counts as written; armed by a pass that rearms. */
static void new_heap(void)
{
    start();
    hidden old = hidden_new(48);
    begin();
    unsigned arms = fake.arms;
    uintptr_t before = slab_address(relaxed_load(&arena.top));
    hidden grown = hidden_new(5 * MIB), target = hidden_new(48), late = hidden_new(48);
    EXPECT(slab_address(relaxed_load(&arena.top)) > before);
    mark_it(grown);
    hidden_link(grown, 3 * MIB, target, 0);
    EXPECT(rescan(false, 0) > 0 && complete && marked(target) && fake.arms == arms);
    hidden_link(grown, 4 * MIB, late, 0);
    EXPECT(rescan(true, 0) > 0 && marked(late) && fake.arms > arms);
    EXPECT(fake.armed_to >= ~grown + 5 * MIB && !marked(old));
    EXPECT(rescan(true, 0) == 0 && complete); /* it is armed now */
    fake.refuse = true; /* what cannot be armed is read each time */
    begin();
    mark_it(grown);
    fake.armed_to = 0;
    EXPECT(rescan(false, 0) > 0 && marked(target) && rescan(true, 0) > 0);
    EXPECT(fake.takes == 0);
}

/* A long written range is a hole, most likely: what exists is found, the rest costs nothing. */
static void sparse(void)
{
    start();
    hidden huge = hidden_new(4 * (size_t)GIB), target = hidden_new(48), first = hidden_new(48);
    begin();
    mark_it(huge);
    hidden_link(huge, 3 * (size_t)GIB + 4711 * 8, target, 0);
    hidden_link(huge, 0, first, 0);
    fake.all = true;
    uint64_t begun = clock_now_ns();
    size_t pages = rescan(true, 0);
    EXPECT(marked(target) && marked(first) && complete && pages < 100000);
    EXPECT(clock_now_ns() - begun < 2000000000u);
}

/* ---- what is going to be written ---- */

static bool relaxed(hidden h)
{
    return fake.relaxed[slab_index_of(~h)];
}

/* Spans with free slots, and free memory that was used; no full span, and no large block. */
static void to_be_filled(void)
{
    enum { MANY = 4000 };
    static hidden full[MANY], half[MANY];
    start();
    for (size_t i = 0; i < MANY; i++) {
        full[i] = hidden_new(96);
        half[i] = hidden_new(192);
    }
    hidden large = hidden_new(3 * MIB), gone = hidden_new(3 * MIB);
    for (size_t i = 0; i < MANY; i += 2)
        alloc_free(reveal(half[i]));
    alloc_free(reveal(gone));
    heap_trim(); /* what the caches hold goes back to the spans */
    hidden again = hidden_new(2 * MIB);
    memset(reveal(again), 1, 2 * MIB);
    alloc_free(reveal(again)); /* dirty, and free */
    rescan_relax(&barrier);
    unsigned of_full = 0, of_half = 0;
    for (size_t i = 0; i < MANY; i++) {
        of_full += relaxed(full[i]);
        of_half += relaxed(half[i]);
    }
    EXPECT(of_full < MANY / 4); /* the last span is not full */
    EXPECT(of_half > MANY * 3 / 4 && relaxed(again) && !relaxed(large));
}

/* ---- the deadline ---- */

static void late(void)
{
    start();
    hidden block = hidden_new(16 * MIB), target = hidden_new(48);
    begin();
    mark_it(block);
    for (size_t i = 0; i < 4096; i++)
        ((volatile char *)reveal(block))[i * PAGE_SIZE + 16] = 1;
    hidden_link(block, 16 * MIB - 8, target, 0);
    fake.all = true;
    size_t some = rescan(false, 1); /* long past */
    EXPECT(!complete && some < 64 && !marked(target));
    EXPECT(rescan(false, clock_now_ns() + 60000000000u) >= 4096 && complete && marked(target));
    fake.all = false;
    EXPECT(rescan(false, clock_now_ns() + 60000000000u) == 0 && complete);
}

IN_CHILD(written_pages)
IN_CHILD(parts)
IN_CHILD(new_heap)
IN_CHILD(sparse)
IN_CHILD(to_be_filled)
IN_CHILD(late)

UNIT_MAIN(TEST(test_written_pages), TEST(test_parts), TEST(test_new_heap), TEST(test_sparse),
          TEST(test_to_be_filled), TEST(test_late))
