/* base_pattern.c -- LeakSanitizer's patterns. */
#include "base/pattern.h"

#include "unit.h"

static void test_anywhere(void)
{
    EXPECT(pattern_matches("oo", "foobar"));
    EXPECT(pattern_matches("", "foobar"));
    EXPECT(!pattern_matches("", ""));
    EXPECT(!pattern_matches("fob", "foobar"));
}

static void test_ends(void)
{
    EXPECT(pattern_matches("^foo", "foobar"));
    EXPECT(!pattern_matches("^oo", "foobar"));
    EXPECT(pattern_matches("bar$", "foobar"));
    EXPECT(!pattern_matches("foo$", "foobar"));
    EXPECT(pattern_matches("ba$", "baba")); /* not the first one, but the last */
    EXPECT(pattern_matches("^foobar$", "foobar"));
    EXPECT(!pattern_matches("^$", "foobar"));
}

static void test_stars(void)
{
    EXPECT(pattern_matches("f*r", "foobar"));
    EXPECT(pattern_matches("^f*o*r$", "foobar"));
    EXPECT(pattern_matches("^*b*b*b$", "abbabb"));
    EXPECT(!pattern_matches("f*x", "foobar"));
    EXPECT(!pattern_matches("^f*a$", "foobar"));
    EXPECT(pattern_matches("**", "x"));
}

UNIT_MAIN(TEST(test_anywhere), TEST(test_ends), TEST(test_stars))
