/* finalizer.c -- policy for blocks to which something is attached.
 *
 * Theory (Go's, and Boehm's "Destructors, finalizers, and synchronization", 2003). When all that is
 * reachable is marked, each unreached block with a finalizer keeps alive what it points to, and not
 * itself: so what is then marked is held by another one, and must wait until that is gone; and a
 * block that holds itself, or is in a ring of such blocks, is never finalized. The others live
 * again, for one call.
 *
 * That is done after the last stop, beside the program, before anything is swept: what no mark has
 * reached the program cannot change, so that it can be marked without a barrier. The one way in is
 * by weak references, which wait for it.
 *
 *   .inv.never      None is called, and no weak reference is cleared, unless the block would be
 *                   reclaimed in its place: not while an interlock holds, in probation, or for a
 *                   site that was caught in a contradiction; and only after `confirm` marks in a
 *                   row that did not reach it. It is counted here, not in the slot byte:
 *   .inv.held       until its time has come an unreached block with a finalizer or a weak reference
 *                   counts as reached, and so does what hangs from it. So the sweep leaves it
 *                   alone, and to get it from a weak reference, and free it, is no contradiction.
 *   .inv.gate       From the last stop until all is decided the gate is closed: of a block that the
 *                   mark has not reached get() waits. While the list is made (SIFTING) nothing has
 *                   been marked since, so that the slot byte tells; after that (HOLDING) the list
 *                   does. Whoever reads the gate before and after a reference, and finds it open
 *                   and the same, has read that reference before a last stop or after what came of
 *                   it: in the first case he has it in a register or on his stack, which that stop
 *                   found.
 *   .inv.first      All weak references of a block are cleared before its finalizer is queued.
 *                   Those of a block without one go together, too, and the block is left to the
 *                   judge, whose `confirm` it has yet to pass.
 *   .inv.queue      What is queued is a root of every mark that begins later: the block by
 *                   finalizer_queued, `data` as before. Who takes a call off has it on its stack.
 *   .inv.unordered  A finalizer of no order holds nothing back, once its time has come: that is
 *                   counted from mark to mark, whoever holds the block. What its block holds is
 *                   marked after all are decided, and only then is it queued: its call may move
 *                   pointers about.
 *   .inv.long       Long weak references are cleared last: after what finalizers of no order hold
 *                   was marked.
 *   .inv.frozen     While a thread of the program's holds weak references (finalizer_weak_hold) it
 *                   may find blocks by addresses that no mark sees: nothing is due in a cycle in
 *                   whose last stop one does. Who comes later waits at the gate.
 *   .inv.places     A place of the list that is dropped meanwhile, or is used again, stays in it.
 *                   What is new is reached, or born since.
 *
 * Cost. In the stop: nothing; but of a mark in one stop all is done there. Beside the program: a
 * look at each slot byte, and what was not reached is marked and decided, in chunks under the lock.
 * bench/finalizers has figures. */
#include "cycle/finalizer.h"

#include "base/check.h"
#include "cycle/probation.h"
#include "heap/judge.h"
#include "sys/lock.h"

#include <limits.h>

enum {
    /* Registrations that are looked at under the lock at a time: ~20 us. */
    CHUNK = 4096,
    /* Held by others for so many marks: a chain as long would have come to its end. */
    HELD_MANY = 24,
    AGE_MOST = 250,
    /* flags */
    LISTED = 1,            /* in the list of what the mark had not reached */
    WAS_UNREACHED = 2,     /* … when that was looked at again; and of a weak reference: no block
                            * with a finalizer held it */
    UNORDERED = 4,         /* of no order, and its time has come */
    READY = 8,             /* … and nobody holds it */
    /* The gate's low bits; the others count how often it was closed. */
    OPEN = 0, SIFTING = 1, HOLDING = 2, STATES = 4,
};

static struct {
    _Atomic uint32_t gate; /* .inv.gate. A futex */
    bool stopped;          /* the collector's: this mark is decided in its stop, the lock held */
    bool frozen;           /* .inv.frozen, of this cycle */
    _Atomic uint32_t holders;
    bool unordered;        /* any with UNORDERED, and any with READY */
    bool ready_unordered;
    _Atomic uint64_t cleared;
    uint32_t list;         /* by `link` */
    uint32_t first, last;  /* the queue, by `queued` */
    _Atomic uint32_t length;
    _Atomic uint32_t cyclic;
    void (*ready)(void);
} finalizers;

/* Of `holders`, by the calling thread. */
static __thread uint32_t held_here;

static void lock(void)
{
    lock_acquire(registration_lock());
}

static void unlock(void)
{
    lock_release(registration_lock());
}

/* ---- the program's ---- */

/* .inv.places: nothing of the one before in this place but that it is listed. */
static uint32_t add(uintptr_t block, enum registration_kind kind,
                    finalizer_call_fn *call, void *data)
{
    uint32_t place = registration_add(block, kind, call, data);
    if (place != 0)
        registration_at(place)->flags &= LISTED;
    return place;
}

static uint32_t attached_finalizer(uintptr_t block)
{
    uint32_t place = registration_of_kind(block, REGISTRATION_FINALIZER);
    while (place != 0 && (registration_at(place)->kind != REGISTRATION_FINALIZER ||
                          registration_at(place)->state != REGISTRATION_ATTACHED))
        place = registration_next(place);
    return place;
}

/* So that a stop need not look for the finalizer of each weak reference: a block may have many. */
static void tell_weaks(uintptr_t block, bool finalized)
{
    for (uint32_t place = registration_first(block); place != 0; place = registration_next(place))
        registration_at(place)->finalized = finalized;
}

bool finalizer_set(uintptr_t block, finalizer_call_fn *call, void *data,
                   enum finalizer_order order)
{
    lock();
    uint32_t place = attached_finalizer(block);
    if (place != 0) {
        registration_at(place)->call = call;
        registration_set_data(place, data);
    } else {
        place = add(block, REGISTRATION_FINALIZER, call, data);
        tell_weaks(block, place != 0);
    }
    if (place != 0)
        registration_at(place)->order = (uint8_t)order;
    unlock();
    return place != 0;
}

bool finalizer_get(uintptr_t block, finalizer_call_fn **call, void **data)
{
    lock();
    uint32_t place = attached_finalizer(block);
    if (place != 0) {
        *call = registration_at(place)->call;
        *data = registration_data(place);
    }
    unlock();
    return place != 0;
}

void finalizer_clear(uintptr_t block)
{
    lock();
    uint32_t place = attached_finalizer(block);
    if (place != 0) {
        registration_detach(place);
        registration_drop(place);
        tell_weaks(block, false);
    }
    unlock();
}

uint64_t finalizer_add_cleanup(uintptr_t block, finalizer_call_fn *call,
                               void *data)
{
    lock();
    uint32_t place = add(block, REGISTRATION_CLEANUP, call, data);
    uint64_t number = place == 0 ? 0 : (uint64_t)registration_at(place)->turn << 32 | place;
    unlock();
    return number;
}

/* One that is in the queue stays there, and is left out. */
static bool remove_cleanup(uint32_t place)
{
    struct registration *r = registration_at(place);
    bool queued = r->state == REGISTRATION_QUEUED;
    if (r->state == REGISTRATION_OFF)
        return false;
    if (!queued)
        registration_detach(place);
    r->state = REGISTRATION_OFF;
    if (!queued)
        registration_drop(place);
    return true;
}

bool finalizer_remove_cleanup(uint64_t number)
{
    uint32_t place = (uint32_t)number;
    lock();
    bool known = place != 0 && place <= registration_top();
    struct registration *r = known ? registration_at(place) : NULL;
    known = known && r->kind == REGISTRATION_CLEANUP && r->turn == number >> 32;
    bool removed = known && remove_cleanup(place);
    unlock();
    return removed;
}

struct registration *finalizer_weak_new(uintptr_t block, bool is_long)
{
    lock();
    uint32_t place = add(block, REGISTRATION_WEAK, NULL, NULL);
    if (place != 0) {
        registration_at(place)->finalized = attached_finalizer(block) != 0;
        registration_at(place)->is_long = is_long;
    }
    unlock();
    return place == 0 ? NULL : registration_at(place);
}

static bool is_unreached(const struct registration *r)
{
    uintptr_t block = relaxed_load(&r->block);
    if (!arena_contains(block)) /* a guarded one is never given up */
        return false;
    uint8_t byte = acquire_load(slot_of(block));
    return slot_is_live(byte) && byte != relaxed_load(&hot.epoch);
}

static bool is_undecided(const struct registration *r, uint32_t gate)
{
    return gate % STATES == HOLDING ? (once(r->flags) & LISTED) != 0
                                    : gate % STATES == SIFTING && is_unreached(r);
}

/* .inv.gate */
static void *get(const struct registration *r)
{
    for (;;) {
        uint32_t gate = acquire_load(&finalizers.gate);
        bool undecided = is_undecided(r, gate);
        uintptr_t block = acquire_load(&r->block);
        if (acquire_load(&finalizers.gate) != gate)
            continue;
        if (!undecided)
            return (void *)block;
        futex_wait(&finalizers.gate, gate);
    }
}

bool finalizer_weak_get(const void *weak, void **block)
{
    uint32_t place = registration_at_weak(weak);
    *block = place == 0 ? NULL : get(registration_at(place));
    return place != 0;
}

static void clear_weak(uint32_t place)
{
    if (registration_at(place)->state == REGISTRATION_ATTACHED)
        registration_detach(place);
}

bool finalizer_weak_drop(void *weak)
{
    lock();
    uint32_t place = registration_at_weak(weak);
    if (place != 0) {
        clear_weak(place);
        registration_drop(place);
    }
    unlock();
    return place != 0;
}

/* .inv.frozen. Counted before the gate is looked at: a stop in between sees it. */
uint64_t finalizer_weak_hold(void)
{
    held_here++;
    relaxed_add(&finalizers.holders, 1);
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t gate; (gate = acquire_load(&finalizers.gate)) % STATES != OPEN;)
        futex_wait(&finalizers.gate, gate);
    return relaxed_load(&finalizers.cleared);
}

void finalizer_weak_release(void)
{
    if (held_here == 0)
        return;
    held_here--;
    relaxed_add(&finalizers.holders, -1u);
}

void finalizer_after_fork(void)
{
    relaxed_store(&finalizers.holders, held_here);
}

/* ---- the queue ---- */

static void enqueue(uint32_t place)
{
    struct registration *r = registration_at(place);
    r->state = REGISTRATION_QUEUED;
    r->queued = 0;
    if (finalizers.last != 0)
        registration_at(finalizers.last)->queued = place;
    else
        finalizers.first = place;
    finalizers.last = place;
    if (relaxed_add(&finalizers.length, 1) == 0 && finalizers.ready != NULL)
        finalizers.ready();
}

void finalizer_on_ready(void (*ready)(void))
{
    finalizers.ready = ready;
}

bool finalizer_is_due(void)
{
    return relaxed_load(&finalizers.length) != 0;
}

uint32_t finalizer_due(void)
{
    return relaxed_load(&finalizers.length);
}

uint32_t finalizer_cyclic(void)
{
    return relaxed_load(&finalizers.cyclic);
}

static void take_first(struct finalizer_call *out)
{
    uint32_t place = finalizers.first;
    struct registration *r = registration_at(place);
    *out = (struct finalizer_call){(enum registration_kind)r->kind, NULL,
                                   (void *)relaxed_load(&r->block), registration_data(place)};
    if (r->state == REGISTRATION_QUEUED)
        out->call = r->call;
    finalizers.first = r->queued;
    if (finalizers.first == 0)
        finalizers.last = 0;
    relaxed_add(&finalizers.length, -1u);
    if (out->block != NULL) {
        registration_detach(place);
        tell_weaks((uintptr_t)out->block, attached_finalizer((uintptr_t)out->block) != 0);
    }
    r->state = REGISTRATION_OFF;
    registration_drop(place);
}

bool finalizer_take(struct finalizer_call *out)
{
    out->call = NULL;
    lock();
    while (finalizers.first != 0 && out->call == NULL)
        take_first(out);
    unlock();
    return out->call != NULL;
}

/* ---- the end of a block ---- */

/* A call that is queued stays there, and is left out: a pointer to the block had been hidden. */
static void forget(uint32_t place)
{
    struct registration *r = registration_at(place);
    bool queued = r->state == REGISTRATION_QUEUED;
    registration_detach(place);
    if (!queued && r->kind != REGISTRATION_WEAK)
        registration_drop(place);
}

void finalizer_block_ended(uintptr_t block)
{
    if (registration_none(block))
        return;
    lock();
    for (uint32_t place; (place = registration_first(block)) != 0;)
        forget(place);
    unlock();
}

/* `data` stays where it is: this may be the collector's thread. */
void finalizer_block_reclaimed(uintptr_t block)
{
    if (registration_none(block))
        return;
    lock();
    for (uint32_t place; (place = registration_first(block)) != 0;) {
        GC_ASSERT(registration_at(place)->state == REGISTRATION_ATTACHED);
        registration_detach(place);
        if (registration_at(place)->kind == REGISTRATION_CLEANUP)
            enqueue(place);
    }
    unlock();
}

/* ---- a mark ---- */

static bool is_watched(const struct registration *r)
{
    return r->state == REGISTRATION_ATTACHED && r->kind != REGISTRATION_CLEANUP;
}

static void enter_chunk(void)
{
    if (!finalizers.stopped)
        lock();
}

static void leave_chunk(void)
{
    if (!finalizers.stopped)
        unlock();
}

static void each(void (*call)(uint32_t place, struct marker *m), struct marker *m)
{
    for (uint32_t at = 1, end; at <= registration_top(); at = end) {
        enter_chunk();
        end = (uint32_t)size_min((size_t)at + CHUNK, (size_t)registration_top() + 1);
        for (uint32_t place = at; place < end; place++)
            call(place, m);
        leave_chunk();
    }
}

static void feed_queued(uint32_t place, struct marker *m)
{
    struct registration *r = registration_at(place);
    if (r->state == REGISTRATION_QUEUED && relaxed_load(&r->block) != 0)
        mark_word(m, relaxed_load(&r->block));
}

void finalizer_queued(struct marker *m, bool stopped)
{
    finalizers.stopped = stopped;
    if (finalizer_is_due())
        each(feed_queued, m);
}

void finalizer_close(void)
{
    GC_ASSERT(relaxed_load(&finalizers.gate) % STATES == OPEN);
    finalizers.frozen = relaxed_load(&finalizers.holders) != 0;
    if (registration_count(REGISTRATION_WEAK) != 0)
        release_store(&finalizers.gate, relaxed_load(&finalizers.gate) + SIFTING);
}

void finalizer_open(void)
{
    uint32_t gate = relaxed_load(&finalizers.gate);
    if (gate % STATES == OPEN)
        return;
    release_store(&finalizers.gate, gate - gate % STATES + STATES);
    futex_wake(&finalizers.gate, INT_MAX);
}

static void sift(uint32_t place, struct marker *m)
{
    struct registration *r = registration_at(place);
    (void)m;
    r->flags = 0; /* of a mark that was given up */
    if (!is_watched(r))
        return;
    if (!is_unreached(r)) {
        r->age = r->held = 0;
        return;
    }
    r->flags = LISTED;
    r->link = finalizers.list;
    finalizers.list = place;
}

/* Nothing else is marked until the gate has been put to HOLDING. */
void finalizer_sift(bool stopped)
{
    finalizers.stopped = stopped;
    if (stopped)
        finalizers.frozen = relaxed_load(&finalizers.holders) != 0;
    finalizers.list = 0;
    finalizers.unordered = finalizers.ready_unordered = false;
    each(sift, NULL);
    uint32_t gate = relaxed_load(&finalizers.gate);
    if (gate % STATES == SIFTING)
        atomic_store(&finalizers.gate, gate - SIFTING + HOLDING);
}

static bool may_end(const struct registration *r, const struct finalizer_terms *terms)
{
    struct block b;
    return terms->may_call && !finalizers.frozen && r->age + 1u >= terms->confirm &&
           block_find(relaxed_load(&r->block), &b) && !probation_is_pinned(&b);
}

static bool hold(struct registration *r, struct marker *m, const struct finalizer_terms *terms)
{
    (void)terms;
    if (r->kind != REGISTRATION_FINALIZER || !(r->flags & WAS_UNREACHED))
        return false;
    if (r->order == FINALIZER_IGNORE_SELF)
        mark_contents_outside(m, relaxed_load(&r->block));
    else if (!(r->flags & UNORDERED))
        mark_contents(m, relaxed_load(&r->block));
    return true;
}

/* All are looked at before anything is marked. */
static bool note_finalizer(struct registration *r, struct marker *m,
                           const struct finalizer_terms *terms)
{
    (void)m;
    if (r->kind != REGISTRATION_FINALIZER || !is_unreached(r))
        return false;
    r->flags |= WAS_UNREACHED;
    if (r->order == FINALIZER_NO_ORDER && may_end(r, terms)) {
        r->flags |= UNORDERED;
        finalizers.unordered = true;
    }
    return true;
}

/* A weak reference alone: that of a block with a finalizer goes by that. */
static bool note_weak(struct registration *r, struct marker *m, const struct finalizer_terms *terms)
{
    (void)m;
    (void)terms;
    if (r->kind != REGISTRATION_WEAK || r->finalized || !is_unreached(r))
        return false;
    r->flags |= WAS_UNREACHED;
    return true;
}

/* What is due is left to the judge, with all that hangs from it; unless another weak reference of
 * the same block, a younger one, is not. */
static bool keep(struct registration *r, struct marker *m, const struct finalizer_terms *terms)
{
    if (r->kind != REGISTRATION_WEAK || !(r->flags & WAS_UNREACHED) || may_end(r, terms))
        return false;
    mark_word(m, relaxed_load(&r->block));
    return true;
}

typedef bool listed_fn(struct registration *r, struct marker *m,
                       const struct finalizer_terms *terms);

/* Of the list. True if the call was, for any. */
static bool any_listed(listed_fn *call, struct marker *m, const struct finalizer_terms *terms)
{
    bool any = false;
    for (uint32_t place = finalizers.list; place != 0;) {
        enter_chunk();
        for (unsigned n = 0; place != 0 && n < CHUNK; n++) {
            struct registration *r = registration_at(place);
            if (is_watched(r))
                any |= call(r, m, terms);
            place = r->link;
        }
        leave_chunk();
    }
    return any;
}

bool finalizer_hold(struct marker *m, const struct finalizer_terms *terms)
{
    return any_listed(note_finalizer, m, terms) && any_listed(hold, m, terms);
}

/* All are looked at before anything is marked: a block may have many. */
bool finalizer_keep(struct marker *m, const struct finalizer_terms *terms)
{
    return any_listed(note_weak, m, terms) && any_listed(keep, m, terms);
}

static bool hold_whole(struct registration *r, struct marker *m,
                       const struct finalizer_terms *terms)
{
    (void)terms;
    if (is_unreached(r))
        mark_word(m, relaxed_load(&r->block));
    return true;
}

void finalizer_hold_all(struct marker *m)
{
    any_listed(hold_whole, m, NULL);
}

/* ---- the decision ---- */

static void grow_older(struct registration *r)
{
    r->age = (uint8_t)size_min(r->age + 1u, AGE_MOST);
}

static void clear_weaks_of(uintptr_t block, bool is_long)
{
    for (uint32_t place = registration_first(block), next; place != 0; place = next) {
        const struct registration *r = registration_at(place);
        next = registration_next(place);
        if (r->kind == REGISTRATION_WEAK && r->is_long == is_long)
            clear_weak(place);
    }
    relaxed_add(&finalizers.cleared, 1);
}

struct decision {
    struct marker *m;
    const struct finalizer_terms *terms;
    uint32_t waiting;      /* with finalizers, held by nobody */
    uint32_t held, long_held;
    bool is_long;          /* which weak references it is about */
};

/* One that the program had not reached, and others hold. */
static void note_held(struct registration *r, struct decision *d)
{
    r->held = (uint8_t)size_min(r->held + 1u, AGE_MOST);
    r->age = 0;
    d->held++;
    d->long_held += r->held >= HELD_MANY;
}

/* .inv.first */
static void call_at_last(uint32_t place)
{
    clear_weaks_of(relaxed_load(&registration_at(place)->block), false);
    enqueue(place);
}

/* Left unmarked until all are decided. */
static void decide_unordered(struct registration *r, struct decision *d)
{
    bool ends = (r->flags & UNORDERED) && is_unreached(r);
    if (r->flags & WAS_UNREACHED)
        grow_older(r);
    d->waiting += ends;
    if (ends && !judge_is_newborn(relaxed_load(&r->block))) {
        r->flags |= READY;
        finalizers.ready_unordered = true;
    }
}

static void decide_finalizer(uint32_t place, struct decision *d)
{
    struct registration *r = registration_at(place);
    uintptr_t block = relaxed_load(&r->block);
    if (r->order == FINALIZER_NO_ORDER) {
        decide_unordered(r, d);
        return;
    }
    if (!is_unreached(r)) {
        if (r->flags & WAS_UNREACHED)
            note_held(r, d);
        else
            r->age = r->held = 0;
        return;
    }
    d->waiting++;
    bool waits = r->order == FINALIZER_LAST && finalizers.unordered;
    if (may_end(r, d->terms) && !judge_is_newborn(block) && !waits)
        call_at_last(place);
    grow_older(r);
    mark_alone(d->m, block);
}

/* All those of one block come here alike, but for their age. */
static void decide_weak(uint32_t place, struct decision *d)
{
    struct registration *r = registration_at(place);
    uintptr_t block = relaxed_load(&r->block);
    if (r->is_long != d->is_long)
        return;
    if (!(r->flags & WAS_UNREACHED))
        r->age = 0;
    else if (is_unreached(r) && may_end(r, d->terms) && !judge_is_newborn(block))
        clear_weaks_of(block, d->is_long);
    else
        grow_older(r);
}

/* If nobody is held by nobody, there must be a cycle. */
static void count_cyclic(const struct decision *d)
{
    relaxed_store(&finalizers.cyclic, d->waiting == 0 ? d->held : d->long_held);
}

/* Finalizers first: what is ready is marked then, and its weak references are cleared. */
static void decide_all(enum registration_kind kind, void (*decide)(uint32_t, struct decision *),
                       struct decision *d)
{
    for (uint32_t place = finalizers.list; place != 0;) {
        enter_chunk();
        for (unsigned n = 0; place != 0 && n < CHUNK; n++) {
            struct registration *r = registration_at(place);
            if (is_watched(r) && r->kind == kind)
                decide(place, d);
            place = r->link;
        }
        leave_chunk();
    }
}

static bool keep_unordered(struct registration *r, struct marker *m,
                           const struct finalizer_terms *terms)
{
    (void)terms;
    if (r->kind != REGISTRATION_FINALIZER || r->order != FINALIZER_NO_ORDER || !is_unreached(r))
        return false;
    mark_word(m, relaxed_load(&r->block));
    return true;
}

bool finalizer_decide(struct marker *m, const struct finalizer_terms *terms)
{
    struct decision d = {.m = m, .terms = terms};
    decide_all(REGISTRATION_FINALIZER, decide_finalizer, &d);
    decide_all(REGISTRATION_WEAK, decide_weak, &d);
    count_cyclic(&d);
    return any_listed(keep_unordered, m, terms);
}

static void decide_ready(uint32_t place, struct decision *d)
{
    (void)d;
    if (registration_at(place)->flags & READY)
        call_at_last(place);
}

void finalizer_decide_last(const struct finalizer_terms *terms)
{
    struct decision d = {.terms = terms, .is_long = true};
    if (finalizers.ready_unordered)
        decide_all(REGISTRATION_FINALIZER, decide_ready, &d);
    if (registration_count(REGISTRATION_WEAK) != 0)
        decide_all(REGISTRATION_WEAK, decide_weak, &d);
}
