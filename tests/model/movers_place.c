/* movers_place.c -- slots in mappings that come, go, move and are protected; on the stacks of
 * coroutines; and the stack of signals, of which the kernel alone knows where it is. */
#include "movers.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum {
    REGION_PAGES = 64,
    COROUTINE_STACK = 192 << 10,
    ALTERNATE_STACK = 96 << 10,
    COROUTINE_MOVES = 128,
    HANDLER_WORDS = 4,
    HANDLER_MOVES = 64,
};

/* ---- mappings -------------------------------------------------------------------------------- */

static char *region_base(const struct region *r)
{
    return (char *)~r->hidden;
}

static void *must_map(size_t size, int flags)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        fail("mmap of %zu bytes: %s", size, strerror(errno));
    return p;
}

/* The parent goes on writing there: two marks in the child would not see the same. */
void keep_from_child(void *start, size_t size)
{
    if (madvise(start, size, MADV_DONTFORK))
        fail("madvise: %s", strerror(errno));
}

static void region_map(struct thread *th, struct region *r)
{
    r->shared = rng_chance(&th->rng, 3);
    r->size = PAGE * rng_between(&th->rng, 1, REGION_PAGES);
    char *base = must_map(r->size, r->shared ? MAP_SHARED : MAP_PRIVATE);
    if (r->shared)
        keep_from_child(base, r->size);
    size_t step = r->size / 8 / REGION_SLOTS;
    for (unsigned k = 0; k < REGION_SLOTS; k++) {
        size_t at = 8 * (k * step + rng_below(&th->rng, step));
        slot_place(&th->slots[r->first + k], (word *)(void *)(base + at), 0);
    }
    r->hidden = ~(uintptr_t)base;
}

void regions_make(struct thread *th)
{
    for (int i = 0; i < REGIONS; i++)
        region_map(th, &th->regions[i]);
}

static bool region_is_idle(const struct thread *th, const struct region *r)
{
    for (unsigned k = 0; k < REGION_SLOTS; k++)
        if (th->slots[r->first + k].busy)
            return false;
    return true;
}

/* Moves out what its slots hold. False: not all found a place. */
static bool region_empty(struct thread *th, struct region *r)
{
    for (unsigned k = 0; k < REGION_SLOTS; k++) {
        struct slot *s = &th->slots[r->first + k];
        for (int tries = 0; tries < 4 && !slot_is_empty(s); tries++) {
            struct slot *to = slot_free_for(th, &s->ref);
            if (to && (to < &th->slots[r->first] || to >= &th->slots[r->first + REGION_SLOTS]))
                slot_swap(th, s, to);
        }
        if (!slot_is_empty(s))
            return false;
    }
    return true;
}

static void region_renew(struct thread *th, struct region *r)
{
    if (!region_empty(th, r))
        return;
    char *old = region_base(r);
    size_t size = r->size;
    bool first = rng_chance(&th->rng, 2); /* likely: the new one at the address of the old */
    if (first)
        munmap(old, size);
    region_map(th, r);
    if (!first)
        munmap(old, size);
}

static void region_discard(struct thread *th, struct region *r)
{
    if (r->shared || !region_empty(th, r))
        return;
    madvise(region_base(r), r->size, MADV_DONTNEED);
    for (unsigned k = 0; k < REGION_SLOTS; k++)
        if (slot_get(&th->slots[r->first + k]))
            fail("a discarded page is not zero");
}

/* The contents go to another address, the pointers to blocks with them. */
static void region_move(struct thread *th, struct region *r)
{
    char *old = region_base(r), *to;
    size_t size = r->size, dice = rng_below(&th->rng, 3);
    if (dice == 0 && !r->shared)
        size = PAGE * rng_between(&th->rng, size / PAGE, 2 * REGION_PAGES);
    if (dice == 2 && !r->shared) {
        to = mremap(old, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    } else {
        to = must_map(size, MAP_PRIVATE | MAP_NORESERVE);
        to = mremap(old, r->size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    }
    if (to == MAP_FAILED)
        fail("mremap of %zu bytes (%zu before, way %zu, shared %d): %s", size, r->size, dice,
             r->shared, strerror(errno));
    if (dice == 2 && !r->shared)
        munmap(old, size);
    for (unsigned k = 0; k < REGION_SLOTS; k++) {
        struct slot *s = &th->slots[r->first + k];
        s->at = ~(~s->at - (uintptr_t)old + (uintptr_t)to);
    }
    r->hidden = ~(uintptr_t)to;
    r->size = size;
}

static void region_protect(struct thread *th, struct region *r, bool wanted)
{
    int how = !wanted ? PROT_READ | PROT_WRITE : rng_chance(&th->rng, 2) ? PROT_READ : PROT_NONE;
    if (mprotect(region_base(r), r->size, how))
        fail("mprotect: %s", strerror(errno));
    r->is_protected = wanted;
    for (unsigned k = 0; k < REGION_SLOTS; k++)
        th->slots[r->first + k].busy += wanted ? 1 : -1;
}

/* A private copy of a shared one. */
void *region_copy(struct thread *th, struct region *r)
{
    if (r->is_protected)
        region_protect(th, r, false);
    return memcpy(must_map(r->size, MAP_PRIVATE), region_base(r), r->size);
}

/* In the child of fork: moves the copy to where the region was. */
void region_take_copy(struct region *r, void *copy)
{
    void *to = region_base(r);
    if (mremap(copy, r->size, r->size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
        fail("mremap to where shared memory was: %s", strerror(errno));
    r->shared = false;
}

void region_turn(struct thread *th)
{
    struct region *r = &th->regions[rng_below(&th->rng, REGIONS)];
    size_t dice = rng_below(&th->rng, 8);
    if (!r->hidden)
        return;
    if (r->is_protected)
        region_protect(th, r, false);
    else if (!region_is_idle(th, r))
        return;
    else if (dice < 3)
        region_renew(th, r);
    else if (dice < 4)
        region_discard(th, r);
    else if (dice < 7)
        region_move(th, r);
    else
        region_protect(th, r, true);
}

void regions_drop(struct thread *th)
{
    for (int i = 0; i < REGIONS; i++) {
        struct region *r = &th->regions[i];
        if (r->hidden && r->is_protected)
            region_protect(th, r, false);
        for (unsigned k = 0; r->hidden && k < REGION_SLOTS; k++)
            slot_drop(th, &th->slots[r->first + k], true);
        if (r->hidden)
            munmap(region_base(r), r->size);
        for (unsigned k = 0; k < REGION_SLOTS; k++)
            th->slots[r->first + k].busy = true;
        r->hidden = 0;
    }
}

/* ---- coroutines ------------------------------------------------------------------------------ */

struct coroutine {
    ucontext_t here, back;
    uintptr_t stack;    /* hidden: the stack pointer alone keeps the block, while it runs */
    bool is_block, stack_is_block, stop;
    unsigned first;     /* its slots */
};

static _Thread_local struct thread *current;
static _Thread_local struct coroutine *volatile entering;

/* What `here` says of the stack was for the way in. */
static void coroutine_forget(struct coroutine *c)
{
    c->here.uc_stack.ss_sp = NULL;
    memset(c->here.uc_mcontext.gregs, 0, sizeof c->here.uc_mcontext.gregs);
}

/* Not one that can go while the coroutine sleeps: in a coroutine's stack, another's. */
static bool slot_stays(const struct thread *th, const struct slot *s)
{
    size_t index = (size_t)(s - th->slots);
    return index < th->coroutine_first ||
           index >= th->coroutine_first + COROUTINES * COROUTINE_SLOTS;
}

/* Holds a block in a local variable alone while others run: in a callee-saved register, which
 * swapcontext stores in `here`, or on this stack. */
static void coroutine_hold(struct thread *th, struct coroutine *c)
{
    struct slot *s = slot_random(th);
    void *p = NULL;
    if (!s->busy && !slot_is_empty(s) && slot_stays(th, s)) {
        p = slot_load(s);
        s->busy++;
        slot_set(s, NULL);
    }
    swapcontext(&c->here, &c->back);
    coroutine_forget(c);
    if (p) {
        ref_check(&s->ref, p, true);
        __asm__ volatile("" : "+r"(p));
        slot_set(s, p);
        s->busy--;
    }
}

/* The slot is about to go. What another coroutine has a part of cannot be dropped, but moved. */
static void slot_vacate(struct thread *th, struct slot *s)
{
    slot_drop(th, s, rng_chance(&th->rng, 2));
    while (!slot_is_empty(s)) {
        struct slot *to = slot_free_for(th, &s->ref);
        if (to)
            slot_swap(th, s, to);
        else
            slot_drop(th, slot_random(th), true);
    }
    s->busy = true;
}

static void coroutine_main(void)
{
    struct thread *th = current;
    struct coroutine *c = entering;
    word words[COROUTINE_SLOTS] = {0};
    coroutine_forget(c);
    for (unsigned k = 0; k < COROUTINE_SLOTS; k++)
        slot_place(&th->slots[c->first + k], &words[k], 0);
    do {
        play(th, COROUTINE_MOVES);
        coroutine_hold(th, c);
    } while (!c->stop);
    for (unsigned k = 0; k < COROUTINE_SLOTS; k++)
        slot_vacate(th, &th->slots[c->first + k]);
    swapcontext(&c->here, &c->back);
}

static void *block_or_map(struct thread *th, size_t size, bool *is_block)
{
    *is_block = rng_chance(&th->rng, 2);
    if (!*is_block)
        return must_map(size, MAP_PRIVATE);
    void *p = malloc(size);
    if (!p || (!shadow_claim(p, size) && !child_of_fork))
        fail(".inv.apart: new stack %p of %zu bytes overlaps a block in use", p, size);
    return p;
}

static void block_or_map_drop(void *p, size_t size, bool is_block)
{
    if (!is_block) {
        munmap(p, size);
        return;
    }
    if (!shadow_release(p, size) && !child_of_fork)
        fail("the shadow map has lost stack %p of %zu bytes", p, size);
    free(p);
}

static void coroutine_make(struct thread *th, int number)
{
    bool is_block;
    struct coroutine *c = block_or_map(th, sizeof *c, &is_block);
    memset(c, 0, sizeof *c);
    th->coroutines[number] = c;
    c->is_block = is_block;
    c->first = th->coroutine_first + (unsigned)number * COROUTINE_SLOTS;
    getcontext(&c->here);
    c->here.uc_stack.ss_sp = block_or_map(th, COROUTINE_STACK, &c->stack_is_block);
    c->stack = ~(uintptr_t)c->here.uc_stack.ss_sp;
    c->here.uc_stack.ss_size = COROUTINE_STACK;
    makecontext(&c->here, coroutine_main, 0);
}

static void coroutine_resume(struct thread *th, struct coroutine *c)
{
    current = th;
    entering = c;
    th->nesting++;
    swapcontext(&c->back, &c->here);
    th->nesting--;
}

static void coroutine_end(struct thread *th, int number)
{
    struct coroutine *c = th->coroutines[number];
    c->stop = true;
    coroutine_resume(th, c);
    block_or_map_drop((void *)~c->stack, COROUTINE_STACK, c->stack_is_block);
    th->coroutines[number] = NULL;
    block_or_map_drop(c, sizeof *c, c->is_block);
}

void coroutines_make(struct thread *th)
{
    for (int i = 0; i < COROUTINES; i++) {
        coroutine_make(th, i);
        coroutine_resume(th, th->coroutines[i]);
    }
}

void coroutine_turn(struct thread *th)
{
    int number = (int)rng_below(&th->rng, COROUTINES);
    if (rng_chance(&th->rng, 32)) {
        coroutine_end(th, number);
        coroutine_make(th, number);
    }
    coroutine_resume(th, th->coroutines[number]);
}

void coroutines_drop(struct thread *th)
{
    for (int i = 0; i < COROUTINES; i++)
        coroutine_end(th, i);
}

/* ---- a signal's stack ------------------------------------------------------------------------ */

/* Takes some blocks into its frame, and plays on while nothing else has them. */
static void on_signal(int signal)
{
    (void)signal;
    struct thread *th = current;
    struct slot *slots[HANDLER_WORDS];
    word held[HANDLER_WORDS];
    for (int i = 0; i < HANDLER_WORDS; i++) {
        slots[i] = slot_random(th);
        if (slots[i]->busy || slot_is_empty(slots[i])) {
            slots[i] = NULL;
            continue;
        }
        held[i] = slot_load(slots[i]);
        slots[i]->busy++;
        slot_set(slots[i], NULL);
    }
    play(th, HANDLER_MOVES);
    churn(th, 4);
    for (int i = HANDLER_WORDS - 1; i >= 0; i--) {
        if (!slots[i])
            continue;
        slot_set(slots[i], held[i]);
        slots[i]->busy--;
        ref_check(&slots[i]->ref, held[i], true);
    }
}

void alternate_start(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, NULL);
}

static void alternate_change(struct thread *th)
{
    bool is_block;
    char *p = block_or_map(th, ALTERNATE_STACK, &is_block);
    stack_t stack = {.ss_sp = p, .ss_size = ALTERNATE_STACK}, old;
    if (sigaltstack(&stack, &old))
        fail("sigaltstack: %s", strerror(errno));
    if (th->alternate) {
        if (~(uintptr_t)th->alternate != (uintptr_t)old.ss_sp)
            fail("the signal stack is %p", old.ss_sp);
        block_or_map_drop(old.ss_sp, ALTERNATE_STACK, th->alternate_is_block);
    }
    th->alternate = (void *)~(uintptr_t)p;
    th->alternate_is_block = is_block;
    stack.ss_sp = old.ss_sp = p = NULL;
    __asm__ volatile("" : : "r"(&stack), "r"(&old), "r"(p) : "memory");
}

void alternate_turn(struct thread *th)
{
    current = th;
    if (!th->alternate || rng_chance(&th->rng, 16))
        alternate_change(th);
    th->nesting++;
    raise(SIGUSR1);
    th->nesting--;
}

void alternate_drop(struct thread *th)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    if (!th->alternate)
        return;
    sigaltstack(&none, NULL);
    block_or_map_drop((void *)~(uintptr_t)th->alternate, ALTERNATE_STACK, th->alternate_is_block);
    th->alternate = NULL;
}
