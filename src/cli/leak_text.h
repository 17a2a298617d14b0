/* leak_text.h -- a leak report as text. */
#ifndef GC_CLI_LEAK_TEXT_H
#define GC_CLI_LEAK_TEXT_H

#include "cli/profile.h"
#include "cli/suppress.h"
#include "cli/symbolize.h"

#include <stdio.h>

struct leak_text {
    const struct profile *profile; /* without the leaks that are suppressed */
    struct symbolizer *symbolizer;
    const struct suppressions *suppressions;
    uint64_t max_leaks; /* 0: all */
};

void leak_text_write(const struct leak_text *text, FILE *out);
/* The line that says why numbers are estimates. */
void leak_text_estimates(const struct profile *profile, FILE *out);
/* The line that says why there are no stacks, if there are none. */
void leak_text_unrecorded(const struct profile *profile, FILE *out);
/* The frames of a stack, a line each, as LeakSanitizer prints them. */
void leak_text_stack(const struct profile *profile, struct symbolizer *symbolizer,
                     const struct profile_stack *stack, FILE *out);

#endif
