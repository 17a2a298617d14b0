/* cli_symbolize.c -- this program names its own functions. Files, stripped programs and plugins:
 * tests/cli/cases_report.py. */
#include "cli/symbolize.h"

#include "unit.h"

#include <link.h>
#include <stdlib.h>
#include <unistd.h>

static char own[4096];

static uint64_t bias_of_program(void)
{
    struct link_map *map = _r_debug.r_map;
    return map->l_addr;
}

static struct profile_module program(uint64_t loaded, uint64_t unloaded, const char *build_id)
{
    own[readlink("/proc/self/exe", own, sizeof(own) - 1)] = 0;
    return (struct profile_module){bias_of_program(), bias_of_program() + (1 << 24), loaded,
                                   unloaded, build_id, own};
}

static __attribute__((noinline)) uint64_t here(void)
{
    return (uint64_t)__builtin_return_address(0);
}

static __attribute__((noinline)) uint64_t caller(void)
{
    uint64_t pc = here();
    __asm__ volatile("" ::: "memory");
    return pc;
}

static void test_named(void)
{
    struct profile_module module = program(0, 0, "");
    struct symbolizer *s = symbolizer_open(&module, 1, 0);
    uint64_t pc = caller();
    struct frames f = symbolize(s, pc, 0);
    EXPECT(f.count >= 1 && f.items[0].function != NULL);
    EXPECT(strcmp(f.items[f.count - 1].function, "caller") == 0);
    EXPECT(f.items[0].file != NULL && strstr(f.items[0].file, "cli_symbolize.c") != NULL);
    EXPECT(f.items[0].pc == pc - 1 && f.items[0].offset == pc - 1 - module.start);
    EXPECT(symbolize(s, pc, 5).items == f.items); /* the memo */
    symbolizer_close(s);
}

static void test_other_build(void)
{
    struct profile_module module = program(0, 0, "0123456789012345678901234567890123456789");
    struct symbolizer *s = symbolizer_open(&module, 1, 0);
    struct frames f = symbolize(s, caller(), 0);
    EXPECT(f.count == 1 && f.items[0].function == NULL && f.items[0].module == &module);
    symbolizer_close(s);
}

/* .inv.time */
static void test_times(void)
{
    const struct profile_module modules[] = {{0x10000, 0x20000, 0, 10, "", "a"},
                                             {0x10000, 0x20000, 20, 0, "", "b"},
                                             {0x30000, 0x40000, 50, 0, "", "c"}};
    struct symbolizer *s = symbolizer_open(modules, 3, 0);
    EXPECT(symbolize(s, 0x10001, 5).items[0].module == &modules[0]);
    EXPECT(symbolize(s, 0x10001, 10).items[0].module == NULL);
    EXPECT(symbolize(s, 0x10001, 20).items[0].module == &modules[1]);
    EXPECT(symbolize(s, 0x30001, 5).items[0].module == &modules[2]);
    EXPECT(symbolize(s, 0x10000, 5).items[0].module == NULL); /* a call that ends the module below */
    EXPECT(symbolize(s, 0x20000, 5).items[0].module == &modules[0]);
    EXPECT(symbolize(s, 0, 0).count == 1);
    symbolizer_close(s);
}

UNIT_MAIN(TEST(test_named), TEST(test_other_build), TEST(test_times))
