/* suppress.h -- leaks that are known, and not to be reported: a file in LeakSanitizer's format.
 *
 * A line is `leak:PATTERN` (base/pattern.h), a comment (#), or empty. A leak is left out if the
 * pattern occurs in the name of a function or of a module of its stack; names of source files are
 * known to the gcmalloc command only.
 *
 * Thread safety: one thread at a time (whoever reports). */
#ifndef GC_SUPPRESS_H
#define GC_SUPPRESS_H

#include "base/base.h"

struct leak_group;
struct printer;
struct symbol_time;

/* Reads the file, unless it was the last one; "off": there is none. What is wrong with it is said.
 * */
void suppress_start(const char *path);
/* Takes those that match out of groups[0, count), and counts them; returns how many are left. Names
 * that `naming` (which may be NULL) has no time for do not match. */
size_t suppress_apply(struct leak_group *groups, size_t count, struct symbol_time *naming);
/* Are there any patterns? */
bool suppress_any(void);
/* What the last call took out, as LeakSanitizer tells it; nothing if that was none. */
void suppress_print(struct printer *out);

#endif
