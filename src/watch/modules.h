/* modules.h -- ELF modules that are, or were, in memory: whose code an address is.
 *
 * Thread safety: any thread that holds no lock below MODULES. */
#ifndef GC_MODULES_H
#define GC_MODULES_H

#include "base/base.h"

enum { MODULE_PATH_MAX = 512, MODULE_BUILD_ID_MAX = 20 };

struct module {
    uintptr_t start, end;        /* all of its segments */
    uint64_t loaded, unloaded;   /* ns since the start; loaded 0: since before that was of interest;
                                  * unloaded 0: not yet */
    uint32_t identity;           /* modules.c's */
    uint32_t build_id_size;
    uint8_t build_id[MODULE_BUILD_ID_MAX];
    char path[MODULE_PATH_MAX];  /* "[vdso]" has no file */
};

/* Around a call that may unload modules, on a thread of the program's that may take the loader's
 * lock. What the first returns goes to the second; it may be NULL. */
struct modules_seen;
struct modules_seen *modules_before_unload(void);
void modules_after_unload(struct modules_seen *seen);
/* Calls visit for each module that was unloaded, and then for each that is there. False: /proc/maps
 * could not be read, and the latter are missing. Opens it; calls nothing of libc's loader. */
typedef void modules_visit_fn(const struct module *module, void *data);
bool modules_each(modules_visit_fn *visit, void *data);

/* A number for those modules, among those that these addresses are in now, which lie where others
 * had been before; 0: each is the first one at its place. So it tells stacks of the same addresses
 * apart, and a module that comes back to its own place has its own stacks. Any thread, also in
 * signal handlers; no lock. */
uint32_t modules_tenants(const uintptr_t *addresses, unsigned count);
/* The module whose code this address was at that time, if it has gone since, and not come back;
 * else NULL. It stays where it is. No lock. */
const struct module *modules_gone(uintptr_t address, uint64_t time);

/* Unloaded modules that were not kept: there were too many, or no memory. So functions of theirs
 * may have no name, or that of what came later. */
uint64_t modules_forgotten(void);

struct lock *modules_lock(void);

#endif
