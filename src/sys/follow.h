/* follow.h -- whether the programs that this one starts get the library, too.
 *
 * Thread safety: at the start of the process, before there are threads. */
#ifndef GC_FOLLOW_H
#define GC_FOLLOW_H

#include "base/base.h"

/* Takes the library whose file is called `name` out of LD_PRELOAD, in place; other libraries stay,
 * in their order. */
void follow_stop(char *const *environment, const char *name);

#endif
