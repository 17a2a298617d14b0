/* registration.h -- what the program has attached to its blocks: finalizers, cleanups, and weak
 * references.
 *
 * A table by block. What each kind is for, and when, is finalizer.h's.
 *
 * Thread safety: under registration_lock(), but for registration_none and registration_at_weak. */
#ifndef GC_REGISTRATION_H
#define GC_REGISTRATION_H

#include "base/atomic.h"
#include "base/base.h"

enum registration_kind {
    REGISTRATION_FREE,
    REGISTRATION_FINALIZER,
    REGISTRATION_CLEANUP,
    REGISTRATION_WEAK,
};
enum registration_state {
    REGISTRATION_OFF,      /* free; a weak reference that reads NULL; a call to be left out */
    REGISTRATION_ATTACHED, /* found by its block */
    REGISTRATION_QUEUED,   /* to be called. A finalizer is found by its block all the same */
};

/* Places are named by their number, from 1 on; 0: none. */
struct registration {
    _Atomic uintptr_t block;   /* plain: metadata is no root. 0: none any more */
    void (*call)(void);
    uint32_t next;             /* in the chain of its bucket; of the free places */
    uint32_t link;             /* finalizer.c's: in its list of those not reached, */
    uint32_t queued;           /* and in its queue */
    uint32_t turn;             /* how often the place was used */
    uint8_t kind, state;
    uint8_t flags, age, held;  /* finalizer.c's */
    bool finalized;            /* a weak reference: its block has a finalizer. finalizer.c's */
    uint8_t order;             /* of a finalizer. finalizer.c's */
    bool is_long;              /* a weak reference that outlives finalizers. finalizer.c's */
};

/* The WATCHES lock. */
struct lock *registration_lock(void);
/* A new one. The block is live. `data` is a root from now on, until registration_drop. 0: no
 * memory. */
uint32_t registration_add(uintptr_t block, enum registration_kind kind, void (*call)(void),
                          void *data);
struct registration *registration_at(uint32_t place);
void *registration_data(uint32_t place);
/* Another value. Like registration_drop on a thread of the program's: it may be write-protected. */
void registration_set_data(uint32_t place, void *data);
/* It is no longer found by its block, which is still live. */
void registration_detach(uint32_t place);
/* The place is free: it was detached. */
void registration_drop(uint32_t place);
/* The first of the block's, or the next one behind `place`, of any kind. */
uint32_t registration_first(uintptr_t block);
uint32_t registration_next(uint32_t place);
uint32_t registration_of_kind(uintptr_t block, enum registration_kind kind);

/* Any thread, no lock: the block has none. False: it may have one. */
bool registration_none(uintptr_t block);
/* Any thread, no lock: the place of a weak reference, or 0: that is none. */
uint32_t registration_at_weak(const void *weak);
/* How many places were ever used. Any thread, as a guess. */
uint32_t registration_top(void);
/* Of a kind, weak references that read NULL included. */
uint32_t registration_count(enum registration_kind kind);

#endif
