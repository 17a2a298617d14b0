/* sys_next_symbol.c -- every name means what it means to dlsym(RTLD_NEXT). */
#include "sys/next_symbol.h"

#include "unit.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MOST = 4096 };

static struct next_symbol symbols[NAMES_MOST];
static size_t count;

static const void *entry_of(const struct link_map *object, ElfW(Sxword) tag)
{
    const ElfW(Dyn) *d = object->l_ld;
    while (d->d_tag != tag && d->d_tag != DT_NULL)
        d++;
    return d->d_tag == tag ? (const void *)d->d_un.d_ptr : NULL;
}

static const struct link_map *libc(void)
{
    struct dl_find_object o;
    return _dl_find_object((void *)(uintptr_t)strtol, &o) == 0 ? o.dlfo_link_map : NULL;
}

/* All names of libc's, read from its tables in order; their strings follow the symbols. */
static void collect(void)
{
    const ElfW(Sym) *s = entry_of(libc(), DT_SYMTAB);
    const char *strings = entry_of(libc(), DT_STRTAB);
    if (!EXPECT(s != NULL && strings != NULL))
        return;
    for (s++; (const char *)s < strings && count < NAMES_MOST; s++)
        if (s->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(s->st_info) != STT_TLS)
            symbols[count++].name = strings + s->st_name;
}

static void test_all_of_libc(void)
{
    size_t found = 0, functions = 0;
    collect();
    next_symbol_find(symbols, count, &count);
    for (size_t i = 0; i < count; i++) {
        void *expected = dlsym(RTLD_NEXT, symbols[i].name);
        EXPECT(symbols[i].address == NULL || symbols[i].address == expected);
        EXPECT((symbols[i].address == NULL) == (symbols[i].object == NULL));
        found += symbols[i].address != NULL;
        functions += expected != NULL;
    }
    EXPECT(count > 2000 && found > functions * 8 / 10);
}

/* Those with two versions, of which the hidden one comes first in glibc 2.36. */
static void test_versions(void)
{
    struct next_symbol two[] = {{.name = "pthread_cond_wait"}, {.name = "pthread_create"},
                                {.name = "memcpy"}, {.name = "sem_wait"}};
    next_symbol_find(two, GC_COUNT(two), &count);
    EXPECT(two[0].address != NULL && two[0].address == dlsym(RTLD_NEXT, "pthread_cond_wait"));
    EXPECT(two[1].address == dlsym(RTLD_NEXT, "pthread_create") && two[1].object == libc());
    EXPECT(two[2].address == NULL); /* chosen at run time */
    EXPECT(two[3].address == dlsym(RTLD_NEXT, "sem_wait"));
}

static void test_unknown(void)
{
    struct next_symbol none[] = {{.name = "no_such_name"}, {.name = ""}, {.name = "main"}};
    next_symbol_find(none, GC_COUNT(none), &count);
    for (size_t i = 0; i < GC_COUNT(none); i++)
        EXPECT(none[i].address == NULL && none[i].object == NULL);
    struct next_symbol one = {.name = "read"};
    next_symbol_find(&one, 1, (void *)16);
    EXPECT(one.address == NULL);
    next_symbol_find(&one, 1, &count);
    EXPECT(one.address == dlsym(RTLD_NEXT, "read"));
}

UNIT_MAIN(TEST(test_all_of_libc), TEST(test_versions), TEST(test_unknown))
