/* modules.c -- ELF modules that are, or were, in memory.
 *
 * The ones that are there stand in /proc/self/maps, which may be read on any thread at any time;
 * libc's list of them is guarded by the loader's lock, and whoever holds that may wait for us. Of
 * the ones that go, the list is taken before and after dlclose, on the thread that calls it: those
 * that have vanished are kept, so that functions of a plugin keep their names.
 *
 *   .inv.append  What was added stays as it is, where it is: it may be read without the lock. So
 *                whoever is told of modules may take their time, and dlclose and fork do not wait.
 *   .inv.place   Where a module was unloaded from, whatever is there later was loaded later: its
 *                `loaded` is that time. So an address and a time name one module.
 *
 *   .inv.first   A place is a range that a module went from, with the identity of who was there
 *                first when it was noted. An identity is of path and layout: reading more (the
 *                build id) while somebody allocates would cost more than it tells, for where the
 *                layout is the same the offsets mean the same. It depends on nothing else, so a
 *                plugin that comes and goes for ever is one tenant, and its stacks are few.
 *
 * A mapping is a module's if it begins with an ELF header at offset 0 of a file, and some mapping
 * of the same file behind it can be executed. */
#include "watch/modules.h"

#include "base/atomic.h"
#include "base/rng.h"
#include "heap/meta.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/maps.h"
#include "sys/mem.h"
#include "sys/proc_mem.h"
#include "watch/symbol.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

enum {
    CLOSED_MOST = 4096,      /* more are forgotten, and that is told: modules_forgotten() */
    PLACES_MOST = 256,       /* the same; each is looked at for each frame of a capture near them */
    CHUNK = 64,              /* of them, in one piece of memory */
    SEEN_MOST = 1024,        /* by one dlclose */
    HEADERS_MOST = 64,
    NOTES_MOST = 1024,
    MAPS_BUFFER = 16 << 10,
};

struct place {
    uintptr_t start, end;
    uint32_t first; /* identity: .inv.first */
};

static struct {
    struct lock lock;
    struct module *closed[CLOSED_MOST / CHUNK];
    _Atomic uint32_t closed_count;
    _Atomic uint64_t forgotten;
    struct place places[PLACES_MOST];
    _Atomic uint32_t place_count;
    _Atomic uintptr_t places_low, places_high; /* all are between; before the count */
} modules = {.lock = LOCK_INIT(MODULES)};

/* ---- what stands in a module's memory ---- */

static void read_notes(const Elf64_Phdr *header, uintptr_t bias, struct module *m)
{
    _Alignas(8) char notes[NOTES_MOST];
    size_t size = size_min(header->p_memsz, sizeof(notes)), length;
    if (m->build_id_size != 0 || !proc_mem_copy(notes, bias + header->p_vaddr, size))
        return;
    const uint8_t *id = symbol_build_id(notes, size, &length);
    if (id == NULL)
        return;
    m->build_id_size = (uint32_t)size_min(length, MODULE_BUILD_ID_MAX);
    memcpy(m->build_id, id, m->build_id_size);
}

/* The lowest page of its segments is at m->start. */
static void read_headers(const Elf64_Phdr *headers, unsigned count, struct module *m)
{
    uintptr_t low = UINTPTR_MAX, high = 0;
    for (unsigned i = 0; i < count; i++) {
        if (headers[i].p_type != PT_LOAD)
            continue;
        low = headers[i].p_vaddr < low ? headers[i].p_vaddr : low;
        high = size_max(high, headers[i].p_vaddr + headers[i].p_memsz);
    }
    m->end = m->start;
    if (high == 0)
        return;
    uintptr_t bias = m->start - align_down(low, PAGE_SIZE);
    m->end = align_up(bias + high, PAGE_SIZE);
    for (unsigned i = 0; i < count; i++)
        if (headers[i].p_type == PT_NOTE)
            read_notes(&headers[i], bias, m);
}

static void set_path(struct module *m, const char *path)
{
    size_t length = size_min(strlen(path), MODULE_PATH_MAX - 1);
    memcpy(m->path, path, length);
    m->path[length] = 0;
}

static bool read_module(uintptr_t start, const char *path, struct module *m)
{
    Elf64_Ehdr header;
    Elf64_Phdr headers[HEADERS_MOST];
    if (!proc_mem_copy(&header, start, sizeof(header)) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > HEADERS_MOST ||
        !proc_mem_copy(headers, start + header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr)))
        return false;
    *m = (struct module){.start = start};
    set_path(m, path);
    read_headers(headers, header.e_phnum, m);
    return m->end != start;
}

/* ---- those that went ---- */

static struct module *closed_at(uint32_t i)
{
    return &modules.closed[i / CHUNK][i % CHUNK];
}

/* 1: nobody's. */
static uint32_t identity_at(uintptr_t address)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)address, &found) != 0)
        return 1;
    uint64_t h = (uintptr_t)found.dlfo_map_end - (uintptr_t)found.dlfo_map_start;
    h = mix64(h ^ ((uintptr_t)found.dlfo_eh_frame - (uintptr_t)found.dlfo_map_start) << 32);
    for (const char *c = found.dlfo_link_map->l_name; *c != 0; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    return (uint32_t)(mix64(h) >> 32) | 2;
}

static uint32_t tenant_at(uintptr_t address, uint32_t places)
{
    for (uint32_t i = 0; i < places; i++) {
        const struct place *p = &modules.places[i];
        if (address - p->start >= p->end - p->start)
            continue;
        uint32_t now = identity_at(address);
        return now == p->first ? 0 : now;
    }
    return 0;
}

uint32_t modules_tenants(const uintptr_t *addresses, unsigned count)
{
    uint32_t places = acquire_load(&modules.place_count);
    uint64_t tenants = 0;
    if (places == 0)
        return 0;
    uintptr_t low = relaxed_load(&modules.places_low);
    uintptr_t span = relaxed_load(&modules.places_high) - low;
    for (unsigned i = 0; i < count; i++) {
        uint32_t tenant = addresses[i] - low < span ? tenant_at(addresses[i], places) : 0;
        if (tenant != 0)
            tenants = mix64(tenants ^ tenant ^ (uint64_t)i << 32);
    }
    return tenants == 0 ? 0 : (uint32_t)(tenants >> 32) | 1;
}

const struct module *modules_gone(uintptr_t address, uint64_t time)
{
    uint32_t count = acquire_load(&modules.closed_count);
    for (uint32_t i = 0; i < count; i++) { /* .inv.append */
        const struct module *m = closed_at(i);
        if (address - m->start < m->end - m->start && m->loaded <= time && time < m->unloaded)
            return identity_at(address) != m->identity ? m : NULL;
    }
    return NULL;
}

/* False: there is no room. MODULES lock held. */
static bool add_place(const struct module *m)
{
    uint32_t count = relaxed_load(&modules.place_count);
    for (uint32_t i = 0; i < count; i++)
        if (modules.places[i].start == m->start && modules.places[i].end == m->end)
            return true; /* .inv.first */
    if (count == PLACES_MOST)
        return false;
    modules.places[count] = (struct place){m->start, m->end, m->identity};
    if (count == 0 || m->start < relaxed_load(&modules.places_low))
        relaxed_store(&modules.places_low, m->start);
    if (m->end > relaxed_load(&modules.places_high))
        relaxed_store(&modules.places_high, m->end);
    release_store(&modules.place_count, count + 1);
    return true;
}

/* .inv.place. MODULES lock held. */
static uint64_t when_free(const struct module *m)
{
    uint64_t since = 0;
    for (uint32_t i = 0; i < relaxed_load(&modules.closed_count); i++) {
        const struct module *c = closed_at(i);
        if (c->start < m->end && m->start < c->end && c->unloaded > since)
            since = c->unloaded;
    }
    return since;
}

/* The same. */
static bool add_closed(const struct module *m)
{
    uint32_t i = relaxed_load(&modules.closed_count);
    if (i == CLOSED_MOST)
        return false;
    if (modules.closed[i / CHUNK] == NULL)
        modules.closed[i / CHUNK] = meta_alloc(CHUNK * sizeof(struct module));
    if (modules.closed[i / CHUNK] == NULL)
        return false;
    *closed_at(i) = *m;
    closed_at(i)->loaded = when_free(m);
    closed_at(i)->unloaded = clock_uptime_ns();
    release_store(&modules.closed_count, i + 1);
    return add_place(m);
}

static void set_loaded(struct module *m)
{
    lock_acquire(&modules.lock);
    m->loaded = when_free(m);
    lock_release(&modules.lock);
}

/* The modules before an unload, in a mapping of their own. */
struct modules_seen {
    uint32_t count;
    struct module module[SEEN_MOST];
};

static int see_module(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    struct modules_seen *seen = data;
    uintptr_t low = UINTPTR_MAX;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_vaddr < low)
            low = info->dlpi_phdr[i].p_vaddr;
    if (low == UINTPTR_MAX || info->dlpi_name[0] == 0) /* the program stays */
        return 0;
    struct module *m = &seen->module[seen->count++];
    m->start = info->dlpi_addr + align_down(low, PAGE_SIZE);
    set_path(m, info->dlpi_name);
    read_headers(info->dlpi_phdr, info->dlpi_phnum, m);
    m->identity = identity_at(m->start);
    return seen->count == SEEN_MOST;
}

/* Ours is not held while the loader's lock is waited for: whoever has that may want ours. */
struct modules_seen *modules_before_unload(void)
{
    struct modules_seen *seen = mem_map(align_up(sizeof(*seen), PAGE_SIZE));
    if (seen != NULL)
        dl_iterate_phdr(see_module, seen);
    return seen;
}

static int still_there(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    struct modules_seen *seen = data;
    uintptr_t at = info->dlpi_addr;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            at += info->dlpi_phdr[i].p_vaddr;
            break;
        }
    for (uint32_t i = 0; i < seen->count; i++)
        if (at - seen->module[i].start < seen->module[i].end - seen->module[i].start)
            seen->module[i].end = seen->module[i].start;
    return 0;
}

void modules_after_unload(struct modules_seen *seen)
{
    if (seen == NULL)
        return;
    dl_iterate_phdr(still_there, seen);
    lock_acquire(&modules.lock);
    for (uint32_t i = 0; i < seen->count; i++)
        if (seen->module[i].end != seen->module[i].start && !add_closed(&seen->module[i]))
            relaxed_add(&modules.forgotten, 1);
    lock_release(&modules.lock);
    mem_release(seen, align_up(sizeof(*seen), PAGE_SIZE));
}

/* ---- those that are there ---- */

static bool each_present(struct maps_reader *reader, modules_visit_fn *visit, void *data)
{
    struct mapping map;
    struct module m;
    uint64_t inode = 0; /* of the file whose header was at the beginning of the last candidate */
    while (maps_next(reader, &map)) {
        if (map.executable && inode != 0 && map.inode == inode) {
            set_loaded(&m);
            visit(&m, data);
            inode = 0;
        } else if (map.offset == 0 && map.readable && map.inode != 0) {
            inode = read_module(map.start, map.name, &m) ? map.inode : 0;
            if (inode != 0 && map.executable) {
                set_loaded(&m);
                visit(&m, data);
                inode = 0;
            }
        } else if (strcmp(map.name, "[vdso]") == 0 && read_module(map.start, map.name, &m)) {
            visit(&m, data);
        }
    }
    return !reader->failed;
}

bool modules_each(modules_visit_fn *visit, void *data)
{
    struct maps_reader reader;
    char *buffer = mem_map(MAPS_BUFFER);
    if (buffer == NULL)
        return false;
    uint32_t closed = acquire_load(&modules.closed_count);
    for (uint32_t i = 0; i < closed; i++) /* .inv.append */
        visit(closed_at(i), data);
    bool whole = maps_open(&reader, buffer, MAPS_BUFFER);
    if (whole) {
        whole = each_present(&reader, visit, data);
        maps_close(&reader);
    }
    mem_release(buffer, MAPS_BUFFER);
    return whole;
}

uint64_t modules_forgotten(void)
{
    return relaxed_load(&modules.forgotten);
}

struct lock *modules_lock(void)
{
    return &modules.lock;
}
