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

/* From now on `watch` is told of each SIGSEGV with an action made by handler_wrap_watched, with the
 * signal's context, before that action runs: on the stack of the program's handler, where there may
 * be little room. */
typedef void handler_watch_fn(const void *context);
void handler_watch(handler_watch_fn *watch);
bool handler_watched(void);
/* As handler_wrap. Also for SIG_DFL: handler_unwrap makes that of it again. It wants SA_SIGINFO,
 * and all signals blocked. */
uintptr_t handler_wrap_watched(uintptr_t handler);
/* Puts that in the place of SIG_DFL, if SIGSEGV has it; or takes it away again. While no barrier
 * has that signal to itself. */
void handler_watch_default(bool on);

#endif
