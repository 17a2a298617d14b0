/* crew.h -- the threads on which a sequence calls the allocator, one call at a time.
 *
 * Member 0 is the calling thread, the others wait for their turn: several thread caches, frees by
 * other threads than the allocating one, and yet the same course of things for the same bytes. */
#ifndef FUZZ_CREW_H
#define FUZZ_CREW_H

#include <stdbool.h>
#include <stddef.h>

enum { CREW = 4, BURST_MOST = 256 };

enum call_kind {
    CALL_MALLOC, CALL_CALLOC, CALL_ALIGNED, CALL_REALLOC, CALL_FREE, CALL_USABLE,
    CALL_ATTACH,     /* the member has a cache: it is emptied before, if it had one */
    CALL_DETACH,
    CALL_BURST_MAKE, /* `count` blocks of `size` bytes into `burst` */
    CALL_BURST_DROP, /* frees them, the last first if `backwards` */
};

struct call {
    enum call_kind kind;
    void *p;
    size_t size, align;
    void *result;
    size_t usable;
    void **burst;
    size_t count;
    bool backwards;
    bool attached; /* out: the member has a cache */
};

/* Makes the call on that thread, and returns when it has returned. */
void crew_call(unsigned member, struct call *call);

#endif
