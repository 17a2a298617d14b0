/* oracle.h -- a mark checked by another one.
 *
 * A concurrent mark has missed something if a block is reachable when it has ended, with the world
 * stopped, and yet does not carry its epoch. The oracle finds that out by the simplest mark there is:
 * of everything, at once.
 *
 * Thread safety: the collector, with the world stopped and nothing left to mark. */
#ifndef GC_ORACLE_H
#define GC_ORACLE_H

#include "gc/roots.h"

/* Ends the process with a message if the mark was wrong. Leaves all slot bytes as they were. `self`
 * and `files`: as in roots_request. False: there is no memory for it. */
bool oracle_check(const struct own_stack *self, struct roots_files *files);

#endif
