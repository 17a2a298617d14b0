/* watch_modules.c -- modules that are there, that went, and that came where others had been.
 *
 * usage: watch_modules PLUGIN-A PLUGIN-B (the two builds of watch_unwind_plugin.c, of one size) */
#include "watch/modules.h"

#include "heap/heap.h"
#include "sys/clock.h"
#include "unit.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { MODULES_MOST = 256 };

static const char *plugin_path[2];
static struct module seen[MODULES_MOST];
static unsigned seen_count;

static void see(const struct module *m, void *data)
{
    (void)data;
    if (EXPECT(seen_count < MODULES_MOST))
        seen[seen_count++] = *m;
}

static void look(void)
{
    seen_count = 0;
    EXPECT(modules_each(see, NULL));
}

/* The only one whose code this address of this time is. */
static const struct module *module_of(uintptr_t address, uint64_t time)
{
    const struct module *found = NULL;
    for (unsigned i = 0; i < seen_count; i++) {
        const struct module *m = &seen[i];
        if (address < m->start || address >= m->end || time < m->loaded ||
            (m->unloaded != 0 && time >= m->unloaded))
            continue;
        EXPECT(found == NULL);
        found = m;
    }
    return found;
}

static void unload(void *plugin)
{
    struct modules_seen *before = modules_before_unload();
    EXPECT(before != NULL && dlclose(plugin) == 0);
    modules_after_unload(before);
}

/* The program, libc and the vdso, by the addresses of functions. */
static void test_present(void)
{
    EXPECT(heap_init(64 * MIB, true));
    clock_start();
    look();
    const struct module *self = module_of((uintptr_t)test_present, clock_uptime_ns());
    const struct module *libc = module_of((uintptr_t)dlsym(RTLD_DEFAULT, "qsort"),
                                          clock_uptime_ns());
    char path[MODULE_PATH_MAX] = "";
    EXPECT(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    EXPECT(self != NULL && strcmp(self->path, path) == 0 && self->unloaded == 0);
    EXPECT(libc != NULL && strstr(libc->path, "libc") != NULL && libc->build_id_size == 20);
    unsigned vdso = 0;
    for (unsigned i = 0; i < seen_count; i++)
        vdso += strcmp(seen[i].path, "[vdso]") == 0;
    EXPECT(vdso <= 1);
}

static uintptr_t load(int which, void **plugin)
{
    *plugin = dlopen(plugin_path[which], RTLD_NOW);
    return EXPECT(*plugin != NULL) ? (uintptr_t)dlsym(*plugin, "plugin_call") : 0;
}

/* An address and a time name one module, though both were at the same place. */
static void test_same_place(void)
{
    void *plugin;
    uintptr_t first = load(0, &plugin);
    uint64_t in_first = clock_uptime_ns();
    look();
    EXPECT(module_of(first, in_first) != NULL);
    struct module was = *module_of(first, in_first);
    unload(plugin);
    look();
    EXPECT(module_of(first, in_first) != NULL && module_of(first, clock_uptime_ns()) == NULL);
    uintptr_t second = load(1, &plugin);
    uint64_t in_second = clock_uptime_ns();
    EXPECT(second == first); /* or this test shows nothing */
    look();
    const struct module *a = module_of(first, in_first), *b = module_of(second, in_second);
    EXPECT(a != NULL && strcmp(a->path, plugin_path[0]) == 0);
    EXPECT(b != NULL && strcmp(b->path, plugin_path[1]) == 0);
    EXPECT(a->start == was.start && a->end == was.end && b->loaded == a->unloaded);
    EXPECT(a->build_id_size == was.build_id_size &&
           memcmp(a->build_id, was.build_id, sizeof was.build_id) == 0);
    unload(plugin);
    look();
    a = module_of(first, in_first), b = module_of(second, in_second);
    EXPECT(a != NULL && strcmp(a->path, plugin_path[0]) == 0);
    EXPECT(b != NULL && strcmp(b->path, plugin_path[1]) == 0);
    EXPECT(module_of(second, clock_uptime_ns()) == NULL);
}

static uint32_t tenants_with(uintptr_t address)
{
    uintptr_t stack[] = {(uintptr_t)test_present, address, (uintptr_t)dlopen};
    return modules_tenants(stack, 3);
}

/* .inv.first: another one at the place is told from the first; each is the same when it comes back.
 * Nobody was told of a place before test_same_place. */
static void test_tenants(void)
{
    void *plugin;
    uint32_t seen_of[2] = {0, 0};
    for (int round = 0; round < 3; round++)
        for (int which = 0; which < 2; which++) {
            uintptr_t at = load(which, &plugin);
            uint32_t tenants = tenants_with(at);
            EXPECT(round == 0 || tenants == seen_of[which]);
            EXPECT((tenants == 0) == (which == 0));
            EXPECT(tenants_with(at + 1) == tenants && tenants_with((uintptr_t)test_present) == 0);
            seen_of[which] = tenants;
            unload(plugin);
            EXPECT(tenants_with(at) != seen_of[0] && tenants_with(at) != seen_of[1]);
        }
}

/* It has gone, and comes back. */
static void test_gone(void)
{
    void *plugin;
    uintptr_t at = load(0, &plugin);
    uint64_t then = clock_uptime_ns();
    EXPECT(modules_gone(at, then) == NULL);
    unload(plugin);
    const struct module *gone = modules_gone(at, then);
    EXPECT(gone != NULL && strcmp(gone->path, plugin_path[0]) == 0);
    EXPECT(modules_gone(at, clock_uptime_ns()) == NULL);
    EXPECT(load(1, &plugin) == at && modules_gone(at, then) == gone);
    unload(plugin);
    EXPECT(load(0, &plugin) == at && modules_gone(at, then) == NULL);
    unload(plugin);
}

/* It stays, for another holds it. */
static void test_still_held(void)
{
    void *one, *two;
    uintptr_t at = load(0, &one);
    EXPECT(load(0, &two) == at);
    look();
    unsigned before = seen_count;
    unload(one);
    look();
    EXPECT(seen_count == before && module_of(at, clock_uptime_ns()) != NULL);
    unload(two);
    modules_after_unload(NULL);
}

static atomic_bool waits, unloaded, in_vain;

static void wait_for_unload(const struct module *m, void *data)
{
    (void)m;
    (void)data;
    atomic_store(&waits, true);
    for (int i = 0; i < 5000 && !atomic_load(&unloaded) && !atomic_load(&in_vain); i++)
        usleep(1000);
    if (!atomic_load(&unloaded))
        atomic_store(&in_vain, true);
}

static void *visit_slowly(void *data)
{
    modules_each(wait_for_unload, NULL);
    return data;
}

/* Who is told of them may take their time; .inv.append. */
static void test_nobody_waits(void)
{
    pthread_t thread;
    void *plugin;
    load(0, &plugin);
    EXPECT(pthread_create(&thread, NULL, visit_slowly, NULL) == 0);
    while (!atomic_load(&waits))
        usleep(1000);
    struct modules_seen *before = modules_before_unload();
    EXPECT(dlclose(plugin) == 0);
    modules_after_unload(before);
    atomic_store(&unloaded, true);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(!atomic_load(&in_vain));
}

static void count(const struct module *m, void *data)
{
    (void)m;
    ++*(unsigned *)data;
}

/* Last: a plugin comes and goes until there is no room for it. What was kept stays, and how many
 * were not is known. */
static void test_forgotten(void)
{
    enum { ROUNDS = 4096 + 10 };
    unsigned before = 0, after = 0;
    EXPECT(modules_forgotten() == 0 && modules_each(count, &before));
    for (unsigned i = 0; i < ROUNDS; i++) {
        void *plugin;
        load(0, &plugin);
        unload(plugin);
    }
    EXPECT(modules_each(count, &after));
    EXPECT(modules_forgotten() != 0 && after - before + modules_forgotten() == ROUNDS);
}

int main(int argc, char **argv)
{
    static const struct unit_test tests[] = {TEST(test_present), TEST(test_same_place),
                                             TEST(test_tenants), TEST(test_gone),
                                             TEST(test_still_held), TEST(test_nobody_waits),
                                             TEST(test_forgotten)};
    if (argc != 3)
        return 2;
    for (int i = 0; i < 2; i++)
        plugin_path[i] = realpath(argv[1 + i], NULL); /* as the maps have it */
    if (plugin_path[0] == NULL || plugin_path[1] == NULL)
        return 2;
    return unit_run(tests, sizeof tests / sizeof *tests);
}
