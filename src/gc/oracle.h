/* oracle.h -- a mark checked by another one.
 *
 * A concurrent mark has missed something if a block is reachable when it has ended, with the world
 * stopped, and yet does not carry its epoch. The oracle finds that out by the simplest mark there
 * is: of everything, at once. In builds with checks only: markers must remember what they marked.
 *
 * Thread safety: the collector; oracle_check with the world stopped and nothing left to mark. */
#ifndef GC_ORACLE_H
#define GC_ORACLE_H

#include "gc/roots.h"

/* The epoch has advanced, and the mark is about to begin. False: there is no memory for it, or the
 * build has no checks. */
bool oracle_begin(void);
/* Ends the process with a message if the mark was wrong. Leaves all slot bytes as they were. The
 * request's pass is of no importance; without a barrier everything counts as written. */
void oracle_check(const struct roots_request *request);

#endif
