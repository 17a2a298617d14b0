/* hidden.h -- blocks of the heap under test, of which the test itself holds no reference.
 *
 * A unit test's own data and stack are roots. So the test's books hold complements, which no
 * conservative scan takes for pointers, and plain addresses exist only inside the functions below
 * and in noinline ones like them: what these leave in dead frames is wiped before a mark.
 *
 *   .inv.hidden   No function that is active during a mark ever had a plain address in a variable
 *                 or a register, unless the test is about just that. */
#ifndef UNIT_HIDDEN_H
#define UNIT_HIDDEN_H

#include "base/base.h"
#include "heap/heap.h"
#include "heap/slab.h"
#include "mutator/alloc.h"

#include <string.h>

typedef uintptr_t hidden; /* ~address; 0 = none */

/* Not inlined, and not every test uses each. */
#define HIDDEN_STEP static __attribute__((noinline, unused))

GC_INLINE void *reveal(hidden h)
{
    return (void *)~h;
}

/* Starts the heap and malloc of this process, with no hooks. */
static inline bool hidden_heap(size_t most, bool past_end)
{
    static const struct alloc_settings plain = {.arena = true};
    if (!heap_init(most, past_end))
        return false;
    alloc_start(&plain);
    return true;
}

/* A live block of zeros. */
HIDDEN_STEP hidden hidden_new(size_t size)
{
    void *p = alloc_calloc(1, size);
    return p == NULL ? 0 : ~(uintptr_t)p;
}

/* Writes the address of `to`, plus `inside`, to the byte offset `at` of `from`. */
HIDDEN_STEP void hidden_link(hidden from, size_t at, hidden to, size_t inside)
{
    char *target = (char *)reveal(to) + inside;
    memcpy((char *)reveal(from) + at, &target, sizeof target);
}

/* The same to a place outside of the heap. */
HIDDEN_STEP void hidden_store(void *place, hidden to, size_t inside)
{
    char *volatile *word = place;
    *word = (char *)reveal(to) + inside;
}

HIDDEN_STEP uint8_t hidden_byte(hidden h)
{
    return relaxed_load(slot_of((uintptr_t)reveal(h)));
}

HIDDEN_STEP void hidden_set_byte(hidden h, uint8_t byte)
{
    relaxed_store(slot_of((uintptr_t)reveal(h)), byte);
}

/* Overwrites what earlier calls left below the caller's frame. */
HIDDEN_STEP void wipe_stack(void)
{
    volatile char dead[48 << 10];
    for (size_t i = 0; i < sizeof dead; i++)
        dead[i] = 0;
}

#endif
