/* place.c -- a hash table of places by the addresses of their blocks.
 *
 * Addresses are kept as complements, so that no block is held. Where a block has gone, and another
 * one is at its address, the table forgets the old place; its links still have it. */
#include "bdwgc/place.h"

#include "gcmalloc.h"

#include <stdbool.h>

struct place {
    struct place *same_bucket;
    gcmalloc_weak *self;
    uintptr_t hidden;
    size_t users;
    bool listed;
};

static struct {
    struct place **buckets;
    size_t count, mask;
} places;

static struct place **bucket_of(struct place **buckets, size_t mask, uintptr_t hidden)
{
    return &buckets[(hidden >> 4) * 0x9e3779b97f4a7c15 >> 20 & mask];
}

static void enter(struct place *place)
{
    struct place **bucket = bucket_of(places.buckets, places.mask, place->hidden);
    place->same_bucket = *bucket;
    *bucket = place;
    place->listed = true;
    places.count++;
}

static void leave(struct place *place)
{
    struct place **at = bucket_of(places.buckets, places.mask, place->hidden);
    while (*at != place)
        at = &(*at)->same_bucket;
    *at = place->same_bucket;
    place->listed = false;
    places.count--;
}

static bool have_room(void)
{
    enum { FIRST = 64 };
    struct place **old = places.buckets;
    size_t size = old == NULL ? 0 : places.mask + 1;
    if (places.count < size)
        return true;
    struct place **buckets = calloc(old == NULL ? FIRST : 2 * size, sizeof(struct place *));
    if (buckets == NULL)
        return old != NULL;
    places.buckets = buckets;
    places.mask = (old == NULL ? FIRST : 2 * size) - 1;
    places.count = 0;
    for (size_t i = 0; i < size; i++)
        for (struct place *p = old[i], *next; p != NULL; p = next) {
            next = p->same_bucket;
            enter(p);
        }
    free(old);
    return true;
}

void *place_block(const struct place *place)
{
    return gcmalloc_weak_get(place->self);
}

static struct place *find(void *block)
{
    uintptr_t hidden = ~(uintptr_t)block;
    struct place *p = places.buckets == NULL ? NULL
                                             : *bucket_of(places.buckets, places.mask, hidden);
    while (p != NULL && p->hidden != hidden)
        p = p->same_bucket;
    if (p == NULL || place_block(p) == block)
        return p;
    leave(p);
    return NULL;
}

static struct place *make(void *block)
{
    gcmalloc_weak *self = have_room() ? gcmalloc_weak_new_long(block) : NULL;
    struct place *place = self == NULL ? NULL : calloc(1, sizeof *place);
    if (place == NULL) {
        gcmalloc_weak_drop(self);
        return NULL;
    }
    place->self = self;
    place->hidden = ~(uintptr_t)block;
    enter(place);
    return place;
}

struct place *place_take(void *block)
{
    struct place *place = find(block);
    if (place == NULL)
        place = make(block);
    if (place != NULL)
        place->users++;
    return place;
}

void place_drop(struct place *place)
{
    if (place == NULL || --place->users != 0)
        return;
    if (place->listed)
        leave(place);
    gcmalloc_weak_drop(place->self);
    free(place);
}
