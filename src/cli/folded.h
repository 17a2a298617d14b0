/* folded.h -- stacks as one line each, for flame graphs: `root;caller;leaf BYTES`. */
#ifndef GC_CLI_FOLDED_H
#define GC_CLI_FOLDED_H

#include "cli/profile.h"
#include "cli/symbolize.h"
#include "cli/usage.h"

#include <stdio.h>

/* Bytes of one kind. Stacks whose names are the same are one line; in order of the text. */
void folded_write(const struct profile *profile, struct symbolizer *symbolizer,
                  enum usage_kind kind, FILE *out);

#endif
