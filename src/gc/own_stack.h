/* own_stack.h -- running the collector on a stack of its own.
 *
 * A cycle starts in the middle of some malloc, perhaps on a coroutine's stack of 16 KiB. */
#ifndef GC_OWN_STACK_H
#define GC_OWN_STACK_H

#include "base/base.h"

/* Spills the callee-saved registers to the present stack, switches to the one that ends at `top`,
 * and calls function(argument, low), where `low` is the lowest address of the present stack that
 * holds anything. Returns on the present stack. */
void call_on_stack(void (*function)(void *argument, uintptr_t low), void *argument, void *top);

#endif
