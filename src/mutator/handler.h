/* handler.h -- the program's signal handlers, run as the program's code.
 *
 * A handler may come while its thread is parked (park.h), and is not parked while it runs. So the
 * kernel is given a thunk in place of each handler, one for each, for good.
 *
 * Thread safety: any thread, also in signal handlers. */
#ifndef GC_HANDLER_H
#define GC_HANDLER_H

#include "base/base.h"

enum { HANDLERS_MOST = 1024 };

/* The address to give to the kernel for this handler; SIG_DFL and its like stay what they are. When
 * there are no thunks left, the handler itself, and parking is forbidden. */
uintptr_t handler_wrap(uintptr_t handler);
/* The handler that an address from the kernel stands for. */
uintptr_t handler_unwrap(uintptr_t address);

#endif
