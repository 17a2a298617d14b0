/* blocking.h -- what the files of the program `blocking` share; see blocking.c. */
#ifndef BLOCKING_H
#define BLOCKING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "abi.h"

/* A block whose size and bytes follow from the seed. */
void *block_make(unsigned seed);
void block_check(const void *block, unsigned seed);
void block_end(void *block, unsigned seed);

/* For so long, and at least for a few rounds: holds blocks whose only pointers are in its frames,
 * moves these about, allocates, frees, and checks the blocks. */
void wander(unsigned milliseconds, unsigned seed);

uint64_t now_ns(void);
struct timespec in_ms(unsigned milliseconds);
struct timespec after_ms(clockid_t clock, unsigned milliseconds);

/* Returns when that thread is blocked in that system call; with that first argument, unless it is
 * NULL: a thread may also sleep in a futex of somebody else's. */
void await_call(pid_t tid, long number, const void *first);

/* The kinds. */
void kind_sleepers(void);
void kind_handlers(void);
void kind_actions(void);
void kind_after_exec(void);
void kind_cancel(void);
void kind_vfork(void);

#endif
