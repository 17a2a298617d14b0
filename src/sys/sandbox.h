/* sandbox.h -- has the program given up system calls?
 *
 * A filter (seccomp) may end the process at the first call that is not on its list, and nobody can
 * ask it beforehand. So from then on the library makes only those that any malloc makes: mmap,
 * munmap, mremap, futex, and write for what it must say.
 *
 * Thread safety: any. */
#ifndef GC_SANDBOX_H
#define GC_SANDBOX_H

#include "base/base.h"

/* Also in the children of fork. */
void sandbox_set(bool on);
bool sandbox_on(void);

#endif
