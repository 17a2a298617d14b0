/* held.h -- references in messages and signals that the kernel holds, and shows to nobody.
 *
 * Thread safety: held_mark and held_forget_signals: the collector. The others: any
 * thread, signal handlers too. */
#ifndef GC_HELD_H
#define GC_HELD_H

#include "gc/mark.h"

enum held_kind {
    HELD_MESSAGE_QUEUE, /* System V; the queue's id */
    HELD_POSIX_QUEUE,   /* the inode */
    HELD_NOTIFICATION,  /* of a POSIX queue; its inode. Stays: its signal may be pending for long */
    HELD_SIGNAL,        /* the value of a queued signal; its number */
};

/* Where in the kernel. */
struct held_place {
    enum held_kind kind;
    uint64_t number;
};

/* Is there an address of the heap's among these bytes, beginning at any of them? */
bool held_has_reference(const void *bytes, size_t size);
/* The program is about to send the bytes there; or, of a signal, has just done so, and still has
 * them. */
void held_add(struct held_place place, const void *bytes, size_t size);
/* It has received them from there, or could not send them, and has them. */
void held_remove(struct held_place place, const void *bytes, size_t size);
/* So many are known to be there, of all places. */
uint32_t held_count(void);
/* The kernel has a reference that is not known: nothing may be reclaimed any more. */
void held_lose(void);
/* Forgets the values of signals that are not pending any more, of any thread. */
void held_forget_signals(void);
/* Marks from all of them. NULL, or why they are not known: a static text. World stopped. */
const char *held_mark(struct marker *m);

#endif
