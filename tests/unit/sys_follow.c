/* sys_follow.c -- the library's name goes, the others stay. */
#include "sys/follow.h"

#include "unit.h"

static void expect(const char *before, const char *after)
{
    char first[] = "A=libgcmalloc.so", last[] = "LD_PRELOADS=libgcmalloc.so", list[200];
    char *environment[] = {first, list, last, NULL};
    snprintf(list, sizeof list, "LD_PRELOAD=%s", before);
    follow_stop(environment, "libgcmalloc.so");
    EXPECT(strncmp(list, "LD_PRELOAD=", 11) == 0);
    EXPECT_TEXT(list + 11, after);
    EXPECT_TEXT(first, "A=libgcmalloc.so");
    EXPECT_TEXT(last, "LD_PRELOADS=libgcmalloc.so");
}

static void test_lists(void)
{
    expect("", "");
    expect("libgcmalloc.so", "");
    expect("/usr/lib/libgcmalloc.so", "");
    expect("/usr/lib/libgcmalloc.so.1", "/usr/lib/libgcmalloc.so.1");
    expect("/usr/lib/other-libgcmalloc.so", "/usr/lib/other-libgcmalloc.so");
    expect("a.so:libgcmalloc.so", "a.so");
    expect("libgcmalloc.so:/x/b.so", "/x/b.so");
    expect("a.so /x/libgcmalloc.so b.so", "a.so b.so");
    expect("a.so::libgcmalloc.so: /y/libgcmalloc.so  b.so:", "a.so::b.so");
    expect("a.so:b.so", "a.so:b.so");
}

static void test_none(void)
{
    char *environment[] = {NULL};
    follow_stop(environment, "libgcmalloc.so");
    EXPECT(environment[0] == NULL);
}

UNIT_MAIN(TEST(test_lists), TEST(test_none))
