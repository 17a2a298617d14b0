/* registration.c -- a hash table whose entries never move.
 *
 * Entries lie in segments, each twice as large as the one before, in metadata: no marker reads
 * them, so they may hold plain addresses, and the collector may write to them whenever it likes.
 * What the program wants to be kept reachable (`data`) lies in mappings of its own, which are roots
 * like any memory of the program's, written pages and all. Only the program's threads write there:
 * those pages may be write-protected.
 *
 *   .inv.exact    The slab in which a block with registrations begins is watched (slab_watch): its
 *                 free() and realloc() take the slow path, which looks here before anybody else
 *                 can get it. So no registration outlives its block, and no new block at the same
 *                 address finds one. It costs free() of the slab's other blocks the slow path and
 *                 one look at a bucket, and of all other slabs nothing.
 *   .inv.none     To find nothing takes no lock. A block was attached before it is freed, so its
 *                 bucket is not empty then: neither in the table of that time, whose buckets stay
 *                 as they are once a larger one is in force, nor in that one, which is filled
 *   before. .inv.stable   What a weak reference is told by is the address of its entry.
 *
 * Cost: 40 bytes each, 8 for `data`, 8 to 16 for buckets, and as much again for the tables that
 * were outgrown (metadata is not given back). */
#include "cycle/registration.h"

#include "base/check.h"
#include "base/rng.h"
#include "heap/slab.h"
#include "mutator/pins.h"
#include "sys/mem.h"

enum {
    FIRST_SHIFT = 10,              /* entries of the first segment */
    SEGMENTS = 22,                 /* 4 Gi entries: more than metadata can hold */
    BUCKETS_FIRST = 2 << FIRST_SHIFT,
};

struct table {
    uint32_t mask;
    uint32_t buckets[];
};

static struct {
    struct registration *segments[SEGMENTS];
    void **data[SEGMENTS];         /* mappings of their own: roots */
    _Atomic uint32_t top;          /* places that were ever used; after their segment */
    uint32_t spare;                /* free ones, chained by `next` */
    uint32_t attached;
    _Atomic uint32_t count[REGISTRATION_WEAK + 1];
    struct table *_Atomic table;   /* .inv.none */
} registrations;

struct lock *registration_lock(void)
{
    return pins_lock();
}

struct position {
    unsigned segment;
    uint32_t offset;
};

static uint32_t segment_size(unsigned segment)
{
    return 1u << (FIRST_SHIFT + segment);
}

static struct position position_of(uint32_t place)
{
    uint64_t from = (uint64_t)place - 1 + (1u << FIRST_SHIFT);
    unsigned top = 63 - (unsigned)__builtin_clzl(from);
    return (struct position){top - FIRST_SHIFT, (uint32_t)(from - (1ul << top))};
}

struct registration *registration_at(uint32_t place)
{
    struct position p = position_of(place);
    GC_ASSERT(place != 0 && place <= relaxed_load(&registrations.top));
    return &registrations.segments[p.segment][p.offset];
}

static void **data_at(uint32_t place)
{
    struct position p = position_of(place);
    return &registrations.data[p.segment][p.offset];
}

void *registration_data(uint32_t place)
{
    return *data_at(place);
}

void registration_set_data(uint32_t place, void *data)
{
    *data_at(place) = data;
}

/* ---- by block ---- */

static uint32_t *bucket_of(struct table *table, uintptr_t block)
{
    return &table->buckets[mix64(block >> GRANULE_SHIFT) & table->mask];
}

static void chain(struct table *table, uint32_t place)
{
    struct registration *r = registration_at(place);
    uint32_t *bucket = bucket_of(table, relaxed_load(&r->block));
    r->next = *bucket;
    __atomic_store_n(bucket, place, __ATOMIC_RELAXED);
}

static struct table *new_table(uint32_t buckets)
{
    struct table *table = meta_alloc(sizeof(*table) + buckets * sizeof(uint32_t));
    if (table != NULL)
        table->mask = buckets - 1;
    return table;
}

/* At most one registration for two buckets. The old table is left as it is: .inv.none. */
static bool have_room(void)
{
    struct table *old = relaxed_load(&registrations.table);
    if (old != NULL && registrations.attached < (old->mask + 1) / 2)
        return true;
    struct table *table = new_table(old == NULL ? BUCKETS_FIRST : 2 * (old->mask + 1));
    if (table == NULL)
        return old != NULL;
    for (uint32_t i = 0; old != NULL && i <= old->mask; i++)
        for (uint32_t place = old->buckets[i], next; place != 0; place = next) {
            next = registration_at(place)->next;
            chain(table, place);
        }
    release_store(&registrations.table, table);
    return true;
}

bool registration_none(uintptr_t block)
{
    struct table *table = acquire_load(&registrations.table);
    return table == NULL || once(*bucket_of(table, block)) == 0;
}

static uint32_t from(uint32_t place, uintptr_t block)
{
    while (place != 0 && relaxed_load(&registration_at(place)->block) != block)
        place = registration_at(place)->next;
    return place;
}

uint32_t registration_first(uintptr_t block)
{
    struct table *table = relaxed_load(&registrations.table);
    return table == NULL ? 0 : from(*bucket_of(table, block), block);
}

uint32_t registration_next(uint32_t place)
{
    struct registration *r = registration_at(place);
    return from(r->next, relaxed_load(&r->block));
}

uint32_t registration_of_kind(uintptr_t block, enum registration_kind kind)
{
    uint32_t place = registration_first(block);
    while (place != 0 && registration_at(place)->kind != kind)
        place = registration_next(place);
    return place;
}

static void unchain(uint32_t place)
{
    struct registration *r = registration_at(place);
    uint32_t *at = bucket_of(relaxed_load(&registrations.table), relaxed_load(&r->block));
    while (*at != place)
        at = &registration_at(*at)->next;
    __atomic_store_n(at, r->next, __ATOMIC_RELAXED);
}

/* ---- places ---- */

static bool add_segment(unsigned segment)
{
    uint32_t size = segment_size(segment);
    if (registrations.segments[segment] == NULL)
        registrations.segments[segment] = meta_alloc(size * sizeof(struct registration));
    if (registrations.data[segment] == NULL)
        registrations.data[segment] = mem_map(align_up(size * sizeof(void *), PAGE_SIZE));
    return registrations.segments[segment] != NULL && registrations.data[segment] != NULL;
}

static uint32_t take_place(void)
{
    uint32_t place = registrations.spare;
    if (place != 0) {
        registrations.spare = registration_at(place)->next;
        return place;
    }
    place = relaxed_load(&registrations.top) + 1;
    struct position p = position_of(place);
    if (p.segment >= SEGMENTS || (p.offset == 0 && !add_segment(p.segment)))
        return 0;
    release_store(&registrations.top, place);
    return place;
}

/* `link` and `flags` stay: the place may still be in finalizer.c's list. */
uint32_t registration_add(uintptr_t block, enum registration_kind kind, void (*call)(void),
                          void *data)
{
    uint32_t place = have_room() ? take_place() : 0;
    if (place == 0)
        return 0;
    if (arena_contains(block) && registration_first(block) == 0)
        slab_watch(block);
    struct registration *r = registration_at(place);
    relaxed_store(&r->block, block);
    r->call = call;
    r->kind = (uint8_t)kind;
    r->state = REGISTRATION_ATTACHED;
    r->age = r->held = 0;
    r->turn++;
    registration_set_data(place, data);
    chain(relaxed_load(&registrations.table), place);
    registrations.attached++;
    relaxed_add(&registrations.count[kind], 1);
    return place;
}

void registration_detach(uint32_t place)
{
    struct registration *r = registration_at(place);
    uintptr_t block = relaxed_load(&r->block);
    unchain(place);
    registrations.attached--;
    if (arena_contains(block) && registration_first(block) == 0)
        slab_unwatch(block);
    relaxed_store(&r->block, 0);
    r->state = REGISTRATION_OFF;
}

void registration_drop(uint32_t place)
{
    struct registration *r = registration_at(place);
    GC_ASSERT(r->state == REGISTRATION_OFF);
    relaxed_add(&registrations.count[r->kind], -1u);
    if (r->kind != REGISTRATION_WEAK)
        registration_set_data(place, NULL);
    r->kind = REGISTRATION_FREE;
    r->next = registrations.spare;
    registrations.spare = place;
}

/* ---- for everybody ---- */

uint32_t registration_at_weak(const void *weak)
{
    uint32_t top = acquire_load(&registrations.top);
    for (unsigned i = 0; i < SEGMENTS && registrations.segments[i] != NULL; i++) {
        uintptr_t offset = (uintptr_t)weak - (uintptr_t)registrations.segments[i];
        uint64_t index = offset / sizeof(struct registration);
        if (index >= segment_size(i))
            continue;
        uint32_t place = segment_size(i) - segment_size(0) + (uint32_t)index + 1;
        bool good = offset % sizeof(struct registration) == 0 && place <= top &&
                    once(registrations.segments[i][index].kind) == REGISTRATION_WEAK;
        return good ? place : 0;
    }
    return 0;
}

uint32_t registration_top(void)
{
    return acquire_load(&registrations.top);
}

uint32_t registration_count(enum registration_kind kind)
{
    return relaxed_load(&registrations.count[kind]);
}
