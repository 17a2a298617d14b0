/* heap_page_heap.c -- the page heap against a byte map of slabs.
 *
 * The model knows three bytes of each slab (taken, may hold old data, tag) and predicts the
 * index of every run: first fit in address order, else growth at the top. After each few steps the
 * whole heap is checked: coalescing, tags, counts, and that what is said to be zero is zero. */
#include "heap/page_heap.h"

#include "base/rng.h"
#include "check/heap_check.h"
#include "child.h"
#include "heap/heap.h"
#include "heap/slab.h"

#include <pthread.h>
#include <sys/mman.h>

enum { SLABS = 256, RUNS = 40, STEPS = 6000 };

struct run {
    uint32_t head, slabs;
};

static struct {
    bool taken[SLABS], dirty[SLABS];
    uint32_t top;
    struct run runs[RUNS];
    uint32_t count;
} model;

static uint64_t rng;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)(rng_next(&rng) % bound);
}

/* ---- the model ---- */

static uint32_t model_free_length(uint32_t from)
{
    uint32_t length = 0;
    while (from + length < model.top && !model.taken[from + length])
        length++;
    return length;
}

static uint32_t model_find(uint32_t slabs)
{
    uint32_t at = 0, length;
    for (; at < model.top; at += length != 0 ? length : 1) {
        length = model_free_length(at);
        if (length >= slabs)
            return at;
        if (length != 0 && at + length == model.top)
            break;
    }
    return slabs <= SLABS - at ? at : NO_SLAB;
}

static void model_set(uint32_t head, uint32_t slabs, bool taken)
{
    for (uint32_t i = 0; i < slabs; i++)
        model.taken[head + i] = taken;
    if (head + slabs > model.top)
        model.top = head + slabs;
}

static uint32_t model_alloc(uint32_t slabs, uint32_t alignment)
{
    uint32_t slack = slabs + alignment - 1, head = model_find(slack);
    if (head == NO_SLAB)
        return NO_SLAB;
    model_set(head, slack, false); /* growth, if it is that */
    uintptr_t unit = (uintptr_t)alignment * SLAB_SIZE;
    head = slab_index_of(align_up(slab_address(head), unit));
    model_set(head, slabs, true);
    return head;
}

static bool model_extend(uint32_t end, uint32_t more)
{
    uint32_t length = model_free_length(end);
    if (length < more && (end + length != model.top || more > SLABS - end))
        return false;
    model_set(end, more, true);
    return true;
}

static uint64_t model_decay(void)
{
    uint64_t released = 0;
    for (uint32_t at = 0; at < model.top;) {
        uint32_t length = model_free_length(at), dirty = 0;
        for (uint32_t i = 0; i < length; i++) {
            dirty += model.dirty[at + i];
            model.dirty[at + i] = false;
        }
        released += dirty != 0 ? (uint64_t)length * SLAB_SIZE : 0;
        at += length + 1;
    }
    return released;
}

/* ---- steps ---- */

static bool run_is_zero(uint32_t head, uint32_t slabs)
{
    const uint64_t *words = (const uint64_t *)slab_address(head);
    uint64_t any = 0;
    for (size_t i = 0; i < (size_t)slabs * SLAB_SIZE / 8; i += 1)
        any |= words[i];
    return any == 0;
}

static void write_run(uint32_t head, uint32_t slabs)
{
    for (uint32_t i = 0; i < slabs; i++) {
        char *page = (char *)slab_address(head + i) + below(16) * PAGE_SIZE;
        page[below(PAGE_SIZE)] = (char)(1 + below(255));
        model.dirty[head + i] = true;
    }
}

static bool step_alloc(void)
{
    bool zeroed = false, clean = true;
    uint32_t slabs = 1 + below(below(4) == 0 ? 40 : 6);
    uint32_t alignment = below(4) == 0 ? 1u << below(7) : 1;
    uint32_t want = model_alloc(slabs, alignment);
    uint32_t head = page_heap_alloc(slabs, alignment, &zeroed);
    if (!EXPECT(head == want)) {
        printf("    %u slabs at %u: got %u, wanted %u\n", slabs, alignment, head, want);
        return false;
    }
    if (head == NO_SLAB)
        return true;
    for (uint32_t i = 0; i < slabs; i++) {
        clean &= !model.dirty[head + i];
        model.dirty[head + i] = true;
    }
    model.runs[model.count++] = (struct run){head, slabs};
    bool good = EXPECT(is_aligned(slab_address(head), (uintptr_t)alignment * SLAB_SIZE)) &&
                EXPECT(!clean || zeroed) && EXPECT(!zeroed || run_is_zero(head, slabs));
    write_run(head, slabs);
    return good;
}

static bool step_free(void)
{
    struct run *r = &model.runs[below(model.count)];
    page_heap_free(r->head, r->slabs);
    model_set(r->head, r->slabs, false);
    *r = model.runs[--model.count];
    return true;
}

static bool step_extend(void)
{
    struct run *r = &model.runs[below(model.count)];
    uint32_t more = 1 + below(8), end = r->head + r->slabs;
    bool want = model_extend(end, more);
    if (!EXPECT(page_heap_extend(end, more) == want))
        return false;
    if (want) {
        write_run(end, more);
        r->slabs += more;
    }
    return true;
}

/* The pages are gone, and then the run: its next owner is told that they are zero. */
static bool step_clean(void)
{
    struct run *r = &model.runs[below(model.count)];
    madvise((void *)slab_address(r->head), (size_t)r->slabs * SLAB_SIZE, MADV_DONTNEED);
    page_heap_note_clean(r->head, r->slabs);
    memset(&model.dirty[r->head], 0, r->slabs);
    page_heap_free(r->head, r->slabs);
    model_set(r->head, r->slabs, false);
    *r = model.runs[--model.count];
    return true;
}

static bool step(void)
{
    uint32_t choice = below(100);
    if (choice == 0) {
        uint64_t want = model_decay(), got = page_heap_decay(0);
        return EXPECT(got <= want) && EXPECT(page_heap_stats().dirty_slabs == 0);
    }
    if (model.count == 0 || (choice < 45 && model.count < RUNS))
        return step_alloc();
    if (choice < 60)
        return step_extend();
    return choice < 65 ? step_clean() : step_free();
}

static bool counts_agree(void)
{
    struct page_heap_stats s = page_heap_stats();
    uint32_t free = 0, longest = 0;
    for (uint32_t i = 0; i < model.top; i++) {
        free += !model.taken[i];
        longest = (uint32_t)size_max(longest, model_free_length(i));
    }
    return EXPECT(s.free_slabs == free) && EXPECT(s.top_slabs == model.top) &&
           EXPECT(page_heap_has(longest)) && EXPECT(!page_heap_has(longest + 1)) &&
           EXPECT(heap_check("random steps", NULL));
}

static void run_seed(uint64_t seed)
{
    rng = seed;
    memset(&model, 0, sizeof(model));
    model.taken[0] = true;
    model.top = 1;
    for (unsigned i = 0; i < STEPS; i++)
        if (!step() || (i % 256 == 0 && !counts_agree())) {
            printf("    seed %lu, step %u\n", (unsigned long)seed, i);
            return;
        }
    while (model.count != 0)
        step_free();
    struct heap_census census;
    EXPECT(counts_agree() && heap_check("all free", &census) && census.free_runs == 1);
}

static void random_1(void)
{
    EXPECT(heap_init(SLABS * SLAB_SIZE, false));
    run_seed(1);
}

static void random_2(void)
{
    EXPECT(heap_init(SLABS * SLAB_SIZE, false));
    run_seed(20240229);
}

static void test_random(void)
{
    EXPECT(child_passes(random_1));
    EXPECT(child_passes(random_2));
}

/* ---- corners ---- */

static void least_arena(void)
{
    bool zeroed = false;
    EXPECT(heap_init(MIB, false));
    EXPECT(page_heap_alloc(16, 1, &zeroed) == NO_SLAB && relaxed_load(&arena.top) == 0);
    EXPECT(page_heap_alloc(15, 1, &zeroed) == 1 && zeroed);
    EXPECT(page_heap_alloc(1, 1, &zeroed) == NO_SLAB && !page_heap_extend(16, 1));
    memset((void *)slab_address(1), 7, 15 * SLAB_SIZE);
    page_heap_free(3, 1);
    page_heap_free(5, 1);
    EXPECT(page_heap_alloc(2, 1, &zeroed) == NO_SLAB);
    page_heap_free(4, 1); /* between two free runs: all three become one */
    EXPECT(page_heap_has(3) && !page_heap_has(4));
    EXPECT(page_heap_alloc(3, 1, &zeroed) == 3 && !zeroed);
    page_heap_free(1, 15);
    EXPECT(page_heap_alloc(8, 8, &zeroed) == 8);
    EXPECT(page_heap_alloc(1, 16, &zeroed) == NO_SLAB); /* slab 0 is never had, 16 is too far */
    page_heap_free(8, 8);
    EXPECT(page_heap_alloc(UINT32_MAX / 2, 1, &zeroed) == NO_SLAB);
    EXPECT(heap_check("1 MiB", NULL));
}

static void extend_in_place(void)
{
    bool zeroed;
    EXPECT(heap_init(4 * MIB, false));
    uint32_t a = page_heap_alloc(4, 1, &zeroed), b = page_heap_alloc(4, 1, &zeroed);
    EXPECT(a == 1 && b == 5 && !page_heap_extend(5, 1)); /* b is there */
    EXPECT(page_heap_extend(9, 3) && relaxed_load(&arena.top) == 12); /* at the top: grows */
    page_heap_free(b, 4);
    EXPECT(!page_heap_extend(5, 5) && page_heap_extend(5, 2));
    EXPECT(page_heap_stats().free_slabs == 2 && page_heap_extend(7, 2));
    EXPECT(page_heap_stats().free_slabs == 0 && !page_heap_extend(9, 1));
    page_heap_free(10, 2); /* a free run at the top, and then some */
    EXPECT(page_heap_extend(10, 20) && relaxed_load(&arena.top) == 30);
    EXPECT(page_heap_extend(30, 34) && !page_heap_extend(64, 1));
    EXPECT(page_heap_stats().free_slabs == 0);
    page_heap_free(1, 63);
    EXPECT(heap_check("extended", NULL));
}

static size_t resident(uint32_t head, uint32_t slabs)
{
    static unsigned char pages[SLABS * 16];
    size_t count = 0;
    EXPECT(mincore((void *)slab_address(head), (size_t)slabs * SLAB_SIZE, pages) == 0);
    for (size_t i = 0; i < (size_t)slabs * 16; i++)
        count += pages[i] & 1;
    return count;
}

static void decay(void)
{
    bool zeroed;
    EXPECT(heap_init(4 * MIB, false));
    uint32_t a = page_heap_alloc(8, 1, &zeroed), b = page_heap_alloc(8, 1, &zeroed);
    memset((void *)slab_address(a), 1, 16 * SLAB_SIZE);
    EXPECT(resident(a, 16) == 256);
    EXPECT(page_heap_decay(0) == 0 && resident(a, 16) == 256);
    page_heap_free(a, 8);
    EXPECT(page_heap_stats().dirty_slabs == 8 && resident(a, 16) == 256);
    EXPECT(page_heap_decay(1000) == 0 && resident(a, 8) == 128);
    EXPECT(page_heap_decay(0) == 8 * SLAB_SIZE);
    EXPECT(resident(a, 8) == 0 && resident(b, 8) == 128);
    EXPECT(page_heap_stats().dirty_slabs == 0 && page_heap_stats().released == 8 * SLAB_SIZE);
    EXPECT(page_heap_decay(0) == 0); /* once is enough */
    EXPECT(page_heap_alloc(8, 1, &zeroed) == a && zeroed && run_is_zero(a, 8));
    page_heap_free(b, 8);
    EXPECT(page_heap_alloc(1, 1, &zeroed) == b && !zeroed); /* a run of slabs 1 of which is given */
    EXPECT(page_heap_stats().dirty_slabs == 7);
    EXPECT(heap_check("decayed", NULL));
}

static void test_corners(void)
{
    EXPECT(child_passes(least_arena));
    EXPECT(child_passes(extend_in_place));
    EXPECT(child_passes(decay));
}

/* ---- threads ---- */

/* Each owner writes its name into its slabs, and finds it there when it gives them back. */
static void *use_runs(void *name)
{
    struct run runs[16] = {{0}};
    uint64_t state = (uintptr_t)name, lost = 0;
    for (unsigned i = 0; i < 20000; i++) {
        struct run *r = &runs[rng_next(&state) % 16];
        for (uint32_t j = 0; j < r->slabs; j++)
            lost += *(void **)slab_address(r->head + j) != name;
        if (r->slabs != 0)
            page_heap_free(r->head, r->slabs);
        bool zeroed;
        r->slabs = 1 + (uint32_t)(rng_next(&state) % 5);
        r->head = page_heap_alloc(r->slabs, 1, &zeroed);
        r->slabs = r->head == NO_SLAB ? 0 : r->slabs;
        for (uint32_t j = 0; j < r->slabs; j++)
            *(void **)slab_address(r->head + j) = name;
    }
    for (unsigned i = 0; i < 16; i++)
        if (runs[i].slabs != 0)
            page_heap_free(runs[i].head, runs[i].slabs);
    return (void *)lost;
}

static void threads(void)
{
    pthread_t t[3];
    void *lost;
    struct heap_census census;
    EXPECT(heap_init(8 * MIB, false));
    for (uintptr_t i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, use_runs, (void *)(i + 1));
    for (unsigned i = 0; i < 3; i++)
        EXPECT(pthread_join(t[i], &lost) == 0 && lost == NULL);
    EXPECT(heap_check("threads", &census) && census.free_runs == 1 && census.taken == 1);
}

static void test_threads(void)
{
    EXPECT(child_passes(threads));
}

UNIT_MAIN(TEST(test_random), TEST(test_corners), TEST(test_threads))
