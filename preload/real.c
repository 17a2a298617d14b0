/* real.c -- looking up what the wrappers wrap: the next definition after ours. */
#include "real.h"

#include "sys/print.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

struct real real;

/* Of functions with two versions (pthread_cond_wait) the default one. */
void *real_find(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        print_fatal("libc has no function %s", name);
    return found;
}

static void look_up(void *slot, const char *name)
{
    void *found = real_find(name);
    memcpy(slot, &found, sizeof(found));
}

void real_resolve(void)
{
    if (real.dlclose != NULL)
        return;
#define LOOK_UP(name) look_up(&real.name, #name);
    REAL_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
}
