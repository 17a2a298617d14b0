/* peek.h -- reading words of a stack that may not be one.
 *
 * Thread safety: a struct peek belongs to one walk on one thread. Safe in signal handlers. */
#ifndef GC_PEEK_H
#define GC_PEEK_H

#include "base/base.h"

/* Words copied at a time. 512 bytes never cross a page, hold 5 to 10 ordinary frames, and cost one
 * system call (0.3 us); at 128 words the copy no longer hides behind the call. */
enum { PEEK_WORDS = 64 };

struct peek {
    uintptr_t low;    /* [low, low + span) may start a word read without asking */
    uintptr_t span;
    uintptr_t window; /* where `copy` was taken from; 1: nowhere */
    uintptr_t copy[PEEK_WORDS];
};

/* Says that the calling thread's stack is [low, high). As long as its stack pointer is in there,
 * everything above it is readable without asking the kernel. */
void peek_set_stack(uintptr_t low, uintptr_t high);
/* Begins a walk whose innermost stack pointer is `sp`. */
void peek_start(struct peek *p, uintptr_t sp);
/* Asks the kernel. False if the word is not readable, or not aligned. */
bool peek_word_slow(struct peek *p, uintptr_t address, uintptr_t *value);
/* Copies `length` (at most 16) bytes from anywhere, without disturbing the window. */
bool peek_bytes(void *to, uintptr_t address, size_t length);

/* *value = the word at `address`; false if there is none. Never faults. */
GC_INLINE bool peek_word(struct peek *p, uintptr_t address, uintptr_t *value)
{
    if (GC_LIKELY(address - p->low < p->span)) {
        __builtin_memcpy(value, (const void *)address, sizeof *value);
        return true;
    }
    return peek_word_slow(p, address, value);
}

#endif
