/* cycle_finalizer.c -- who is ready, who is held, and what a freed block leaves behind.
 *
 * Marks are played by hand: a block is reached if the test says so (its slot byte gets the epoch),
 * and what blocks hold is marked by a marker of the test's. */
#include "cycle/finalizer.h"

#include "child.h"
#include "gc/team.h"
#include "heap/judge.h"
#include "hidden.h"
#include "sys/lock.h"

#include <pthread.h>
#include <sched.h>

enum { SIZE = 96, CONFIRM = 2 };

static void called(void)
{
}

static void start(void)
{
    EXPECT(hidden_heap(64 << 20, false) && team_init());
}

static bool set(hidden h)
{
    return finalizer_set((uintptr_t)reveal(h), called, NULL, FINALIZER_ORDERED);
}

/* A mark that reaches `reached`, if any, and what hangs from it. */
static GC_NOINLINE void mark(hidden reached, bool may_call)
{
    struct finalizer_terms terms = {CONFIRM, may_call};
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    team_start(1, NULL);
    lock_acquire(registration_lock());
    finalizer_queued(team_leader(), true);
    if (reached != 0)
        mark_word(team_leader(), (uintptr_t)reveal(reached));
    EXPECT(team_drain(0));
    finalizer_sift(true);
    if (finalizer_hold(team_leader(), &terms))
        EXPECT(team_drain(0));
    if (finalizer_keep(team_leader(), &terms))
        EXPECT(team_drain(0));
    if (finalizer_decide(team_leader(), &terms))
        EXPECT(team_drain(0));
    finalizer_decide_last(&terms);
    lock_release(registration_lock());
    team_end();
}

static bool is_marked(hidden h)
{
    return hidden_byte(h) == relaxed_load(&hot.epoch);
}

static bool take(hidden h)
{
    struct finalizer_call next;
    return finalizer_take(&next) && next.block == reveal(h) && next.call == called;
}

static void held_then_called(void)
{
    struct finalizer_call next;
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE);
    hidden_link(a, 8, b, 0);
    EXPECT(set(a) && set(b));
    for (unsigned i = 0; i < 5; i++) { /* .inv.never */
        mark(0, false);
        EXPECT(is_marked(a) && is_marked(b) && !finalizer_is_due());
    }
    mark(a, true); /* reached: its age begins anew */
    mark(0, true);
    EXPECT(!finalizer_is_due());
    mark(0, true);
    EXPECT(finalizer_is_due() && is_marked(a) && is_marked(b));
    mark(0, true); /* a root while it waits */
    EXPECT(is_marked(a) && is_marked(b));
    EXPECT(take(a) && !finalizer_take(&next));
    mark(0, true); /* now it is garbage */
    EXPECT(!is_marked(a) && is_marked(b));
    mark(0, true);
    EXPECT(take(b));
}

static void cycles(void)
{
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE), self = hidden_new(SIZE);
    hidden_link(a, 8, b, 0);
    hidden_link(b, 16, a, 5);
    hidden_link(self, 0, self, 24);
    EXPECT(set(a) && set(b) && set(self));
    for (unsigned i = 0; i < 5; i++)
        mark(0, true);
    EXPECT(!finalizer_is_due() && finalizer_cyclic() == 3);
    EXPECT(is_marked(a) && is_marked(b) && is_marked(self));
}

static bool set_as(hidden h, enum finalizer_order order)
{
    return finalizer_set((uintptr_t)reveal(h), called, NULL, order);
}

/* Both halves of a ring, and one that hangs from it, in the cycle in which their time comes. */
static void no_order(void)
{
    struct finalizer_call next;
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE), c = hidden_new(SIZE);
    hidden_link(a, 8, b, 0);
    hidden_link(b, 16, a, 5);
    hidden_link(b, 32, c, 0);
    EXPECT(set_as(a, FINALIZER_NO_ORDER) && set_as(b, FINALIZER_NO_ORDER) && set(c));
    for (unsigned i = 0; i < 3; i++) {
        mark(0, false);
        EXPECT(!finalizer_is_due() && is_marked(a) && is_marked(b) && is_marked(c));
    }
    mark(a, true);
    mark(0, true);
    EXPECT(!finalizer_is_due() && is_marked(c));
    mark(0, true);
    EXPECT(finalizer_due() == 2 && is_marked(a) && is_marked(b) && is_marked(c));
    EXPECT(finalizer_take(&next) && finalizer_take(&next) && !finalizer_take(&next));
    mark(0, true); /* c's age begins here: till now it was held */
    EXPECT(!is_marked(a) && !is_marked(b) && is_marked(c));
    mark(0, true);
    EXPECT(take(c));
}

/* What an ordered one holds waits for it, whatever its own kind. */
static void no_order_is_held(void)
{
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE);
    hidden_link(a, 8, b, 0);
    EXPECT(set(a) && set_as(b, FINALIZER_NO_ORDER));
    mark(0, true);
    mark(0, true);
    EXPECT(take(a) && !finalizer_is_due() && is_marked(b));
    mark(0, true);
    EXPECT(take(b));
}

static void ignore_self(void)
{
    struct finalizer_call next;
    start();
    hidden self = hidden_new(SIZE), odd = hidden_new(SIZE), a = hidden_new(SIZE),
           b = hidden_new(SIZE);
    hidden_link(self, 0, self, 24);
    hidden_link(odd, 12, odd, 0); /* at a multiple of four */
    hidden_link(a, 8, a, 0);
    hidden_link(a, 16, b, 0);
    hidden_link(b, 16, a, 0);
    EXPECT(set_as(self, FINALIZER_IGNORE_SELF) && set_as(odd, FINALIZER_IGNORE_SELF));
    EXPECT(set_as(a, FINALIZER_IGNORE_SELF));
    for (unsigned i = 0; i < 4; i++)
        mark(0, true);
    EXPECT(finalizer_due() == 2 && is_marked(a) && is_marked(b)); /* a ring of two is one */
    EXPECT(finalizer_take(&next) && finalizer_take(&next));
    EXPECT(finalizer_cyclic() == 1);
}

/* b's is called when a, which of no order is, has gone. */
static void last(void)
{
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE);
    hidden_link(a, 8, b, 0);
    EXPECT(set_as(a, FINALIZER_NO_ORDER) && set_as(b, FINALIZER_LAST));
    mark(0, true);
    mark(0, true);
    EXPECT(take(a) && !finalizer_is_due());
    mark(0, true);
    mark(0, true);
    EXPECT(take(b) && !finalizer_is_due());
}

/* .inv.frozen */
static void frozen(void)
{
    void *got;
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE);
    void *w = finalizer_weak_new((uintptr_t)reveal(a), false);
    uint64_t cleared = finalizer_weak_hold();
    EXPECT(set(b) && finalizer_weak_hold() == cleared);
    for (unsigned i = 0; i < 4; i++) {
        mark(0, true);
        EXPECT(finalizer_weak_get(w, &got) && got == reveal(a) && !finalizer_is_due());
        EXPECT(is_marked(a) && is_marked(b));
    }
    finalizer_weak_release();
    mark(0, true);
    EXPECT(finalizer_weak_get(w, &got) && got == reveal(a) && !finalizer_is_due());
    finalizer_weak_release();
    mark(0, true);
    EXPECT(finalizer_weak_get(w, &got) && got == NULL && take(b));
    EXPECT(finalizer_weak_hold() > cleared);
    finalizer_weak_release();
    finalizer_weak_release(); /* one too many */
    finalizer_after_fork();
}

/* b: a finalizer. c: held by one of no order, that of d. */
static void long_weak(void)
{
    void *got;
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE), c = hidden_new(SIZE), d = hidden_new(SIZE);
    hidden_link(d, 8, c, 0);
    void *of_a = finalizer_weak_new((uintptr_t)reveal(a), true);
    void *of_b = finalizer_weak_new((uintptr_t)reveal(b), true);
    void *of_c = finalizer_weak_new((uintptr_t)reveal(c), true);
    EXPECT(set(b) && set_as(d, FINALIZER_NO_ORDER));
    mark(0, true);
    EXPECT(finalizer_weak_get(of_a, &got) && got == reveal(a) && is_marked(a));
    mark(0, true);
    EXPECT(finalizer_weak_get(of_a, &got) && got == NULL && !is_marked(a));
    EXPECT(finalizer_weak_get(of_b, &got) && got == reveal(b) && finalizer_due() == 2);
    EXPECT(finalizer_weak_get(of_c, &got) && got == reveal(c) && is_marked(c));
    EXPECT(take(b) && take(d));
    mark(0, true);
    mark(0, true);
    EXPECT(finalizer_weak_get(of_b, &got) && got == NULL && !is_marked(b));
    mark(0, true);
    EXPECT(finalizer_weak_get(of_c, &got) && got == NULL && !is_marked(c));
}

static void weak(void)
{
    void *got;
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE);
    hidden_link(a, 8, b, 0);
    hidden_link(b, 8, a, 0);
    void *w = finalizer_weak_new((uintptr_t)reveal(a), false);
    mark(0, true);
    EXPECT(is_marked(a) && is_marked(b)); /* .inv.held */
    EXPECT(finalizer_weak_get(w, &got) && got == reveal(a));
    mark(0, true);
    EXPECT(!is_marked(a) && !is_marked(b) && finalizer_weak_get(w, &got) && got == NULL);
    EXPECT(!finalizer_weak_get((char *)w + 8, &got) && !finalizer_weak_get(&got, &got));
    EXPECT(finalizer_weak_drop(w) && !finalizer_weak_drop(w));
}

/* All of them in one stop, also those that are younger: their time is that of the youngest. */
static void many_weak(void)
{
    enum { MANY = 40 };
    void *w[MANY], *got;
    unsigned null = 0;
    start();
    hidden a = hidden_new(SIZE);
    for (unsigned i = 0; i < MANY / 2; i++)
        w[i] = finalizer_weak_new((uintptr_t)reveal(a), false);
    mark(0, true);
    for (unsigned i = MANY / 2; i < MANY; i++)
        w[i] = finalizer_weak_new((uintptr_t)reveal(a), false);
    mark(0, true);
    for (unsigned i = 0; i < MANY; i++)
        EXPECT(finalizer_weak_get(w[i], &got) && got == reveal(a));
    mark(0, true);
    for (unsigned i = 0; i < MANY; i++)
        null += finalizer_weak_get(w[i], &got) && got == NULL;
    EXPECT(null == MANY && !is_marked(a));
}

/* A block with a finalizer holds one that is known by a weak reference: its age begins when nobody
 * holds it any more. And that of a block with a finalizer goes by that, whenever it was set. */
static void weak_and_finalizer(void)
{
    void *got;
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE);
    hidden_link(a, 8, b, 0);
    void *of_a = finalizer_weak_new((uintptr_t)reveal(a), false);
    EXPECT(set(a));
    void *of_b = finalizer_weak_new((uintptr_t)reveal(b), false);
    mark(0, true);
    EXPECT(finalizer_weak_get(of_a, &got) && got == reveal(a));
    mark(0, true);
    EXPECT(finalizer_weak_get(of_a, &got) && got == NULL);
    EXPECT(take(a));
    mark(0, true);
    EXPECT(is_marked(b) && finalizer_weak_get(of_b, &got) && got == reveal(b));
    EXPECT(set(b));
    finalizer_clear((uintptr_t)reveal(b));
    mark(0, true);
    EXPECT(!is_marked(b) && finalizer_weak_get(of_b, &got) && got == NULL);
}

/* What is set while it is decided, in a place that was used before in this very mark, is none that
 * was unreached. */
static void place_again(void)
{
    struct finalizer_terms terms = {1, true};
    struct finalizer_call next;
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE);
    EXPECT(set(a));
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    team_start(1, NULL);
    mark_word(team_leader(), (uintptr_t)reveal(b));
    EXPECT(team_drain(0));
    finalizer_sift(false);
    EXPECT(finalizer_hold(team_leader(), &terms) && team_drain(0));
    finalizer_clear((uintptr_t)reveal(a));
    EXPECT(set(b) && registration_top() == 1);
    EXPECT(!finalizer_keep(team_leader(), &terms));
    finalizer_decide(team_leader(), &terms);
    team_end();
    EXPECT(finalizer_cyclic() == 0 && !finalizer_take(&next) && !is_marked(a));
}

/* .inv.gate: of what was reached it lets through. Who waits gets what was decided. */
static void *closed_weak, *open_weak, *closed_got;
static _Atomic bool got_open, got_closed;

static void *read_both(void *unused)
{
    void *got;
    EXPECT(finalizer_weak_get(open_weak, &got) && got != NULL);
    got_open = true;
    EXPECT(finalizer_weak_get(closed_weak, &closed_got));
    got_closed = true;
    return unused;
}

static void wait_for(const _Atomic bool *flag)
{
    while (!*flag)
        sched_yield();
}

static void gate(void)
{
    struct finalizer_terms terms = {1, true};
    pthread_t thread;
    start();
    hidden a = hidden_new(SIZE), b = hidden_new(SIZE);
    closed_weak = finalizer_weak_new((uintptr_t)reveal(a), false);
    open_weak = finalizer_weak_new((uintptr_t)reveal(b), false);
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    team_start(1, NULL);
    mark_word(team_leader(), (uintptr_t)reveal(b));
    EXPECT(team_drain(0));
    finalizer_close();
    EXPECT(pthread_create(&thread, NULL, read_both, NULL) == 0);
    wait_for(&got_open);
    finalizer_sift(false);
    EXPECT(!finalizer_hold(team_leader(), &terms) && !finalizer_keep(team_leader(), &terms));
    for (int i = 0; i < 100; i++)
        sched_yield();
    EXPECT(!got_closed);
    finalizer_decide(team_leader(), &terms);
    for (int i = 0; i < 100; i++)
        sched_yield();
    EXPECT(!got_closed);
    finalizer_open();
    pthread_join(thread, NULL);
    EXPECT(closed_got == NULL && got_closed);
    team_end();
}

/* A list could not take what the blocks hold. */
static void all_held(void)
{
    struct finalizer_terms terms = {1, true};
    struct finalizer_call next;
    start();
    hidden a = hidden_new(SIZE);
    EXPECT(set(a));
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    team_start(1, NULL);
    lock_acquire(registration_lock());
    finalizer_sift(true);
    EXPECT(finalizer_hold(team_leader(), &terms));
    finalizer_hold_all(team_leader());
    EXPECT(team_drain(0));
    finalizer_decide(team_leader(), &terms);
    lock_release(registration_lock());
    team_end();
    EXPECT(!finalizer_take(&next) && is_marked(a));
}

/* .inv.exact: also when the address is used again. */
static void freed(void)
{
    void *got;
    struct finalizer_call next;
    start();
    hidden a = hidden_new(SIZE);
    uintptr_t address = (uintptr_t)reveal(a);
    void *w = finalizer_weak_new(address, false);
    uint64_t number = finalizer_add_cleanup(address, called, NULL);
    EXPECT(set(a) && !registration_none(address));
    EXPECT(slab_at(slab_index_of(address))->watched == 1); /* once for all three */
    EXPECT(hot.slab_class[slab_index_of(address)] == 0);
    finalizer_block_ended(address);
    EXPECT(hot.slab_class[slab_index_of(address)] != 0 && registration_first(address) == 0);
    EXPECT(finalizer_weak_get(w, &got) && got == NULL && !finalizer_remove_cleanup(number));
    finalizer_block_reclaimed(address); /* of the next one there */
    EXPECT(!finalizer_take(&next));
    number = finalizer_add_cleanup(address, called, NULL);
    finalizer_block_reclaimed(address);
    EXPECT(finalizer_is_due() && finalizer_remove_cleanup(number) && !finalizer_take(&next));
}

IN_CHILD(held_then_called)
IN_CHILD(cycles)
IN_CHILD(no_order)
IN_CHILD(no_order_is_held)
IN_CHILD(ignore_self)
IN_CHILD(last)
IN_CHILD(frozen)
IN_CHILD(long_weak)
IN_CHILD(weak)
IN_CHILD(many_weak)
IN_CHILD(weak_and_finalizer)
IN_CHILD(place_again)
IN_CHILD(gate)
IN_CHILD(all_held)
IN_CHILD(freed)

UNIT_MAIN(TEST(test_held_then_called), TEST(test_cycles), TEST(test_no_order),
          TEST(test_no_order_is_held), TEST(test_ignore_self), TEST(test_last), TEST(test_frozen),
          TEST(test_long_weak),
          TEST(test_weak), TEST(test_many_weak),
          TEST(test_weak_and_finalizer), TEST(test_place_again), TEST(test_gate),
          TEST(test_all_held), TEST(test_freed))
