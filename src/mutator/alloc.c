/* alloc.c -- the slow paths of malloc and free.
 *
 * Everything unusual ends here, in one place: the first call of a thread, an empty or full
 * magazine, events (sampling, stress), large and traced blocks, foreign pointers, errors, and
 * blocks that the collector had given up.
 *
 *   .inv.poll      A cycle is started before a block is taken, never between taking and returning
 *                  it, and with no lock held.
 *   .inv.handler   A signal handler that interrupted one of our slow paths, and calls malloc, free,
 *                  exit or fork all the same, takes no lock: it gets libc's blocks, and what it
 *                  frees is left to the collector.
 *   .inv.decided   A block leaves the live state by compare-and-swap on its slot byte here: of two
 *                  racing frees, or a free and the sweeper, exactly one wins. */
#include "mutator/alloc.h"

#include "base/check.h"
#include "base/rng.h"
#include "heap/central.h"
#include "heap/heap_stats.h"
#include "heap/judge.h"
#include "heap/large.h"
#include "heap/page_heap.h"
#include "mutator/foreign.h"
#include "mutator/guard.h"
#include "mutator/pins.h"
#include "mutator/sampler.h"
#include "mutator/tally.h"
#include "mutator/thread.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/print.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"

#include <errno.h>
#include <string.h>

extern void *__libc_stack_end;

enum {
    /* From this size on, realloc moves pages instead of bytes: mremap costs ~1 us + 0.1 us a page
     * moved, copying 4 KiB about 0.4 us. */
    MOVE_PAGES_LEAST = 256 << 10,
    /* Pages that mremap moved keep their old offset, so the kernel cannot merge their mapping with
     * its neighbours again: each move may leave two mappings more, of 65,530 a process may have.
     * After so many moves in a process, bytes are copied. */
    MOVE_PAGES_BUDGET = 8192,
    /* The page heap looks for an aligned run in one that is longer by the alignment, and each slab
     * of that costs a descriptor: from here on libc aligns, which maps and unmaps. */
    ALIGNMENT_MOST = 256 << 20,
    /* What is new, and what was freed; jemalloc's patterns. */
    JUNK_NEW = 0xa5,
    JUNK_FREED = 0x5a,
    /* From this size on, pages are dropped instead of zeroed. */
    DROP_LEAST = 256 << 10,
    /* Allocations between two looks at the sampling counters at most. */
    EVENT_MOST = 1 << 30,
    /* What an event says of its allocation. */
    EVENT_TRACED = 1,
    EVENT_GUARDED = 2,
};

/* What the program asks for. */
struct request {
    size_t size, alignment;
    bool leaf;
};

static struct alloc_settings settings;
/* Of a traced block of each class; fixed by alloc_start. */
static uint64_t parts_of_class[SIZE_CLASS_COUNT];
static _Atomic int64_t trigger = INT64_MAX;
static _Atomic bool interrupted;
static _Atomic uint64_t stress_count;
static _Atomic uint32_t page_moves;

void alloc_start(const struct alloc_settings *given)
{
    settings = *given;
    hot.slow_free = given->zero_on_free || given->junk;
    for (unsigned i = 1; i < SIZE_CLASS_COUNT; i++)
        parts_of_class[i] = given->sampling == ALLOC_SAMPLE_SOME
                                ? sampler_weight(given->sample_bytes, size_classes[i].size)
                                : SAMPLER_PARTS;
}

/* The stack of every large block is recorded. */
uint64_t alloc_parts(const struct block *block)
{
    return block->head->traced ? parts_of_class[block->head->size_class] : SAMPLER_PARTS;
}

uint64_t alloc_parts_of_size(uint32_t size)
{
    return size != 0 ? parts_of_class[size_class_of(size)] : SAMPLER_PARTS;
}

void alloc_set_trigger(int64_t bytes)
{
    relaxed_store(&trigger, bytes);
}

void alloc_interrupt(void)
{
    relaxed_store(&interrupted, true);
}

static void *fail(void)
{
    errno = ENOMEM;
    return NULL;
}

static void attach_main_or_stranger(void)
{
    bool is_main = !sandbox_on() && syscall0(__NR_gettid) == syscall0(__NR_getpid);
    if (!is_main || !thread_attach((uintptr_t)__libc_stack_end))
        thread_cache.state = CACHE_STRANGER;
}

void alloc_attach(void)
{
    if (thread_cache.state == CACHE_NEW)
        attach_main_or_stranger();
}

/* On all slow paths. A libc that allocates inside of a blocking call runs (park.c): what follows
 * may wait for the collector, and parks on its own account. */
static bool cached(void)
{
    if (GC_UNLIKELY(park_self != NULL && relaxed_load(&park_self->frame) != 0))
        park_end();
    if (GC_UNLIKELY(thread_cache.state == CACHE_NEW))
        alloc_attach();
    return thread_cache.state == CACHE_ATTACHED && !thread_cache.busy; /* .inv.moving */
}

static void poll(size_t upcoming)
{
    if (thread_cache.in_hook || settings.hooks.pressure == NULL)
        return;
    if (GC_UNLIKELY(relaxed_load(&interrupted))) {
        relaxed_store(&interrupted, false);
        if (settings.hooks.interrupted != NULL)
            settings.hooks.interrupted();
    }
    if (heap_net() + (int64_t)upcoming >= relaxed_load(&trigger))
        settings.hooks.pressure(upcoming);
}

static void count_stress(void)
{
    if (settings.stress == 0 || settings.hooks.stress == NULL || thread_cache.in_hook)
        return;
    if (relaxed_add(&stress_count, 1) % settings.stress == settings.stress - 1)
        settings.hooks.stress();
}

static uint32_t capture(void)
{
    if (thread_cache.in_hook || settings.hooks.capture == NULL)
        return 0;
    int saved = errno; /* the first time libunwind changes it */
    thread_cache.in_hook = 1;
    uint32_t stack = settings.hooks.capture();
    thread_cache.in_hook = 0;
    errno = saved;
    return stack;
}

/* A countdown of allocations of `size` bytes, one of which comes due in `mean` bytes; 0: it has not
 * begun. `done` of them more were made: is the last one due? *next is lowered to how many may pass
 * before another is. */
static bool comes_due(int64_t *left, int64_t done, uint64_t *rng, uint64_t mean, size_t size,
                      int64_t *next)
{
    if (*left == 0)
        *left = sampler_next(rng, mean, size);
    *left -= done;
    bool due = *left <= 0;
    if (due)
        *left = sampler_next(rng, mean, size);
    if (*left - 1 < *next)
        *next = *left - 1;
    return due;
}

/* For distances in halves of an allocation: rounded up, their mean is N. For 1 it is each one. */
static uint64_t guard_mean(void)
{
    return settings.guard == 1 ? 0 : 2 * settings.guard - 1;
}

/* Accounts the allocations of this class since the last look, this one included, and reloads the
 * event counter. What is to be done with this allocation: EVENT_… */
static unsigned event(struct thread *t, unsigned size_class)
{
    struct magazine *m = &thread_cache.magazines[size_class];
    int32_t until = m->until < 0 ? -1 : m->until - 1; /* .inv.until */
    int64_t done = (int64_t)thread_loaded_less(t->loaded[size_class], until);
    int64_t next = EVENT_MOST;
    unsigned due = settings.sampling == ALLOC_SAMPLE_ALL ? EVENT_TRACED : 0;
    uint32_t size = size_classes[size_class].size;
    if (settings.sampling == ALLOC_SAMPLE_SOME &&
        comes_due(&t->sample_left[size_class], done, &t->rng, settings.sample_bytes, size, &next))
        due |= EVENT_TRACED;
    if (settings.guard != 0 && size < 2 * PAGE_SIZE &&
        comes_due(&t->guard_left[size_class], done, &t->rng, guard_mean(), 2, &next))
        due |= EVENT_GUARDED;
    bool every = settings.sampling == ALLOC_SAMPLE_ALL || settings.stress != 0 || settings.junk;
    thread_move(t);
    t->made[size_class] += (uint64_t)done;
    t->loaded[size_class] = every ? 0 : (int32_t)next;
    m->until = t->loaded[size_class];
    thread_move(t);
    return due;
}

static void *make_live(void *block)
{
    __asm__ volatile("" : "+r"(block) : : "memory"); /* .inv.newborn */
    if (block != NULL)
        relaxed_store(slot_of((uintptr_t)block), relaxed_load(&hot.epoch));
    return block;
}

static void *take_single(unsigned size_class, const struct record *record, bool leaf)
{
    poll(0);
    return make_live(central_fetch_single(size_class, record, leaf));
}

static void *take_cached(unsigned size_class)
{
    struct magazine *m = &thread_cache.magazines[size_class];
    if (magazine_count(m) == 0) {
        poll(0);
        if (!cache_refill(&thread_cache, size_class))
            return NULL;
    }
    return make_live(*--m->top);
}

static void *take_uncached(unsigned size_class, bool leaf)
{
    void *block = take_single(size_class, NULL, leaf);
    if (block != NULL)
        relaxed_add(&tally_counters.uncached[size_class], 1);
    return block;
}

static void note_birth(uint32_t stack, size_t size, uint64_t parts)
{
    if (stack != 0 && settings.hooks.born != NULL)
        settings.hooks.born(stack, size, parts);
}

static void note_death(uint32_t stack, size_t size, uint64_t parts)
{
    if (stack != 0 && settings.hooks.died != NULL)
        settings.hooks.died(stack, size, parts);
}

static void *take_traced(unsigned size_class, size_t size, bool leaf)
{
    struct record record = {capture(), (uint32_t)size};
    if (record.stack == 0)
        return NULL;
    void *block = take_single(size_class, &record, leaf);
    note_birth(block != NULL ? record.stack : 0, size, parts_of_class[size_class]);
    return block;
}

/* NULL: none is to be had. Its stack is recorded whatever `stacks` says. */
static void *take_guarded(size_t size, size_t alignment)
{
    if (size > PAGE_SIZE || alignment > PAGE_SIZE || !guard_has_room())
        return NULL;
    uint32_t stack = capture();
    return guard_take(size, alignment, stack, rng_next(&thread_cache.thread->rng) >> 32);
}

/* event() took it for one of the class: it is a guarded one, or there is none. */
static void *counted_elsewhere(unsigned size_class, void *guarded)
{
    if (guarded != NULL)
        relaxed_add(&tally_counters.guarded, 1);
    thread_cache.thread->made[size_class]--;
    return guarded;
}

static void *take_small(unsigned size_class, size_t size, size_t alignment)
{
    void *block = NULL;
    if (!cached())
        return take_uncached(size_class, false);
    unsigned due = event(thread_cache.thread, size_class);
    if (due & EVENT_GUARDED)
        block = take_guarded(size, alignment);
    if (block != NULL)
        return counted_elsewhere(size_class, block);
    if (due & EVENT_TRACED)
        block = take_traced(size_class, size, false);
    if (block == NULL)
        block = take_cached(size_class);
    return block != NULL ? block : counted_elsewhere(size_class, NULL);
}

/* Never a guarded one, which would be read as a root. */
static void *take_small_leaf(unsigned size_class, size_t size)
{
    void *block = NULL;
    if (!cached())
        return take_uncached(size_class, true);
    if (event(thread_cache.thread, size_class) & EVENT_TRACED)
        block = take_traced(size_class, size, true);
    if (block == NULL)
        block = take_single(size_class, NULL, true);
    return block != NULL ? block : counted_elsewhere(size_class, NULL);
}

static void note_large(void *block, uint32_t stack, const struct request *r)
{
    struct slab *head = slab_at(slab_index_of((uintptr_t)block));
    head->stack = stack;
    head->slack = (uint32_t)(head->bytes - r->size);
    if (r->leaf)
        slab_set_leaf(slab_index(head));
}

/* `size` bytes, of which the program has asked for r->size. */
static void *take_large(size_t size, const struct request *r, size_t alignment, bool *zeroed)
{
    uint32_t stack = settings.sampling == ALLOC_SAMPLE_NONE ? 0 : capture();
    poll(size);
    void *block = large_alloc(size, alignment, zeroed);
    if (block != NULL)
        note_large(block, stack, r);
    note_birth(block != NULL ? stack : 0, r->size, SAMPLER_PARTS);
    return make_live(block);
}

/* One attempt from the arena. */
static void *take(const struct request *r, bool *zeroed)
{
    size_t padded = r->size + hot.pad, alignment = size_max(r->alignment, GRANULE);
    *zeroed = false;
    if (settings.whole_pages) {
        padded = align_up(padded, PAGE_SIZE);
        alignment = size_max(alignment, PAGE_SIZE);
    }
    unsigned class = alignment <= GRANULE
                         ? (padded <= SIZE_CLASS_MAX ? size_class_of(padded) : 0)
                         : size_class_of_aligned(padded, alignment);
    if (class == 0)
        return take_large(padded, r, alignment, zeroed);
    return r->leaf ? take_small_leaf(class, r->size) : take_small(class, r->size, alignment);
}

static void *take_foreign(const struct request *r, bool *zeroed)
{
    *zeroed = false;
    return r->alignment <= GRANULE ? foreign_malloc(r->size)
                                   : foreign_memalign(r->alignment, r->size);
}

static void *obtain(struct request r, bool *zeroed)
{
    if (r.size > PTRDIFF_MAX || r.alignment > PTRDIFF_MAX)
        return fail();
    if (!settings.arena || r.alignment > ALIGNMENT_MOST || lock_any_held()) /* .inv.handler */
        return take_foreign(&r, zeroed);
    cached();
    count_stress();
    void *block = take(&r, zeroed);
    if (block == NULL && !thread_cache.in_hook && settings.hooks.exhausted != NULL &&
        settings.hooks.exhausted(r.size))
        block = take(&r, zeroed);
    return block != NULL ? block : take_foreign(&r, zeroed);
}

static void *obtain_junk(struct request r)
{
    bool zeroed;
    void *block = obtain(r, &zeroed);
    return settings.junk && block != NULL ? memset(block, JUNK_NEW, r.size) : block;
}

void *alloc_aligned(size_t alignment, size_t size)
{
    return obtain_junk((struct request){size, alignment, false});
}

void *alloc_leaf(size_t size)
{
    return obtain_junk((struct request){size, GRANULE, true});
}

void *alloc_malloc(size_t size)
{
    return alloc_aligned(GRANULE, size);
}

void *alloc_calloc(size_t count, size_t size)
{
    size_t bytes;
    bool zeroed;
    if (__builtin_mul_overflow(count, size, &bytes))
        return fail();
    if (!settings.arena)
        return bytes > PTRDIFF_MAX ? fail() : foreign_calloc(bytes);
    void *block = obtain((struct request){bytes, GRANULE, false}, &zeroed);
    if (block != NULL && !zeroed)
        memset(block, 0, bytes);
    return block;
}

/* What free, realloc and usable_size make of an address. */
enum found { FOUND_LIVE, FOUND_FREE, FOUND_INSIDE, FOUND_NOTHING, FOUND_FOREIGN };

static enum found find(const void *p, struct block *out)
{
    uintptr_t address = (uintptr_t)p;
    if (address - hot.base >= arena_size())
        return FOUND_FOREIGN;
    if (!arena_contains(address) || !block_find(address, out))
        return FOUND_NOTHING;
    uint8_t byte = relaxed_load(slot_of(out->start));
    if (out->start != address)
        return slot_is_live(byte) ? FOUND_INSIDE : FOUND_NOTHING;
    return slot_is_live(byte) ? FOUND_LIVE : FOUND_FREE;
}

static _Noreturn void report_bad(const char *call, const void *p, enum found found,
                                 const struct block *b)
{
    if (found == FOUND_FREE)
        print_fatal("%s(%p): double free: the block of %zu bytes at %p is free already", call, p,
                    b->size, (void *)b->start);
    if (found == FOUND_INSIDE)
        print_fatal("%s(%p): invalid pointer: it lies %zu bytes into the block of %zu bytes at %p",
                    call, p, (size_t)((uintptr_t)p - b->start), b->size, (void *)b->start);
    print_fatal("%s(%p): invalid pointer: no block of the heap is there", call, p);
}

static enum foreign_origin origin_of(const void *p)
{
    return foreign_origin(p, park_self == NULL ? 0 : park_self->stack_hint);
}

/* False: the address is foreign, or that of a guarded block; or it was reported. */
static bool own_block(const char *call, const void *p, struct block *b)
{
    enum found found = find(p, b);
    if (found == FOUND_LIVE)
        return true;
    if (found != FOUND_FOREIGN)
        report_bad(call, p, found, b);
    if (guard_owns(p))
        return false;
    if (!lock_any_held())
        cached(); /* it may be the first call, and nobody know yet where the stack lies */
    enum foreign_origin origin = origin_of(p);
    if (origin != FOREIGN_LIBC && origin != FOREIGN_LOADER)
        print_fatal("%s(%p): invalid pointer: the address %s", call, p,
                    foreign_origin_text(origin));
    return false;
}

static void note_contradiction(const struct block *b, struct standing s)
{
    if (standing_is_unreached(s) && settings.hooks.contradiction != NULL &&
        !judge_is_newborn(b->start))
        settings.hooks.contradiction(b);
}

/* Takes the block out of the live state; if somebody else just did, it is a double free. */
static void end_life(const char *call, const struct block *b, uint8_t to)
{
    slot_byte *byte = slot_of(b->start);
    struct standing standing = standing_of(b);
    uint8_t value = standing.byte;
    note_contradiction(b, standing);
    while (slot_is_live(value))
        if (atomic_compare_exchange_weak_explicit(byte, &value, to, memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            slot_note_death((size_t)(byte - hot.slots));
            return;
        }
    report_bad(call, (void *)b->start, FOUND_FREE, b);
}

/* The program uses the block: if a mark had not reached it, that is a contradiction, and from now
 * on it counts as reachable. While a mark is under way that means reachable until now: a block with
 * the new epoch would not be read by the marker. */
static void touch(const struct block *b)
{
    struct standing s = standing_of(b);
    if (!standing_is_unreached(s))
        return;
    note_contradiction(b, s);
    standing_renew(b, s);
}

static void give_cached(const struct block *b)
{
    void *block = (void *)b->start;
    unsigned class = b->head->size_class;
    if (!cached() || !cache_knows(&thread_cache, class)) {
        central_return(class, &block, 1);
        return;
    }
    cache_make_room(&thread_cache, class);
    struct magazine *m = &thread_cache.magazines[class];
    *m->top++ = block;
}

/* It is free already, and nobody else's yet. */
static void overwrite(const struct block *b)
{
    uintptr_t end = align_down(b->start + b->size, PAGE_SIZE);
    if (settings.junk)
        memset((void *)b->start, JUNK_FREED, b->size);
    else if (b->size < DROP_LEAST || !mem_discard((void *)b->start, end - b->start))
        memset((void *)b->start, 0, b->size);
    else
        memset((void *)end, 0, b->start + b->size - end);
}

/* It, or another one of its slab. */
static bool is_watched(const struct block *b)
{
    return slab_at(slab_index_of(b->start))->watched != 0;
}

static void tell_ended(uintptr_t block)
{
    if (settings.hooks.ended != NULL)
        settings.hooks.ended(block);
}

static void end_watches(uintptr_t block)
{
    pins_end(block);
    tell_ended(block);
}

static void free_block(const char *call, const struct block *b)
{
    bool large = slab_kind(b->head) == SLAB_LARGE;
    if (lock_any_held()) /* .inv.handler: it stays, and a later cycle finds it */
        return;
    end_life(call, b, large ? SLOT_FREE : SLOT_CACHED);
    if (is_watched(b)) /* nobody watches it anew: it is free */
        end_watches(b->start);
    note_death(block_stack(b), block_requested(b), alloc_parts(b));
    if (hot.slow_free)
        overwrite(b);
    if (large)
        large_free(b->head);
    else if (b->head->traced || b->head->leaf)
        central_release_single(b);
    else
        give_cached(b);
}

/* Both stacks, and then the line that all bad calls have. */
static _Noreturn void report_guarded(const char *call, const struct guard_error *e)
{
    struct block b = {.start = e->start, .size = e->size};
    bool inside = e->freed.tid == 0 && e->address - e->start < e->size;
    guard_tell(e);
    report_bad(call, (void *)e->address,
               e->what != GUARD_WILD_FREE ? FOUND_FREE : inside ? FOUND_INSIDE : FOUND_NOTHING, &b);
}

static void free_guarded(const char *call, void *p)
{
    struct guard_error error;
    if (!lock_any_held())
        end_watches((uintptr_t)p);
    if (guard_free(p, capture(), &error) != GUARD_NOTHING)
        report_guarded(call, &error);
    relaxed_add(&tally_counters.guarded_freed, 1);
}

/* What the program asked for, and no byte more. */
static size_t guarded_size(const char *call, const void *p)
{
    struct guard_error error;
    if (guard_look(p, &error) != GUARD_NOTHING)
        report_guarded(call, &error);
    return error.size;
}

static void free_foreign(void *p)
{
    if (origin_of(p) == FOREIGN_LIBC)
        foreign_free(p);
}

void alloc_free(void *p)
{
    struct block b;
    if (p == NULL)
        return;
    if (own_block("free", p, &b))
        free_block("free", &b);
    else if (guard_owns(p))
        free_guarded("free", p);
    else
        free_foreign(p);
}

/* Libc's own blocks are not known one by one. */
enum alloc_use alloc_use(const void *p)
{
    struct block b;
    struct guard_error e;
    enum found found = p == NULL ? FOUND_NOTHING : find(p, &b);
    if (found == FOUND_LIVE) {
        touch(&b);
        return slot_is_live(relaxed_load(slot_of(b.start))) ? ALLOC_BLOCK : ALLOC_NONE;
    }
    if (found != FOUND_FOREIGN)
        return ALLOC_NONE;
    if (guard_owns(p))
        return guard_look(p, &e) == GUARD_NOTHING && e.start == (uintptr_t)p ? ALLOC_BLOCK
                                                                             : ALLOC_NONE;
    return origin_of(p) == FOREIGN_LIBC ? ALLOC_LIBC : ALLOC_NONE;
}

static void *guarded_block_of(const void *p, size_t *usable)
{
    struct guard_error e;
    if (!guard_owns(p) || guard_look(p, &e) == GUARD_USE_AFTER_FREE ||
        (uintptr_t)p - e.start > e.size)
        return NULL;
    *usable = e.size;
    return (void *)e.start;
}

void *alloc_block_of(const void *p, size_t *usable)
{
    struct block b;
    enum found found = find(p, &b);
    if (found == FOUND_FOREIGN)
        return guarded_block_of(p, usable);
    if (found != FOUND_LIVE && found != FOUND_INSIDE)
        return NULL;
    touch(&b);
    *usable = b.size - hot.pad;
    return slot_is_live(relaxed_load(slot_of(b.start))) ? (void *)b.start : NULL;
}

size_t alloc_usable_size(const void *p)
{
    struct block b;
    if (p == NULL)
        return 0;
    if (!own_block("malloc_usable_size", p, &b))
        return guard_owns(p) ? guarded_size("malloc_usable_size", p) : foreign_usable_size(p);
    touch(&b);
    return b.size - hot.pad;
}

static void *copy_to_new(void *p, size_t old, size_t size, bool leaf)
{
    void *to = leaf ? alloc_leaf(size) : alloc_malloc(size);
    if (to != NULL)
        memcpy(to, p, size_min(old, size));
    return to;
}

/* Moves the pages of a large block to a new one. NULL: not possible this way. */
static void *move_large(const struct block *b, size_t size)
{
    bool zeroed;
    if (size_min(b->size, size) < MOVE_PAGES_LEAST)
        return NULL;
    struct request r = {size, GRANULE, b->head->leaf != 0};
    void *to = take_large(size + hot.pad, &r, GRANULE, &zeroed);
    if (to == NULL)
        return NULL;
    size_t bytes = align_up(size_min(b->size, size), PAGE_SIZE);
    if (relaxed_add(&page_moves, 1) < MOVE_PAGES_BUDGET &&
        mem_move_pages((void *)b->start, to, bytes))
        page_heap_note_clean(slab_index(b->head), (uint32_t)(bytes >> SLAB_SHIFT));
    else
        memcpy(to, (void *)b->start, bytes);
    return to;
}

/* The report tells what the program asked for last. To an account it is as if the block had been
 * freed, and another one allocated. */
static void note_size(const struct block *b, size_t before, size_t size)
{
    note_death(block_stack(b), before, alloc_parts(b));
    if (slab_kind(b->head) == SLAB_LARGE)
        b->head->slack = (uint32_t)(b->head->bytes - size);
    else if (b->head->traced)
        b->head->records[b->slot].size = (uint32_t)size;
    note_birth(block_stack(b), size, alloc_parts(b));
}

static bool fits_in_place(const struct block *b, size_t size)
{
    if (slab_kind(b->head) == SLAB_LARGE)
        return size > SIZE_CLASS_MAX && large_resize(b->head, size + hot.pad);
    return alloc_stays(b->size, size);
}

static void *realloc_own(struct block *b, void *p, size_t size)
{
    size_t before = block_requested(b);
    if (fits_in_place(b, size)) {
        if (is_watched(b))
            tell_ended(b->start);
        note_size(b, before, size);
        return p;
    }
    void *to = slab_kind(b->head) == SLAB_LARGE ? move_large(b, size) : NULL;
    if (to == NULL)
        to = copy_to_new(p, b->size, size, b->head->leaf != 0);
    if (to == NULL)
        return size < b->size ? p : NULL;
    free_block("realloc", b);
    return to;
}

/* It always moves: what is cut off is no longer the program's, either. */
static void *realloc_guarded(void *p, size_t size)
{
    size_t old = guarded_size("realloc", p);
    void *to = size == 0 ? NULL : copy_to_new(p, old, size, false);
    if (size != 0 && to == NULL)
        return size < old ? p : NULL;
    free_guarded("realloc", p);
    return to;
}

static void *realloc_foreign(void *p, size_t size)
{
    if (foreign_origin(p, 0) == FOREIGN_LIBC)
        return foreign_realloc(p, size);
    /* The loader's: its size is not recorded, but it never was more than a page or two of ours. */
    return fail();
}

void *alloc_realloc(void *p, size_t size)
{
    struct block b;
    if (p == NULL)
        return alloc_malloc(size);
    if (size > PTRDIFF_MAX)
        return fail();
    if (!own_block("realloc", p, &b)) {
        if (guard_owns(p))
            return realloc_guarded(p, size);
        return size == 0 ? (free_foreign(p), NULL) : realloc_foreign(p, size);
    }
    if (size == 0) {
        free_block("realloc", &b);
        return NULL;
    }
    touch(&b);
    return realloc_own(&b, p, size);
}
