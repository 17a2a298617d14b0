/* pprof.h -- a profile for `pprof`: profile.proto, compressed.
 *
 * Sample types alloc_objects, alloc_space, inuse_objects, inuse_space, as Go's heap profiles have
 * them, and leaked_objects, leaked_space, which is shown first. Stacks leaf first, inlined calls as
 * several lines of a location, mapping 1 the program. The process stands in the comments. */
#ifndef GC_CLI_PPROF_H
#define GC_CLI_PPROF_H

#include "cli/profile.h"
#include "cli/symbolize.h"

#include <stdio.h>

/* The caller looks at the stream's error. */
void pprof_write(const struct profile *profile, struct symbolizer *symbolizer, FILE *out);

#endif
