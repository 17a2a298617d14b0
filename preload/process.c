/* process.c -- the library's constructor and destructor. */
#include "base/base.h"
#include "real.h"
#include "runtime.h"

__attribute__((constructor)) static void begin(void)
{
    runtime_start();
    real_resolve();
}

__attribute__((destructor)) static void end(void)
{
    runtime_exit();
}
