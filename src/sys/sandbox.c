/* sandbox.c -- one flag. */
#include "sys/sandbox.h"

#include "base/atomic.h"

static _Atomic bool entered;

void sandbox_set(bool on)
{
    release_store(&entered, on);
}

bool sandbox_on(void)
{
    return acquire_load(&entered);
}
