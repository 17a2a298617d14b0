/* next_symbol.h -- what stands behind the library's own definitions, as dlsym(RTLD_NEXT) finds it.
 *
 * For many names at once, at some 100 instructions each; dlsym takes some 1,500. */
#ifndef GC_NEXT_SYMBOL_H
#define GC_NEXT_SYMBOL_H

#include "base/base.h"

#include <link.h>

struct next_symbol {
    const char *name;
    void *address;                 /* NULL: not found here; dlsym may know it */
    const struct link_map *object; /* that defines it */
};

/* Looks up the names of all `count` of them, of default versions, in what was loaded after the
 * object in which `from` lies, up to libc. Not while another thread loads or unloads an object that
 * stands before libc, that is while the process starts. */
void next_symbol_find(struct next_symbol *symbols, size_t count, const void *from);

#endif
