/* suppress.h -- leaks that are known, and not to be reported: LeakSanitizer's format.
 *
 * A line is `leak:PATTERN` (base/pattern.h), a comment (#), or empty. A leak is left out if the
 * pattern occurs in the name of a function, a source file or a module of its stack. */
#ifndef GC_CLI_SUPPRESS_H
#define GC_CLI_SUPPRESS_H

#include "cli/profile.h"
#include "cli/symbolize.h"

#include <stdint.h>

struct suppression {
    const char *pattern;
    uint64_t blocks, bytes; /* of the leaks that it has matched */
};

struct suppressions {
    LIST(struct suppression) patterns;
};

enum status suppress_read(const char *path, struct suppressions *suppressions);
/* Takes the leaks that match out of the profile, and counts them with their first pattern. */
void suppress_apply(struct suppressions *suppressions, struct profile *profile,
                    struct symbolizer *symbolizer);

#endif
