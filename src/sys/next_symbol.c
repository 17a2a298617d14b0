/* next_symbol.c -- reading the loader's list of objects and their hash tables.
 *
 * A start of the process needs some 140 functions of libc, and dlsym spent a quarter of what the
 * library adds to it: each call finds its caller, takes a lock, sets up a handler for errors. What
 * it looks at is public: the link maps in the order of the search, and each object's DT_GNU_HASH.
 *
 * What is not plain is left to dlsym: objects without such a table, functions that are chosen at
 * run time (IFUNC), and names that neither libc nor what stands before it has. An auditor
 * (LD_AUDIT) is not told of these look-ups.
 *
 * Source: the System V gABI, chapter 5 (dynamic linking); "ELF: symbol lookup via DT_HASH", and
 * glibc's elf/dl-lookup.c for what counts as a definition. */
#include "sys/next_symbol.h"

#include <dlfcn.h>
#include <string.h>

enum {
    BLOOM_BITS = 64,
    VERSION_HIDDEN = 0x8000, /* not the default version */
    NAMES_MOST = 128,
};

/* An object's tables. */
struct tables {
    const ElfW(Sym) *symbols;
    const char *strings;
    const ElfW(Half) *versions; /* NULL: it has none */
    const uint32_t *hash;       /* DT_GNU_HASH; NULL: it has none */
};

/* What is there for a name. */
enum definition { NONE, PLAIN, UNCLEAR };

static uint32_t hash_of(const char *name)
{
    uint32_t h = 5381;
    for (; *name != 0; name++)
        h = h * 33 + (uint8_t)*name;
    return h;
}

/* The loader has made them addresses, where it may write. */
static const void *table_at(const struct link_map *object, const ElfW(Dyn) *entry)
{
    ElfW(Addr) at = entry->d_un.d_ptr;
    return (const void *)(at < object->l_addr ? at + object->l_addr : at);
}

static struct tables tables_of(const struct link_map *object)
{
    struct tables t = {NULL, NULL, NULL, NULL};
    for (const ElfW(Dyn) *d = object->l_ld; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB)
            t.symbols = table_at(object, d);
        else if (d->d_tag == DT_STRTAB)
            t.strings = table_at(object, d);
        else if (d->d_tag == DT_VERSYM)
            t.versions = table_at(object, d);
        else if (d->d_tag == DT_GNU_HASH)
            t.hash = table_at(object, d);
    }
    return t;
}

static enum definition definition_of(const struct tables *t, uint32_t index)
{
    const ElfW(Sym) *s = &t->symbols[index];
    unsigned type = ELF64_ST_TYPE(s->st_info);
    bool hidden = t->versions != NULL && (t->versions[index] & VERSION_HIDDEN) != 0;
    if (s->st_shndx == SHN_UNDEF || s->st_value == 0 || hidden)
        return NONE;
    return type == STT_FUNC || type == STT_NOTYPE ? PLAIN : UNCLEAR;
}

/* *index: the symbol, if there is one. */
static enum definition look_up(const struct tables *t, const char *name, uint32_t hash,
                               uint32_t *index)
{
    uint32_t buckets = t->hash[0], first = t->hash[1], words = t->hash[2], shift = t->hash[3];
    const uint64_t *bloom = (const void *)(t->hash + 4);
    const uint32_t *bucket = (const uint32_t *)(bloom + words), *chain = bucket + buckets;
    uint64_t word = bloom[hash / BLOOM_BITS & (words - 1)];
    enum definition found = NONE;
    if ((word >> hash % BLOOM_BITS & word >> (hash >> shift) % BLOOM_BITS & 1) == 0)
        return NONE;
    uint32_t i = buckets == 0 ? 0 : bucket[hash % buckets], h = 0;
    for (; i >= first && i != 0 && found == NONE && (h & 1) == 0; i++) {
        h = chain[i - first];
        if ((h | 1) == (hash | 1) && strcmp(t->strings + t->symbols[i].st_name, name) == 0) {
            found = definition_of(t, i);
            *index = i;
        }
    }
    return found;
}

/* Names at [i] are those of symbols[i]; 0: it is found, or to be left alone. */
static void search(struct next_symbol *symbols, uint32_t *hashes, size_t count,
                   const struct link_map *object)
{
    struct tables t = tables_of(object);
    uint32_t index = 0;
    for (size_t i = 0; i < count; i++) {
        if (hashes[i] == 0)
            continue;
        enum definition found = t.hash == NULL || t.symbols == NULL || t.strings == NULL
                                    ? UNCLEAR
                                    : look_up(&t, symbols[i].name, hashes[i], &index);
        if (found == PLAIN) {
            symbols[i].address = (void *)(object->l_addr + t.symbols[index].st_value);
            symbols[i].object = object;
        }
        if (found != NONE)
            hashes[i] = 0;
    }
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* The kernel's own object is in the list, and is not searched. */
static bool is_kernels(const struct link_map *object)
{
    return begins_with(object->l_name, "linux-vdso") || begins_with(object->l_name, "linux-gate");
}

static bool is_libc(const struct link_map *object)
{
    const char *slash = strrchr(object->l_name, '/');
    return begins_with(slash == NULL ? object->l_name : slash + 1, "libc.so.");
}

static void find_some(struct next_symbol *symbols, size_t count, const struct link_map *object)
{
    uint32_t hashes[NAMES_MOST];
    for (size_t i = 0; i < count; i++) {
        symbols[i].address = NULL;
        symbols[i].object = NULL;
        hashes[i] = hash_of(symbols[i].name);
    }
    for (bool more = true; more && object != NULL; object = object->l_next)
        if (!is_kernels(object)) {
            search(symbols, hashes, count, object);
            more = !is_libc(object);
        }
}

void next_symbol_find(struct next_symbol *symbols, size_t count, const void *from)
{
    struct dl_find_object own;
    const struct link_map *first = NULL;
    if (_dl_find_object((void *)(uintptr_t)from, &own) == 0)
        first = own.dlfo_link_map->l_next;
    for (size_t i = 0; i < count; i += NAMES_MOST)
        find_some(symbols + i, size_min(count - i, NAMES_MOST), first);
}
