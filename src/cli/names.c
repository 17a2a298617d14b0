/* names.c -- names for the code addresses of a running process. */
#include "cli/names.h"

#include "cli/instant.h"
#include "cli/procfs.h"

#include <stdlib.h>
#include <string.h>

/* An address in no module may be of one that was loaded since; not asked more often than this. */
#define READ_AGAIN (5 * NS_PER_SECOND)

struct module {
    uint64_t start, end;
    char *path;
};

struct names {
    int pid;
    uint64_t read_ns;
    struct module *modules; /* ascending */
    size_t count;
};

static void forget(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->modules[i].path);
    free(names->modules);
    names->modules = NULL;
    names->count = 0;
}

/* Mappings of one file follow one another; its first one is the beginning of the module. */
static void add(struct names *names, uint64_t start, uint64_t end, const char *path)
{
    struct module *last = names->count > 0 ? &names->modules[names->count - 1] : NULL;
    if (last != NULL && strcmp(last->path, path) == 0) {
        last->end = end;
        return;
    }
    struct module *modules = realloc(names->modules, (names->count + 1) * sizeof(*modules));
    char *copy = strdup(path);
    if (modules != NULL)
        names->modules = modules;
    if (modules == NULL || copy == NULL) {
        free(copy);
        return;
    }
    names->modules[names->count++] = (struct module){start, end, copy};
}

static void read_modules(struct names *names)
{
    FILE *maps = procfs_open("/proc/%d/maps", names->pid);
    forget(names);
    names->read_ns = instant_now();
    if (maps == NULL)
        return;
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, maps) > 0) {
        unsigned long start, end;
        const char *path = strchr(line, '/');
        line[strcspn(line, "\n")] = '\0';
        if (path != NULL && sscanf(line, "%lx-%lx", &start, &end) == 2)
            add(names, start, end, path);
    }
    free(line);
    fclose(maps);
}

struct names *names_open(int pid)
{
    struct names *names = calloc(1, sizeof(*names));
    if (names == NULL)
        return NULL;
    names->pid = pid;
    read_modules(names);
    return names;
}

void names_close(struct names *names)
{
    if (names == NULL)
        return;
    forget(names);
    free(names);
}

static const struct module *find(const struct names *names, uint64_t address)
{
    for (size_t i = 0; i < names->count; i++)
        if (address - names->modules[i].start < names->modules[i].end - names->modules[i].start)
            return &names->modules[i];
    return NULL;
}

static const struct module *find_module(struct names *names, uint64_t address)
{
    const struct module *module = find(names, address);
    if (module == NULL && instant_now() - names->read_ns > READ_AGAIN) {
        read_modules(names);
        module = find(names, address);
    }
    return module;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

void names_of(struct names *names, uint64_t address, char *text)
{
    const struct module *module = find_module(names, address);
    if (module == NULL)
        snprintf(text, NAMES_TEXT, "0x%lx", address);
    else
        snprintf(text, NAMES_TEXT, "%s+0x%lx", base_name(module->path),
                 address - 1 - module->start);
}

bool names_passes_on(struct names *names, uint64_t address)
{
    static const char *const known[] = {"libgcmalloc.", "libc.so.", "libstdc++.so."};
    const struct module *module = find_module(names, address);
    const char *name = module != NULL ? base_name(module->path) : "";
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(name, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}
