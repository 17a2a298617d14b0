/* sequence.c -- bytes as a sequence of operations on the allocator, held against the shadow map.
 *
 * The floors up to mutator are linked in, not preloaded: the fuzzer's own memory is libc's. Four
 * threads (crew.h) take turns. In place of the collector stands the sequence itself: it knows which
 * blocks the program still has, so it advances the epoch, marks just these, sets the judge's terms
 * and opens the sweep, as cycle.c does, at any point between two calls of the program.
 *
 *   .inv.apart     No two blocks that the program has, or may still have, share a byte (shadow.h).
 *   .inv.kept      Their bytes change by the program's hand alone.
 *   .inv.lost      A block that the program has lost is not handed out before a mark has found it
 *                  unreached for `confirm` cycles; when the input ends, one last cycle has it all.
 *   .inv.trusted   No contradiction is told of, but for a block that was lost and is used again.
 *   .inv.nothing   At the end of each input, when all is freed and trimmed, the heap is as empty as
 *                  before the first.
 *
 * Since .inv.nothing holds, epoch, terms, settings and padding are set anew for each input, which
 * therefore does the same whatever came before; only arena.top and pages the kernel has lent may
 * differ. The first byte is the settings; then each operation is a byte (the low four bits say
 * what, the next two which thread) and what it reads on its own. Missing bytes are 0. */
#include "sequence.h"

#include "../model/shadow.h"
#include "check/heap_check.h"
#include "crew.h"
#include "heap/central.h"
#include "heap/heap.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/page_heap.h"
#include "heap/slab.h"
#include "heap/sweep.h"
#include "mutator/alloc.h"

#include <stdlib.h>
#include <string.h>

enum {
    HELD = 64,             /* blocks the program has */
    LOST = 32,             /* blocks it has lost */
    ARENA_BYTES = 16 << 20, /* small: it runs out, and libc stands in; and it is checked often */
    EDGE = 4096,           /* of a larger block, so much is filled at both ends */
    FULL_CHECK_EVERY = 256, /* inputs: reading all free memory takes milliseconds */
    ALIGN_BITS = 17,        /* alignments up to 1 MiB: more than a slab */
};

struct piece {
    unsigned char *p;
    size_t size, usable;
    uint64_t serial;
};

static struct {
    struct piece held[HELD], lost[LOST];
    uint64_t serial;
    unsigned contradictions, stacks, confirm;
    bool marking, reclaims, asks, checks;
} run;

static struct {
    const uint8_t *at;
    size_t left;
} input;

static unsigned inputs;
static bool check_always;

void sequence_check_always(void)
{
    check_always = true;
}

static unsigned next_byte(void)
{
    if (input.left == 0)
        return 0;
    input.left--;
    return *input.at++;
}

/* Two bytes: three bits of scale, so that small sizes are as near as large ones. */
static size_t next_size(void)
{
    static const unsigned char shift_down[] = { 5, 3, 0, 0, 0, 0, 0, 0 };
    static const unsigned char shift_up[] = { 0, 0, 0, 2, 4, 5, 7, 9 };
    unsigned two = next_byte() << 8;
    two |= next_byte();
    size_t value = two & 0x1FFF;
    return value >> shift_down[two >> 13] << shift_up[two >> 13];
}

static bool is_ours(const void *p)
{
    return arena_contains((uintptr_t)p);
}

/* ---- one block ---- */

static size_t edge_of(const struct piece *b)
{
    return b->size < EDGE ? b->size : EDGE;
}

static void block_fill(const struct piece *b)
{
    uint64_t key = pattern_key(b->p, b->size, b->serial);
    size_t edge = edge_of(b);
    pattern_fill(b->p, 0, edge, key);
    pattern_fill(b->p + b->size - edge, b->size - edge, edge, key);
}

static void bytes_check(const unsigned char *p, size_t from, size_t size, uint64_t key)
{
    if (pattern_check(p + from, from, size, key) != size)
        fail(".inv.kept: %p, bytes from %zu on", (const void *)p, from);
}

/* What the heap knows of it, for pointers one past the end and for reports. */
static void record_check(const struct piece *b)
{
    struct block found;
    if (!is_ours(b->p))
        return;
    if (!block_find((uintptr_t)b->p, &found) || found.start != (uintptr_t)b->p)
        fail("%p is no block", (void *)b->p);
    if (found.size < b->size + hot.pad)
        fail(".inv.past_end: %p of %zu bytes has %zu", (void *)b->p, b->size, found.size);
    bool known = slab_kind(found.head) == SLAB_LARGE || found.head->traced;
    if (known && block_requested(&found) != b->size)
        fail("%p of %zu bytes is recorded as %zu", (void *)b->p, b->size, block_requested(&found));
    if (found.head->traced && block_stack(&found) == 0)
        fail("%p has no stack", (void *)b->p);
}

static void block_check(const struct piece *b)
{
    record_check(b);
    uint64_t key = pattern_key(b->p, b->size, b->serial);
    size_t edge = edge_of(b);
    bytes_check(b->p, 0, edge, key);
    bytes_check(b->p, b->size - edge, edge, key);
}

static size_t usable_size(unsigned thread, void *p)
{
    struct call c = {.kind = CALL_USABLE, .p = p};
    crew_call(thread, &c);
    return c.usable;
}

static void block_enter(struct piece *b, unsigned thread, void *p, size_t size, size_t align)
{
    if (p == NULL)
        fail("no memory for %zu bytes", size);
    if ((uintptr_t)p % align != 0 || (uintptr_t)p % 16 != 0)
        fail("%p is not aligned to %zu", p, align);
    size_t usable = usable_size(thread, p);
    if (usable < size)
        fail("%p of %zu bytes has %zu", p, size, usable);
    if (!shadow_claim(p, usable))
        fail(".inv.apart: %p of %zu bytes", p, usable);
    *b = (struct piece){p, size, usable, ++run.serial};
    block_fill(b);
}

static void block_leave(const struct piece *b)
{
    block_check(b);
    if (!shadow_release(b->p, b->usable))
        fail("the shadow map has lost %p", (void *)b->p);
}

static void block_free(struct piece *b, unsigned thread)
{
    if (b->p == NULL)
        return;
    block_leave(b);
    crew_call(thread, &(struct call){.kind = CALL_FREE, .p = b->p});
    *b = (struct piece){0};
}

/* ---- the collector ---- */

static void block_mark(const struct piece *b)
{
    if (b->p == NULL || !is_ours(b->p))
        return;
    slot_byte *byte = slot_of((uintptr_t)b->p);
    if (!slot_is_live(relaxed_load(byte)))
        fail("%p, which the program has, is not live", (void *)b->p);
    relaxed_store(byte, relaxed_load(&hot.epoch));
}

static void mark_begin(void)
{
    sweep_finish();
    judge_forget_newborn();
    release_store(&judge.epoch, 0);
    relaxed_store(&hot.window, 1);
    release_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    run.marking = true;
}

static bool is_vetoed(uintptr_t block)
{
    return block / GRANULE % 3 == 0;
}

/* Lost blocks that the sweep takes are nobody's from now on. */
static void lost_settle(bool last)
{
    uint8_t epoch = relaxed_load(&hot.epoch);
    for (unsigned i = 0; i < LOST; i++) {
        struct piece *b = &run.lost[i];
        if (b->p == NULL)
            continue;
        uint8_t byte = relaxed_load(slot_of((uintptr_t)b->p));
        bool kept = !last && run.asks && is_vetoed((uintptr_t)b->p);
        bool due = slot_age(epoch, byte) >= judge.confirm && byte >= judge.least;
        if (judge.reclaim && due && !kept) {
            block_leave(b);
            *b = (struct piece){0};
        }
    }
}

static bool on_reclaiming(const struct block *block, unsigned age)
{
    if (age < judge.confirm)
        fail(".inv.lost: %p goes at the age of %u", (void *)block->start, age);
    return !is_vetoed(block->start);
}

/* `last`: of the input; all that is lost goes. */
static void mark_end(bool last)
{
    for (unsigned i = 0; i < HELD; i++)
        block_mark(&run.held[i]);
    relaxed_store(&hot.window, 0);
    judge_end_newborn();
    judge.reclaim = last || run.reclaims;
    judge.confirm = last ? 1 : run.confirm;
    judge.least = last ? SLOT_KEPT : EPOCH_FIRST;
    judge.reclaiming = run.asks && !last ? on_reclaiming : NULL;
    lost_settle(last);
    release_store(&judge.epoch, relaxed_load(&hot.epoch));
    sweep_begin();
    run.marking = false;
}

static void mark_some(void)
{
    unsigned bits = next_byte();
    for (unsigned i = 0; run.marking && i < HELD; i++)
        if (bits >> i % 8 & 1)
            block_mark(&run.held[i]);
}

/* ---- what the first byte sets ---- */

static uint32_t capture(void)
{
    return ++run.stacks;
}

static void on_contradiction(const struct block *block)
{
    (void)block;
    run.contradictions++;
}

static void crew_attach(bool attached)
{
    for (unsigned i = 0; i < CREW; i++)
        crew_call(i, &(struct call){.kind = attached ? CALL_ATTACH : CALL_DETACH});
}

static void begin(void)
{
    unsigned bits = next_byte(), epoch = EPOCH_FIRST + next_byte() % EPOCH_COUNT;
    struct alloc_settings s = {
        .hooks = {.capture = capture, .contradiction = on_contradiction},
        .sampling = bits & 2 ? ALLOC_SAMPLE_ALL : ALLOC_SAMPLE_NONE,
        .arena = true,
        .whole_pages = bits & 4,
    };
    memset(&run, 0, sizeof run);
    run.reclaims = bits & 8;
    run.asks = bits & 16;
    run.confirm = 1 + (bits >> 5) % 3;
    run.checks = bits & 128;
    hot.pad = bits & 1;
    relaxed_store(&hot.epoch, (uint8_t)epoch);
    judge = (struct judge){.epoch = (uint8_t)epoch, .confirm = 1, .least = EPOCH_FIRST};
    alloc_start(&s);
    crew_attach(true);
}

/* ---- the operations ---- */

static struct piece *next_held(void)
{
    return &run.held[next_byte() % HELD];
}

static void op_malloc(unsigned thread)
{
    struct piece *b = next_held();
    size_t size = next_size();
    struct call c = {.kind = CALL_MALLOC, .size = size};
    block_free(b, thread);
    crew_call(thread, &c);
    block_enter(b, thread, c.result, size, 1);
}

static void op_calloc(unsigned thread)
{
    struct piece *b = next_held();
    size_t size = next_size();
    struct call c = {.kind = CALL_CALLOC, .size = size};
    block_free(b, thread);
    crew_call(thread, &c);
    const unsigned char *bytes = c.result;
    for (size_t i = 0; bytes != NULL && i < size; i++)
        if (bytes[i] != 0)
            fail("byte %zu of %zu of calloc's %p is %u", i, size, c.result, bytes[i]);
    block_enter(b, thread, c.result, size, 1);
}

static void op_aligned(unsigned thread)
{
    struct piece *b = next_held();
    size_t size = next_size(), align = (size_t)16 << next_byte() % ALIGN_BITS;
    struct call c = {.kind = CALL_ALIGNED, .size = size, .align = align};
    block_free(b, thread);
    crew_call(thread, &c);
    block_enter(b, thread, c.result, size, align);
}

/* What realloc kept is compared by the old pattern: both ends of the old block, where they fit. */
static void kept_check(const unsigned char *p, const struct piece *old, size_t size)
{
    uint64_t key = pattern_key(old->p, old->size, old->serial);
    size_t edge = edge_of(old);
    bytes_check(p, 0, edge < size ? edge : size, key);
    if (old->size <= size)
        bytes_check(p, old->size - edge, edge, key);
}

static void block_resize(struct piece *b, unsigned thread, size_t size)
{
    struct piece old = *b;
    struct call c = {.kind = CALL_REALLOC, .p = old.p, .size = size};
    block_leave(b);
    *b = (struct piece){0};
    crew_call(thread, &c);
    if (size == 0 && c.result != NULL)
        fail("realloc(%p, 0) gave %p", (void *)old.p, c.result);
    if (size == 0)
        return;
    if (c.result != NULL)
        kept_check(c.result, &old, size);
    block_enter(b, thread, c.result, size, 1);
}

static void op_realloc(unsigned thread)
{
    struct piece *b = next_held();
    size_t size = next_size();
    if (b->p != NULL)
        block_resize(b, thread, size);
}

/* By a few bytes around what the block has: the borders of the size classes. */
static void op_realloc_near(unsigned thread)
{
    struct piece *b = next_held();
    size_t delta = next_byte() % 33, size = b->usable + delta;
    if (b->p != NULL && size > 16)
        block_resize(b, thread, size - 16);
}

static void op_free(unsigned thread)
{
    block_free(next_held(), thread);
}

static void op_free_many(unsigned thread)
{
    unsigned from = next_byte() % HELD, count = next_byte() % HELD;
    for (unsigned i = 0; i < count; i++)
        block_free(&run.held[(from + i) % HELD], thread);
}

static void op_look(unsigned thread)
{
    struct piece *b = next_held();
    if (b->p == NULL)
        return;
    block_check(b);
    if (usable_size(thread, b->p) != b->usable)
        fail("the usable size of %p has changed", (void *)b->p);
}

/* More blocks than a magazine holds; freed by the same thread, or the next one. */
static void op_burst(unsigned thread)
{
    static void *burst[BURST_MOST];
    size_t count = next_byte(), size = next_size() % 2048;
    unsigned how = next_byte();
    struct call c = {.kind = CALL_BURST_MAKE, .size = size, .burst = burst, .count = count,
                     .backwards = how & 1};
    crew_call(thread, &c);
    for (size_t i = 0; i < count; i++)
        if (burst[i] == NULL || !shadow_claim(burst[i], size))
            fail(".inv.apart: %p of %zu bytes", burst[i], size);
    for (size_t i = 0; i < count; i++) {
        memset(burst[i], 0xEE, size);
        shadow_release(burst[i], size);
        block_mark(&(struct piece){.p = burst[i]});
    }
    c.kind = CALL_BURST_DROP;
    crew_call(how & 2 ? (thread + 1) % CREW : thread, &c);
}

static void op_end_or_begin(unsigned thread)
{
    crew_call(thread, &(struct call){.kind = next_byte() & 1 ? CALL_DETACH : CALL_ATTACH});
}

static void op_trim(unsigned thread)
{
    (void)thread;
    if (next_byte() & 1)
        page_heap_decay(0);
    else
        heap_trim();
}

static void op_mark(unsigned thread)
{
    (void)thread;
    if (run.marking)
        mark_end(false);
    else
        mark_begin();
}

static void op_mark_some(unsigned thread)
{
    (void)thread;
    mark_some();
}

static void op_sweep(unsigned thread)
{
    (void)thread;
    sweep_for(next_byte());
}

/* The program forgets the block. libc's is freed: nobody else finds it. */
static void op_lose(unsigned thread)
{
    struct piece *b = next_held(), *to = &run.lost[next_byte() % LOST];
    if (b->p == NULL)
        return;
    if (to->p != NULL || !is_ours(b->p)) {
        block_free(b, thread);
        return;
    }
    *to = *b;
    *b = (struct piece){0};
}

/* It had not forgotten it: it frees it, resizes it, or uses it on. */
static void op_find(unsigned thread)
{
    struct piece *from = &run.lost[next_byte() % LOST], *b = next_held();
    unsigned how = next_byte() % 3, before = run.contradictions;
    size_t size = how == 2 ? next_size() : 0;
    if (from->p == NULL || b->p != NULL)
        return;
    *b = *from;
    *from = (struct piece){0};
    if (how == 0)
        block_free(b, thread);
    else if (how == 1)
        usable_size(thread, b->p);
    else
        block_resize(b, thread, size);
    if (run.contradictions > before + 1)
        fail("%u contradictions for one block", run.contradictions - before);
    run.contradictions = before;
}

static void operate(void)
{
    static void (*const operations[16])(unsigned thread) = {
        op_malloc, op_malloc, op_calloc, op_aligned, op_realloc, op_realloc_near, op_free,
        op_free_many, op_look, op_burst, op_end_or_begin, op_trim, op_mark, op_mark_some,
        op_lose, op_find,
    };
    unsigned byte = next_byte();
    operations[byte % 16](byte / 16 % CREW);
    if (byte >= 192)
        op_sweep(0);
    if (run.contradictions != 0)
        fail(".inv.trusted: a contradiction, though no lost block was used");
}

/* ---- the end of an input ---- */

static void invariants_hold(const char *when)
{
    if (!heap_check(when, NULL))
        fail("heap_check %s", when);
}

static void free_all(void)
{
    for (unsigned i = 0; i < HELD; i++)
        block_free(&run.held[i], i % CREW);
    if (run.marking)
        mark_end(false);
    mark_begin();
    mark_end(true);
    sweep_finish();
    for (unsigned i = 0; i < LOST; i++)
        if (run.lost[i].p != NULL)
            fail(".inv.lost: %p outlives the last cycle", (void *)run.lost[i].p);
}

static void nothing_is_left(void)
{
    crew_attach(false);
    heap_trim();
    struct page_heap_stats s = page_heap_stats();
    uint32_t never = s.top_slabs != 0; /* the first one; before the first block there is none */
    if (heap_used() != 0 || s.free_slabs + never != s.top_slabs || s.dirty_slabs != 0)
        fail(".inv.nothing: %jd bytes in use, %u of %u slabs free, %u dirty",
             (intmax_t)heap_used(), s.free_slabs, s.top_slabs, s.dirty_slabs);
    if (check_always || ++inputs % FULL_CHECK_EVERY == 0)
        invariants_hold("at the end");
}

static void start_once(void)
{
    static bool started;
    if (started)
        return;
    started = true;
    run_name_set("fuzz", 0);
    if (!heap_init(ARENA_BYTES, false))
        fail("no arena");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start_once();
    input.at = data;
    input.left = size;
    begin();
    while (input.left != 0) {
        where.op = (uint64_t)(input.at - data);
        operate();
    }
    if (check_always || run.checks)
        invariants_hold("before all is freed");
    free_all();
    nothing_is_left();
    return 0;
}
