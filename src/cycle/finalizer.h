/* finalizer.h -- what is called when a block is no longer reachable, and what reads NULL then.
 *
 * In a mark:
 *
 *     finalizer_queued(m, stopped)        at the beginning: what waits to be called is a root
 *     finalizer_close()                   in the last stop, if it is not all of the mark; else
 *                                         finalizer_sift(true) is called in it
 *     finalizer_sift(stopped)             all is marked, and nothing is swept until the end of
 *                                         this: who has not been reached?
 *     finalizer_hold(m, terms)            what such blocks with finalizers hold lives on. True:
 *                                         there is more to mark
 *     finalizer_hold_all(m)               … a list could not take that: they live on, too
 *     finalizer_keep(m, terms)            all is marked again: what only weak references know lives
 *                                         on, until its time has come. True: as above
 *     finalizer_decide(m, terms)          all is marked again: who is ready? True: as above
 *     finalizer_decide_last(terms)        all is marked again: finalizers of no order that are
 *                                         ready, and long weak references
 *     finalizer_open()                    if it was closed
 *
 * Thread safety: the functions of a mark are the collector's, with registration_lock() held by it
 * if the world is stopped, and not else. The program's: any thread that holds no lock. */
#ifndef GC_FINALIZER_H
#define GC_FINALIZER_H

#include "base/base.h"
#include "cycle/registration.h"
#include "gc/mark.h"

typedef void finalizer_call_fn(void);

/* When a block that nobody has reached is ready. Boehm's kinds of finalizers (gc.h). */
enum finalizer_order {
    FINALIZER_ORDERED,         /* no block with a finalizer, itself included, holds it */
    FINALIZER_IGNORE_SELF,     /* … but that it holds itself does not count */
    FINALIZER_NO_ORDER,        /* … and itself it holds none back */
    FINALIZER_LAST,            /* as ORDERED, and none of NO_ORDER is ready */
};

/* Sets, or replaces, the block's finalizer. False: no memory. */
bool finalizer_set(uintptr_t block, finalizer_call_fn *call, void *data,
                   enum finalizer_order order);
/* What is set, but not what is queued. False: none. */
bool finalizer_get(uintptr_t block, finalizer_call_fn **call, void **data);
void finalizer_clear(uintptr_t block);
/* A number that names the cleanup; 0: no memory. */
uint64_t finalizer_add_cleanup(uintptr_t block, finalizer_call_fn *call,
                               void *data);
/* False: it has run, or runs, or there is none. */
bool finalizer_remove_cleanup(uint64_t number);
/* Long: not cleared when the block's finalizer is queued, nor if one of no order holds the block,
 * but when it is found unreachable and none will see it again. */
struct registration *finalizer_weak_new(uintptr_t block, bool is_long);
/* The block, or NULL. False: that is no weak reference. */
bool finalizer_weak_get(const void *weak, void **block);
bool finalizer_weak_drop(void *weak);
/* Between the two no weak reference is cleared, but by free(), and no finalizer queued. They nest.
 * The first waits while a cycle decides, and returns how often cycles have cleared the weak
 * references of a block until now. */
uint64_t finalizer_weak_hold(void);
void finalizer_weak_release(void);
/* In fork's child: of the threads that held, only this one is there. */
void finalizer_after_fork(void);

/* The program frees or resizes the block, which is live until this returns. */
void finalizer_block_ended(uintptr_t block);
/* It has been reclaimed, and its place is nobody else's yet: its cleanups are due. A central lock
 * may be held. */
void finalizer_block_reclaimed(uintptr_t block);

struct finalizer_terms {
    unsigned confirm;          /* marks in a row that must not have reached it */
    bool may_call;             /* unreachable blocks are reclaimed now */
};
void finalizer_queued(struct marker *m, bool stopped);
void finalizer_close(void);
void finalizer_sift(bool stopped);
bool finalizer_hold(struct marker *m, const struct finalizer_terms *terms);
void finalizer_hold_all(struct marker *m);
bool finalizer_keep(struct marker *m, const struct finalizer_terms *terms);
bool finalizer_decide(struct marker *m, const struct finalizer_terms *terms);
void finalizer_decide_last(const struct finalizer_terms *terms);
void finalizer_open(void);

/* Told when the queue is no longer empty: any thread, a central lock held, or the world stopped. */
void finalizer_on_ready(void (*ready)(void));
struct finalizer_call {
    enum registration_kind kind;
    finalizer_call_fn *call;
    void *block, *data;        /* no block: a cleanup */
};
/* The next call to be made; it was taken off. False: there is none. A thread of the program's. */
bool finalizer_take(struct finalizer_call *out);
bool finalizer_is_due(void);
/* How many calls are queued, those to be left out included. */
uint32_t finalizer_due(void);
/* Blocks with finalizers that are in cycles, or behind them: nobody will ever call those. */
uint32_t finalizer_cyclic(void);

#endif
