/* pool.c -- object pools.
 *
 * Theory (Go's sync/pool.go): each thread has a few slots of its own in each pool; what it puts in
 * it gets back, from its own cache. Go pins a goroutine to its processor, and needs no atomic
 * operation; a thread of ours can be stopped anywhere, and whoever finds nothing of its own takes
 * from others. So each slot is one atomic word: put claims an empty one by compare-and-swap, get
 * takes a full one by exchange, ~5 ns each, and it does not matter whose it is. A thread's slots
 * fill one cache line, which others touch only when they have nothing.
 *
 * What does not fit goes to a bag that all share, under a lock. At the end of a cycle all there is
 * becomes the victims, and the victims of the cycle before are condemned: an object that is not
 * used between two cycles goes, and one that is in constant use comes back from the victims. The
 * collector's thread, which libc does not know, never calls `drop`: what is condemned is dropped by
 * the threads that come next to get or put.
 *
 *   .inv.root    A pool is a mapping of its own, private memory like the program's: it is scanned,
 *                and what is in it is reachable. The pool itself is nobody's block, and lives until
 *                pool_free.
 *   .inv.slots   A thread has the slots of its place's number (park.h), and inherits what is there.
 *                A thread that has no place uses the bag.
 *   .inv.moving  The thread that ends a cycle may be the collector's, whose stack is no root, while
 *                another one stops the world. So an object is put into the bag first, and taken out
 *                of its slot then; or out of the bag again, if somebody has taken it meanwhile.
 *   .inv.bags    Bags are under the POOLS lock. Neither make nor drop is called with it held.
 *
 * Cost: 512 KiB of address space a pool, of which it touches a page, and one for each 64 threads.
 * After fork the child has all that was in the slots, whoever put it there. */
#include "mutator/pool.h"

#include "base/atomic.h"
#include "base/check.h"
#include "mutator/park.h"
#include "sys/lock.h"
#include "sys/mem.h"

enum {
    SLOTS = CACHE_LINE / sizeof(void *),
    BAG_ITEMS = PAGE_SIZE / sizeof(void *) - 2,
};

struct bag {
    struct bag *next;
    size_t count;
    void *items[BAG_ITEMS];
};
_Static_assert(sizeof(struct bag) == PAGE_SIZE, "a page each");

struct local {
    _Atomic(void *) slots[SLOTS];
} __attribute__((aligned(CACHE_LINE)));

struct pool {
    struct pool_calls calls;
    struct pool *next, *previous;         /* of all pools. POOLS lock */
    struct bag *shared, *victims, *condemned;
    struct bag *spare;                    /* empty ones */
    /* Any thread. */
    _Atomic uint32_t in_bags, to_drop;    /* how many; a guess without the lock */
    _Atomic uint32_t places;              /* slots of places [0, places) were used */
    struct local locals[PARKS_MOST];     /* .inv.slots */
};

static struct {
    struct lock lock;
    struct pool *first;
} pools = {.lock = LOCK_INIT(POOLS)};

struct lock *pool_lock(void)
{
    return &pools.lock;
}

/* ---- bags: POOLS lock ---- */

static bool bag_put(struct pool *p, struct bag **bag, void *object)
{
    struct bag *b = *bag;
    if (b == NULL || b->count == BAG_ITEMS) {
        b = p->spare != NULL ? p->spare : mem_map(sizeof *b);
        if (b == NULL)
            return false;
        p->spare = p->spare == b ? b->next : p->spare;
        b->next = *bag;
        b->count = 0;
        *bag = b;
    }
    b->items[b->count++] = object;
    return true;
}

static void *bag_take(struct pool *p, struct bag **bag)
{
    struct bag *b = *bag;
    if (b == NULL)
        return NULL;
    void *object = b->items[--b->count];
    b->items[b->count] = NULL; /* it would keep a block alive */
    if (b->count == 0) {
        *bag = b->next;
        b->next = p->spare;
        p->spare = b;
    }
    return object;
}

static size_t bag_count(const struct bag *b)
{
    size_t count = 0;
    for (; b != NULL; b = b->next)
        count += b->count;
    return count;
}

static void bag_join(struct bag **to, struct bag *what)
{
    struct bag **end = &what;
    while (*end != NULL)
        end = &(*end)->next;
    *end = *to;
    *to = what;
}

static void bags_release(struct bag *b)
{
    for (struct bag *next; b != NULL; b = next) {
        next = b->next;
        mem_release(b, sizeof *b);
    }
}

/* ---- slots ---- */

static struct local *own_local(struct pool *p)
{
    uint32_t count;
    if (park_self == NULL)
        return NULL;
    uint32_t place = (uint32_t)(park_self - park_places(&count));
    if (relaxed_load(&p->places) <= place) {
        uint32_t seen = relaxed_load(&p->places);
        while (seen <= place && !atomic_compare_exchange_weak(&p->places, &seen, place + 1))
            continue;
    }
    return &p->locals[place];
}

static bool slots_put(struct local *l, void *object)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        void *empty = NULL;
        if (relaxed_load(&l->slots[i]) == NULL &&
            atomic_compare_exchange_strong(&l->slots[i], &empty, object))
            return true;
    }
    return false;
}

static void *slots_take(struct local *l)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        void *object = relaxed_load(&l->slots[i]) == NULL ? NULL
                                                          : atomic_exchange(&l->slots[i], NULL);
        if (object != NULL)
            return object;
    }
    return NULL;
}

static void *take_from_anybody(struct pool *p)
{
    uint32_t places = relaxed_load(&p->places);
    void *object = NULL;
    for (uint32_t i = 0; i < places && object == NULL; i++)
        object = slots_take(&p->locals[i]);
    return object;
}

/* ---- the pool ---- */

static size_t mapped_size(void)
{
    return align_up(sizeof(struct pool), PAGE_SIZE);
}

struct pool *pool_new(const struct pool_calls *calls)
{
    struct pool *p = mem_map(mapped_size());
    if (p == NULL)
        return NULL;
    p->calls = *calls;
    lock_acquire(&pools.lock);
    p->next = pools.first;
    if (p->next != NULL)
        p->next->previous = p;
    pools.first = p;
    lock_release(&pools.lock);
    return p;
}

static void *take_condemned(struct pool *p)
{
    lock_acquire(&pools.lock);
    void *object = bag_take(p, &p->condemned);
    relaxed_add(&p->to_drop, (uint32_t)-(object != NULL));
    lock_release(&pools.lock);
    return object;
}

/* One by one: drop may use the pool, or not return. */
static void drop_condemned(struct pool *p)
{
    for (void *object; relaxed_load(&p->to_drop) != 0 && (object = take_condemned(p)) != NULL;)
        p->calls.drop(object, p->calls.data);
}

static void *take_from_bags(struct pool *p)
{
    if (relaxed_load(&p->in_bags) == 0)
        return NULL;
    lock_acquire(&pools.lock);
    void *object = bag_take(p, &p->shared);
    if (object == NULL)
        object = bag_take(p, &p->victims);
    relaxed_add(&p->in_bags, (uint32_t)-(object != NULL));
    lock_release(&pools.lock);
    return object;
}

void *pool_get(struct pool *p)
{
    struct local *own = own_local(p);
    if (GC_UNLIKELY(relaxed_load(&p->to_drop) != 0))
        drop_condemned(p);
    void *object = own != NULL ? slots_take(own) : NULL;
    if (object == NULL)
        object = take_from_bags(p);
    if (object == NULL)
        object = take_from_anybody(p);
    return object == NULL && p->calls.make != NULL ? p->calls.make(p->calls.data) : object;
}

static bool put_shared(struct pool *p, void *object)
{
    lock_acquire(&pools.lock);
    bool done = bag_put(p, &p->shared, object);
    relaxed_add(&p->in_bags, done);
    lock_release(&pools.lock);
    return done;
}

void pool_put(struct pool *p, void *object)
{
    struct local *own = own_local(p);
    if (object == NULL)
        return;
    if (GC_UNLIKELY(relaxed_load(&p->to_drop) != 0))
        drop_condemned(p);
    if ((own == NULL || !slots_put(own, object)) && !put_shared(p, object))
        p->calls.drop(object, p->calls.data); /* no memory for a bag */
}

/* .inv.moving. What has no place in a bag stays where it was. */
static void empty_slot(struct pool *p, _Atomic(void *) *slot)
{
    void *object = relaxed_load(slot);
    if (object == NULL || !bag_put(p, &p->victims, object))
        return;
    if (!atomic_compare_exchange_strong(slot, &object, NULL))
        bag_take(p, &p->victims);
}

static void empty_slots(struct pool *p)
{
    uint32_t places = relaxed_load(&p->places);
    for (uint32_t i = 0; i < places; i++)
        for (unsigned slot = 0; slot < SLOTS; slot++)
            empty_slot(p, &p->locals[i].slots[slot]);
}

static void turn(struct pool *p)
{
    bag_join(&p->condemned, p->victims);
    p->victims = p->shared;
    p->shared = NULL;
    empty_slots(p);
    relaxed_store(&p->in_bags, (uint32_t)bag_count(p->victims));
    relaxed_store(&p->to_drop, (uint32_t)bag_count(p->condemned));
}

void pool_turn(void)
{
    if (lock_any_held())
        return;
    lock_acquire(&pools.lock);
    for (struct pool *p = pools.first; p != NULL; p = p->next)
        turn(p);
    lock_release(&pools.lock);
}

static void unlink_pool(struct pool *p)
{
    lock_acquire(&pools.lock);
    if (p->previous != NULL)
        p->previous->next = p->next;
    else
        pools.first = p->next;
    if (p->next != NULL)
        p->next->previous = p->previous;
    lock_release(&pools.lock);
}

/* Nobody else uses it: once it is off the list it is this thread's. */
void pool_free(struct pool *p)
{
    unlink_pool(p);
    for (void *object; (object = take_from_anybody(p)) != NULL;)
        p->calls.drop(object, p->calls.data);
    struct bag **bags[] = {&p->shared, &p->victims, &p->condemned};
    for (unsigned i = 0; i < GC_COUNT(bags); i++)
        for (void *object; (object = bag_take(p, bags[i])) != NULL;)
            p->calls.drop(object, p->calls.data);
    bags_release(p->spare);
    mem_release(p, mapped_size());
}
