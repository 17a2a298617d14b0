/* kept.h -- blocks whose only references lie in a place that the caller names, and a load.
 *
 * A block taken for garbage is handed out again and overwritten while the load runs: to compare its
 * bytes afterwards tells whether its reference was seen. */
#ifndef KEPT_H
#define KEPT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "abi.h"

enum { KEPT = 7, LOAD = 100 << 20 };

void *block_make(size_t size, unsigned seed);

/* The block of this number: its size, and its bytes, are of it. */
void *kept_make(unsigned number);
/* Seven blocks, from 24 bytes to 3 MB, into place[], and into nothing else that lasts. */
void kept_fill(void **place);
void kept_check(void *const *place);
void kept_check_one(const void *block, unsigned number);

/* Writes the part of a place that the functions before used: a word that remains of them on the
 * stack would keep a block as well. */
void kept_fill_and_forget(void **place);

/* Small blocks that change places: number `number`; and that `block` is one of `count`, and none of
 * those that seen[] has already. */
void *swapped_make(unsigned number);
void swapped_check(const void *block, unsigned char *seen, unsigned count);

/* Another thread leaks LOAD bytes. load() waits for it; meanwhile `loaded` is false. */
extern atomic_bool loaded;
pthread_t load_begin(void);
void load_end(pthread_t thread);
void load(void);

#endif
