/* pattern.h -- LeakSanitizer's patterns: a text that occurs in a name, in which * stands for
 * anything; ^ in front means at its beginning, $ behind at its end. */
#ifndef GC_PATTERN_H
#define GC_PATTERN_H

#include "base/base.h"

#include <string.h>

/* After a star that led nowhere the same star takes one byte more: earlier ones need not be tried
 * again. A pattern that is not held at the beginning starts with such a star. No name is empty. */
GC_INLINE bool pattern_matches(const char *pattern, const char *name)
{
    const char *at = pattern + (pattern[0] == '^'), *end = at + strlen(at);
    const char *star = pattern[0] == '^' ? NULL : at, *resume = name;
    bool held = end != at && end[-1] == '$';
    end -= held;
    if (*name == 0)
        return false;
    for (;;) {
        if (at == end && (!held || *name == 0))
            return true;
        if (at != end && *at == '*') {
            star = ++at;
            resume = name;
        } else if (at != end && *name != 0 && *at == *name) {
            at++;
            name++;
        } else if (star != NULL && *resume != 0) {
            at = star;
            name = ++resume;
        } else {
            return false;
        }
    }
}

#endif
