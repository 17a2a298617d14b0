/* guard.c -- a pool of single pages.
 *
 * Theory (GWP-ASan: llvm.org/docs/GwpAsan.html; Chromium's gwp_asan): a few allocations, one in N,
 * are put on a page of their own, with an inaccessible page on each side. On free the page becomes
 * inaccessible, too, and is the last of the line to be used again. The kernel does the checking;
 * the program pays for nothing but the few.
 *
 *     guard | slot 0 | guard | slot 1 | guard | … | guard
 *
 *   .inv.state   A slot's `state` goes FREE -> FILLING -> LIVE -> FREEING -> FREE, out of FREE and
 *                LIVE by compare-and-swap: of two racing frees one wins. Who makes it FILLING or
 *                FREEING writes the rest of it, and has its page to itself.
 *   .inv.shut    The page of a FREE slot is inaccessible and holds nothing: no old pointer in it is
 *                read as a root. (A sandbox does not permit that: there it only is zeroed, and
 *                nothing is taken any more.)
 *   .inv.line    Of the FREE slots that with the lowest `freed_at` is taken.
 *   .inv.kept    To the collector what is LIVE is a root (roots.c, .inv.guarded), and a block that
 *                leaks stays. So the pool fills up where the program keeps, or leaks, many blocks:
 *                then no more are guarded.
 *
 * Sides. At the page's end what runs over the end is seen, at its beginning what runs below the
 * start: a coin decides. malloc promises a multiple of 16, and compilers count on it also for
 * smaller blocks. So a block at the end whose size is not a multiple of 16 has up to 15 bytes
 * behind it in which an overflow goes unseen, until it reaches the page's end. malloc_usable_size
 * says what was asked for, no more: who uses all of it stays within the block.
 *
 * Readers of a slot that is not theirs (a fault's handler) may see it change: what they tell then
 * is of the wrong block, but numbers all the same. */
#include "mutator/guard.h"

#include "base/atomic.h"
#include "base/check.h"
#include "heap/meta.h"
#include "sys/mem.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"

#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum {
    /* Chromium has up to 256, LLVM's default is 16. Each that is live splits the mapping twice, and
     * costs a mark ~1 us a pass; 128 last for minutes at N = 5000 in a program that frees. */
    SLOTS = 128,
    POOL_PAGES = 2 * SLOTS + 1,
    POOL_SIZE = POOL_PAGES * PAGE_SIZE,
    PAGE_FAULT = 14, /* x86's number of it */
};

enum state { FREE, FILLING, LIVE, FREEING };

struct guarded {
    _Atomic uint32_t state;
    _Atomic uint32_t told;      /* a fault was reported since it was taken */
    _Atomic uint64_t freed_at;  /* its place in the line */
    /* .inv.state */
    uintptr_t start;
    size_t size;
    struct guard_trace allocated, freed;
};

/* Fixed by guard_start, but for what says otherwise. */
static struct {
    uintptr_t base, size;       /* of the pool; 0 without one */
    struct guarded *slots;      /* .inv.state */
    guard_report_fn *report;
    _Atomic uint64_t line;      /* the last place in it. Any thread adds */
    _Atomic uint32_t busy;      /* slots that are not FREE: a guess. Any thread adds */
} guard;

bool guard_start(guard_report_fn *report)
{
    if (guard.size != 0)
        return false;
    char *pool = mem_reserve(POOL_SIZE);
    guard.slots = meta_alloc(SLOTS * sizeof(struct guarded));
    if (pool == NULL || guard.slots == NULL)
        return false;
    guard.report = report;
    guard.base = (uintptr_t)pool;
    guard.size = POOL_SIZE;
    return true;
}

bool guard_on(void)
{
    return guard.size != 0;
}

void guard_pool(uintptr_t *start, uintptr_t *end)
{
    *start = guard.base;
    *end = guard.base + guard.size;
}

bool guard_slot(unsigned i, uintptr_t *start, uintptr_t *end)
{
    *start = *end = 0;
    if (i >= SLOTS || !guard_on())
        return false;
    struct guarded *g = &guard.slots[i];
    if (acquire_load(&g->state) != LIVE)
        return true;
    *start = g->start;
    *end = g->start + g->size;
    return true;
}

bool guard_owns(const void *p)
{
    return (uintptr_t)p - guard.base < guard.size;
}

bool guard_has_room(void)
{
    return relaxed_load(&guard.busy) < SLOTS && !sandbox_on();
}

static uintptr_t page_of(const struct guarded *g)
{
    return guard.base + (((uintptr_t)(g - guard.slots) * 2 + 1) << PAGE_SHIFT);
}

static bool turn(struct guarded *g, enum state from, enum state to)
{
    uint32_t expected = from;
    return atomic_compare_exchange_strong(&g->state, &expected, to);
}

static bool set_rights(const struct guarded *g, int rights)
{
    return syscall3(__NR_mprotect, (long)page_of(g), PAGE_SIZE, rights) == 0;
}

static struct guard_trace here(uint32_t stack)
{
    return (struct guard_trace){(int32_t)syscall0(__NR_gettid), stack};
}

/* .inv.line. NULL: there is none. */
static struct guarded *first_free(void)
{
    struct guarded *first = NULL;
    for (struct guarded *g = guard.slots; g < guard.slots + SLOTS; g++)
        if (relaxed_load(&g->state) == FREE &&
            (first == NULL || relaxed_load(&g->freed_at) < relaxed_load(&first->freed_at)))
            first = g;
    return first;
}

static struct guarded *take_slot(void)
{
    struct guarded *g;
    do
        g = first_free();
    while (g != NULL && !turn(g, FREE, FILLING));
    if (g != NULL)
        relaxed_add(&guard.busy, 1);
    return g;
}

/* The caller has made it FILLING or FREEING. */
static void give_slot(struct guarded *g)
{
    relaxed_add(&guard.busy, (uint32_t)-1);
    release_store(&g->state, FREE);
}

void *guard_take(size_t size, size_t alignment, uint32_t stack, uint64_t random)
{
    GC_ASSERT(size <= PAGE_SIZE && alignment <= PAGE_SIZE && is_power_of_two(alignment));
    struct guarded *g = guard_has_room() ? take_slot() : NULL;
    if (g == NULL)
        return NULL;
    if (!set_rights(g, PROT_READ | PROT_WRITE)) {
        give_slot(g);
        return NULL;
    }
    size_t below = align_down(PAGE_SIZE - size_max(size, 1), alignment);
    g->start = page_of(g) + (random % 2 == 0 ? below : 0);
    g->size = size;
    g->allocated = here(stack);
    g->freed = (struct guard_trace){0};
    relaxed_store(&g->told, 0);
    release_store(&g->state, LIVE);
    return (void *)g->start;
}

/* .inv.shut. Zeroed first: locked memory is not given back. */
static void shut(const struct guarded *g)
{
    memset((void *)page_of(g), 0, PAGE_SIZE);
    if (sandbox_on() || !set_rights(g, PROT_NONE))
        return;
    mem_discard((void *)page_of(g), PAGE_SIZE);
}

/* ---- looking ---- */

static bool was_used(const struct guarded *g)
{
    return g->allocated.tid != 0;
}

/* An address in a guard page counts for the slot that is nearer, if that was ever used. */
static struct guarded *slot_near(uintptr_t address)
{
    size_t page = (address - guard.base) >> PAGE_SHIFT;
    struct guarded *right = &guard.slots[page / 2];
    if (page % 2 == 1 || page == 0)
        return right;
    struct guarded *left = right - 1;
    if (page == POOL_PAGES - 1)
        return left;
    bool nearer = address % PAGE_SIZE < PAGE_SIZE / 2;
    return was_used(nearer ? left : right) == nearer ? left : right;
}

static struct guard_error error_of(const struct guarded *g, uintptr_t address)
{
    return (struct guard_error){.address = address,
                                .start = g->start,
                                .size = g->size,
                                .allocated = g->allocated,
                                .freed = g->freed};
}

static enum guard_what what_access(const struct guarded *g, uintptr_t address)
{
    uint32_t state = acquire_load(&g->state);
    if (!was_used(g) || state == FILLING)
        return GUARD_NOTHING;
    if (state != LIVE)
        return GUARD_USE_AFTER_FREE;
    if (address < g->start)
        return GUARD_UNDERFLOW;
    return address - g->start >= g->size ? GUARD_OVERFLOW : GUARD_NOTHING;
}

static enum guard_what what_free(const struct guarded *g, uintptr_t address)
{
    uint32_t state = acquire_load(&g->state);
    if (address != g->start || !was_used(g))
        return GUARD_WILD_FREE;
    return state == LIVE ? GUARD_NOTHING : GUARD_DOUBLE_FREE;
}

enum guard_what guard_look(const void *p, struct guard_error *error)
{
    const struct guarded *g = slot_near((uintptr_t)p);
    *error = error_of(g, (uintptr_t)p);
    error->what = what_free(g, (uintptr_t)p);
    if (error->what == GUARD_DOUBLE_FREE)
        error->what = GUARD_USE_AFTER_FREE;
    return error->what;
}

enum guard_what guard_free(void *p, uint32_t stack, struct guard_error *error)
{
    struct guarded *g = slot_near((uintptr_t)p);
    enum guard_what what = what_free(g, (uintptr_t)p);
    if (what == GUARD_NOTHING && !turn(g, LIVE, FREEING))
        what = GUARD_DOUBLE_FREE; /* somebody else was faster */
    if (what != GUARD_NOTHING) {
        *error = error_of(g, (uintptr_t)p);
        error->what = what;
        return what;
    }
    g->freed = here(stack);
    shut(g);
    relaxed_store(&g->freed_at, relaxed_add(&guard.line, 1) + 1);
    give_slot(g);
    return GUARD_NOTHING;
}

/* ---- telling ---- */

void guard_tell(const struct guard_error *error)
{
    guard.report(error);
}

/* The address is in the context, whether or not the handler asked for a siginfo; if no fault but
 * somebody has sent the signal it is that of an earlier one, which was told of. */
void guard_on_fault(const void *context)
{
    const ucontext_t *uc = context;
    const greg_t *r = uc->uc_mcontext.gregs;
    uintptr_t address = (uintptr_t)r[REG_CR2];
    if (r[REG_TRAPNO] != PAGE_FAULT || !guard_owns((const void *)address) || sandbox_on())
        return;
    struct guarded *g = slot_near(address);
    struct guard_error error = error_of(g, address);
    error.what = what_access(g, address);
    error.pc = (uintptr_t)r[REG_RIP];
    if (error.what != GUARD_NOTHING && atomic_exchange(&g->told, 1) == 0)
        guard.report(&error);
}

/* A slot is half-way only if another thread was busy with it, which is not in the child; nor can be
 * known whether it has been counted. */
void guard_after_fork(void)
{
    uint32_t busy = 0;
    for (struct guarded *g = guard.slots; guard_on() && g < guard.slots + SLOTS; g++) {
        uint32_t state = relaxed_load(&g->state);
        if ((state == FILLING || state == FREEING) && set_rights(g, PROT_READ | PROT_WRITE)) {
            shut(g);
            relaxed_store(&g->state, FREE);
        }
        busy += relaxed_load(&g->state) != FREE;
    }
    relaxed_store(&guard.busy, busy);
}
