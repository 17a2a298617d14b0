/* real.c -- looking up what the wrappers wrap: the next definition after ours. */
#include "real.h"

#include "sys/next_symbol.h"
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

static void fill(void *slot, const struct next_symbol *s)
{
    void *found = s->address != NULL ? s->address : real_find(s->name);
    memcpy(slot, &found, sizeof found);
}

void real_resolve(void)
{
    if (real.dlclose != NULL)
        return;
#define NAME(function) {.name = #function},
    struct next_symbol symbols[] = {REAL_FUNCTIONS(NAME)}, *s = symbols;
#undef NAME
    next_symbol_find(symbols, GC_COUNT(symbols), &real);
#define FILL(function) fill(&real.function, s++);
    REAL_FUNCTIONS(FILL)
#undef FILL
}
