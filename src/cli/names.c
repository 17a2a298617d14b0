/* names.c -- names for the code addresses of a running process.
 *
 * Its modules are those of /proc/PID/maps, whose files are the ones that it runs from: one that was
 * replaced is called "(deleted)" there, is not found, and gives no wrong names. Files of another
 * mount name space are reached through /proc/PID/root.
 *
 *   .inv.local  Nothing is fetched from a server: a live view must not wait for one. */
#include "cli/names.h"

#include "cli/instant.h"
#include "cli/list.h"
#include "cli/procfs.h"
#include "cli/symbolize.h"

#include <stdlib.h>
#include <string.h>

/* An address in no module may be of one that was loaded since; not asked more often than this. */
#define READ_AGAIN (5 * NS_PER_SECOND)

struct names {
    int pid;
    char root[32];       /* stands before its paths: "", or its root directory */
    uint64_t read_ns;
    LIST(struct profile_module) modules; /* ascending */
    struct symbolizer *symbolizer;
};

static void forget(struct names *names)
{
    if (names->symbolizer != NULL)
        symbolizer_close(names->symbolizer);
    for (size_t i = 0; i < names->modules.count; i++)
        free((char *)names->modules.items[i].path);
    names->modules.count = 0;
}

static char *path_of(const struct names *names, const char *path)
{
    size_t size = strlen(names->root) + strlen(path) + 1;
    char *whole = list_alloc(size, 1);
    snprintf(whole, size, "%s%s", names->root, path);
    return whole;
}

/* Mappings of one file follow one another; its first one is the beginning of the module. */
static void add(struct names *names, uint64_t start, uint64_t end, const char *path)
{
    struct profile_module *last =
        names->modules.count > 0 ? &names->modules.items[names->modules.count - 1] : NULL;
    if (last != NULL && strcmp(last->path + strlen(names->root), path) == 0) {
        last->end = end;
        return;
    }
    *LIST_ADD(&names->modules) = (struct profile_module){
        .start = start, .end = end, .build_id = "", .path = path_of(names, path)};
}

static void read_modules(struct names *names)
{
    FILE *maps = procfs_open("/proc/%d/maps", names->pid);
    char *line = NULL;
    size_t room = 0;
    forget(names);
    names->read_ns = instant_now();
    while (maps != NULL && getline(&line, &room, maps) > 0) {
        unsigned long start, end;
        const char *path = strchr(line, '/');
        line[strcspn(line, "\n")] = '\0';
        if (path != NULL && sscanf(line, "%lx-%lx", &start, &end) == 2)
            add(names, start, end, path);
    }
    free(line);
    if (maps != NULL)
        fclose(maps);
    names->symbolizer = symbolizer_open(names->modules.items, names->modules.count, 0);
}

static void find_root(struct names *names)
{
    char ours[64], theirs[64];
    if (procfs_link(ours, sizeof(ours), "/proc/self/ns/mnt") &&
        procfs_link(theirs, sizeof(theirs), "/proc/%d/ns/mnt", names->pid) &&
        strcmp(ours, theirs) != 0)
        snprintf(names->root, sizeof(names->root), "/proc/%d/root", names->pid);
}

struct names *names_open(int pid)
{
    struct names *names = list_alloc(1, sizeof(*names));
    unsetenv("DEBUGINFOD_URLS"); /* .inv.local */
    names->pid = pid;
    find_root(names);
    read_modules(names);
    return names;
}

void names_close(struct names *names)
{
    if (names == NULL)
        return;
    forget(names);
    free(names->modules.items);
    free(names);
}

static const struct profile_module *find(const struct names *names, uint64_t address)
{
    for (size_t i = 0; i < names->modules.count; i++) {
        const struct profile_module *module = &names->modules.items[i];
        if (address - module->start < module->end - module->start)
            return module;
    }
    return NULL;
}

static const struct profile_module *find_module(struct names *names, uint64_t address)
{
    const struct profile_module *module = find(names, address);
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

bool names_of(struct names *names, uint64_t address, size_t index, char text[NAMES_TEXT])
{
    const struct profile_module *module = find_module(names, address);
    struct frames frames = symbolize(names->symbolizer, address, 0);
    if (index >= frames.count)
        return false;
    const struct frame *frame = &frames.items[index];
    if (frame->function != NULL && frame->file != NULL)
        snprintf(text, NAMES_TEXT, "%s (%s:%d)", frame->function, base_name(frame->file),
                 frame->line);
    else if (frame->function != NULL)
        snprintf(text, NAMES_TEXT, "%s (%s)", frame->function,
                 module != NULL ? base_name(module->path) : "?");
    else if (module != NULL)
        snprintf(text, NAMES_TEXT, "%s+0x%lx", base_name(module->path), frame->offset);
    else
        snprintf(text, NAMES_TEXT, "0x%lx", address);
    return true;
}

bool names_passes_on(struct names *names, uint64_t address)
{
    static const char *const known[] = {"libgcmalloc.", "libc.so.", "libstdc++.so."};
    const struct profile_module *module = find_module(names, address);
    const char *name = module != NULL ? base_name(module->path) : "";
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(name, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}
