/* inbox.h -- blocks that one thread hands to another, in parcels.
 *
 * A parcel is a block of the allocator under test, too: what real programs hand over are blocks.
 *
 *   .inv.once   A parcel is pushed once and taken once: a taker takes all there are in one
 *               exchange, so nothing is ever popped from a list that others change (no ABA).
 *
 *   .inv.few    About INBOX_MOST parcels lie in a box at most: who finds it full empties it first.
 *               So memory stays bounded when a thread does not run for a while.
 *
 * Any thread may push; any may take, and frees what it took. */
#ifndef BENCH_INBOX_H
#define BENCH_INBOX_H

#include "bench.h"

#include <stdatomic.h>

/* Some milliseconds' worth: what a thread without a processor is sent meanwhile. */
enum { INBOX_MOST = 32 };

struct parcel {
    struct parcel *next;
    size_t count;
    void *blocks[];
};

struct inbox {
    _Atomic(struct parcel *) head;
    atomic_uint parcels; /* about */
};

static inline struct parcel *parcel_new(size_t most)
{
    struct parcel *p = allocate(sizeof *p + most * sizeof *p->blocks);
    p->count = 0;
    return p;
}

/* Frees all that lies in the box. */
static inline void inbox_empty(struct inbox *box)
{
    atomic_store_explicit(&box->parcels, 0, memory_order_relaxed);
    struct parcel *p = atomic_exchange_explicit(&box->head, NULL, memory_order_acquire);
    while (p) {
        struct parcel *next = p->next;
        for (size_t i = 0; i < p->count; i++)
            free(p->blocks[i]);
        free(p);
        p = next;
    }
}

static inline void inbox_push(struct inbox *box, struct parcel *p)
{
    if (atomic_fetch_add_explicit(&box->parcels, 1, memory_order_relaxed) >= INBOX_MOST)
        inbox_empty(box);
    p->next = atomic_load_explicit(&box->head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&box->head, &p->next, p, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

#endif
