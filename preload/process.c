/* process.c -- the library's constructor and destructor. */
#include "base/base.h"
#include "mutator/entry.h"
#include "real.h"
#include "runtime.h"

__attribute__((constructor)) static void begin(void)
{
    runtime_start();
    real_resolve();
    blocking_start();
    runtime_begin();
}

/* Behind a stub, so that the last cycle does not see our own frames (entry.h). */
void exit_stub(void);
ENTRY_STUB(exit_stub, runtime_exit);

__attribute__((destructor)) static void end(void)
{
    exit_stub();
}
