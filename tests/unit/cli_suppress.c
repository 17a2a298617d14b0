/* cli_suppress.c -- LeakSanitizer's patterns. */
#include "cli/suppress.h"

#include "unit.h"

static void test_anywhere(void)
{
    EXPECT(suppress_matches("oo", "foobar"));
    EXPECT(suppress_matches("", "foobar"));
    EXPECT(!suppress_matches("", ""));
    EXPECT(!suppress_matches("fob", "foobar"));
}

static void test_ends(void)
{
    EXPECT(suppress_matches("^foo", "foobar"));
    EXPECT(!suppress_matches("^oo", "foobar"));
    EXPECT(suppress_matches("bar$", "foobar"));
    EXPECT(!suppress_matches("foo$", "foobar"));
    EXPECT(suppress_matches("ba$", "baba")); /* not the first one, but the last */
    EXPECT(suppress_matches("^foobar$", "foobar"));
    EXPECT(!suppress_matches("^$", "foobar"));
}

static void test_stars(void)
{
    EXPECT(suppress_matches("f*r", "foobar"));
    EXPECT(suppress_matches("^f*o*r$", "foobar"));
    EXPECT(suppress_matches("^*b*b*b$", "abbabb"));
    EXPECT(!suppress_matches("f*x", "foobar"));
    EXPECT(!suppress_matches("^f*a$", "foobar"));
    EXPECT(suppress_matches("**", "x"));
}

UNIT_MAIN(TEST(test_anywhere), TEST(test_ends), TEST(test_stars))
