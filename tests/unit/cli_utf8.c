/* cli_utf8.c -- what is a character, and what is replaced. */
#include "cli/utf8.h"

#include "unit.h"

#include <stdlib.h>

static bool repairs(const char *from, const char *to)
{
    char *copy = utf8_repaired(from);
    bool same = strcmp(copy, to) == 0;
    free(copy);
    return same;
}

static void test_valid(void)
{
    EXPECT(utf8_valid(""));
    EXPECT(utf8_valid("a\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
    EXPECT(utf8_character("\xe2\x82\xac") == 3);
    EXPECT(utf8_character("") == 0);
}

static void test_invalid(void)
{
    EXPECT(!utf8_valid("\x80"));
    EXPECT(!utf8_valid("a\xc2"));             /* cut off */
    EXPECT(!utf8_valid("\xc0\x80"));          /* not the shortest form */
    EXPECT(!utf8_valid("\xe0\x9f\xbf"));
    EXPECT(!utf8_valid("\xf0\x8f\xbf\xbf"));
    EXPECT(!utf8_valid("\xed\xa0\x80"));      /* half of a pair */
    EXPECT(!utf8_valid("\xf4\x90\x80\x80"));  /* beyond the last one */
    EXPECT(!utf8_valid("\xff"));
}

static void test_repaired(void)
{
    EXPECT(repairs("plain", "plain"));
    EXPECT(repairs("a\xff" "b", "a\xef\xbf\xbd" "b"));
    EXPECT(repairs("\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"));
}

UNIT_MAIN(TEST(test_valid), TEST(test_invalid), TEST(test_repaired))
