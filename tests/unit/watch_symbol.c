/* watch_symbol.c -- names against what we know of this program, and against dladdr. */
#include "watch/symbol.h"

#include "sys/clock.h"
#include "unit.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>

static struct symbol_reader reader;
static struct symbol found;

__attribute__((noinline)) static int hidden_function(int x)
{
    __asm__ volatile("" : "+r"(x));
    return x + 1;
}

static bool find(uintptr_t pc)
{
    return symbol_find(&reader, pc, &found);
}

static void test_own(void)
{
    char self[SYMBOL_PATH_MAX];
    hidden_function(1);
    EXPECT(find((uintptr_t)hidden_function + 1));
    EXPECT_TEXT(found.function, "hidden_function"); /* static: not in .dynsym */
    EXPECT(found.offset == 1);
    if (EXPECT(realpath("/proc/self/exe", self) != NULL))
        EXPECT_TEXT(found.module, self);
    struct link_map *map;
    void *handle = dlopen(NULL, RTLD_NOW);
    dlinfo(handle, RTLD_DI_LINKMAP, &map);
    EXPECT(found.module_offset == (uintptr_t)hidden_function + 1 - map->l_addr);
    EXPECT(strlen(found.build_id) == 40);
    EXPECT(strspn(found.build_id, "0123456789abcdef") == 40);
}

static void test_library(void)
{
    Dl_info info;
    void *function = dlsym(RTLD_DEFAULT, "qsort");
    EXPECT(find((uintptr_t)function + 3));
    EXPECT_TEXT(found.function, "qsort");
    EXPECT(found.offset == 3);
    if (EXPECT(dladdr(function, &info)))
        EXPECT_TEXT(found.module, info.dli_fname);
    EXPECT(found.module_offset == (uintptr_t)function + 3 - (uintptr_t)info.dli_fbase);
}

static void test_start(void)
{
    uintptr_t entry = getauxval(AT_ENTRY);
    EXPECT(find(entry + 5));
    EXPECT_TEXT(found.function, "_start");
}

static void test_vdso(void)
{
    uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
    if (!vdso)
        return;
    const Elf64_Ehdr *header = (const void *)vdso;
    EXPECT(find(vdso + header->e_entry) || header->e_entry == 0);
    EXPECT(find(vdso));
    EXPECT(strstr(found.module, "vdso") != NULL && found.module_offset == 0);
}

static void test_nowhere(void)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(!find((uintptr_t)page));
    EXPECT_TEXT(found.function, "");
    EXPECT_TEXT(found.module, "");
    EXPECT(!find(0));
    EXPECT(!find(UINTPTR_MAX));
    munmap(page, 4096);
}

static char *fake_demangle(const char *mangled, char *buffer, size_t *length, int *status)
{
    (void)buffer;
    (void)length;
    *status = strcmp(mangled, "_ZN3app4workEi") == 0 ? 0 : -2;
    return *status == 0 ? strdup("app::work(int)") : NULL;
}

int mangled(int x) __asm__("_ZN3app4workEi");
__attribute__((noinline)) int mangled(int x)
{
    __asm__ volatile("" : "+r"(x));
    return x;
}

static void test_demangle(void)
{
    EXPECT(find((uintptr_t)mangled));
    EXPECT_TEXT(found.function, "_ZN3app4workEi");
    symbol_set_demangler(fake_demangle, free);
    EXPECT(find((uintptr_t)mangled));
    EXPECT_TEXT(found.function, "app::work(int)");
    EXPECT(find((uintptr_t)hidden_function));
    EXPECT_TEXT(found.function, "hidden_function");
    symbol_set_demangler(NULL, NULL);
}

/* Every exported function of libc, against dladdr (aliases share an address). */
static void test_all_of_libc(void)
{
    static const char *const names[] = {"malloc", "free", "printf", "pthread_create", "memcpy",
                                        "strtol", "fopen", "getenv", "read", "write", "abort"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Dl_info info;
        void *function = dlsym(RTLD_DEFAULT, names[i]);
        if (!EXPECT(function && dladdr(function, &info)) || !info.dli_saddr)
            continue;
        EXPECT(find((uintptr_t)function));
        EXPECT(found.function[0] && found.offset == 0);
    }
}

/* What is cheap to know is there, and all that was too late is counted, by two readers too. */
static void test_time_is_up(void)
{
    struct symbol_time time = symbol_time_start(1);
    static struct symbol_reader late;
    struct symbol s;
    while (clock_now_ns() <= time.give_up)
        ;
    for (unsigned i = 1; i <= 4; i++) {
        symbol_reader_open(&late, &time);
        EXPECT(symbol_find(&late, (uintptr_t)hidden_function + 1, &s) && time.left_out == i);
        symbol_reader_close(&late);
    }
    EXPECT(find((uintptr_t)hidden_function + 1));
    EXPECT(s.function[0] == 0 && s.module_offset == found.module_offset);
    EXPECT_TEXT(s.module, found.module);
    EXPECT_TEXT(s.build_id, found.build_id);
    time = symbol_time_start(3600000000000u);
    symbol_reader_open(&late, &time);
    EXPECT(symbol_find(&late, (uintptr_t)hidden_function + 1, &s) && time.left_out == 0);
    EXPECT_TEXT(s.function, "hidden_function");
    symbol_reader_close(&late);
    EXPECT(symbol_time_start(0).give_up == 0);
}

static void test_cost(void)
{
    struct timespec a, b;
    uintptr_t function = (uintptr_t)dlsym(RTLD_DEFAULT, "qsort");
    symbol_reader_close(&reader);
    symbol_reader_open(&reader, NULL);
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 1000; i++)
        find(function + (uintptr_t)i * 16);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("      %.1f us a new address of libc\n",
           ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e6);
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 1000; i++)
        find(function);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("      %.1f us an address asked before\n",
           ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e6);
}

int main(void)
{
    static const struct unit_test tests[] = {
        TEST(test_own),     TEST(test_library),  TEST(test_start),       TEST(test_vdso),
        TEST(test_nowhere), TEST(test_demangle), TEST(test_all_of_libc), TEST(test_time_is_up),
        TEST(test_cost),
    };
    symbol_reader_open(&reader, NULL);
    int failed = unit_run(tests, sizeof tests / sizeof *tests);
    symbol_reader_close(&reader);
    return failed;
}
