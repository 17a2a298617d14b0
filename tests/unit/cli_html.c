/* cli_html.c -- a profile in a page: nothing in it gets out of its element. */
#include "cli/html.h"

#include "unit.h"

#include <stdlib.h>

/* In the place of src/cli/html_template.S. */
const char page_html[] = "<a>@PROFILE@</a> @PROFILE@";
size_t page_size = sizeof(page_html) - 1;

static void expect(const char *json, const char *inside)
{
    char want[256], *got = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&got, &size);
    EXPECT(html_write(json, strlen(json), out) == STATUS_OK);
    EXPECT(fclose(out) == 0);
    snprintf(want, sizeof(want), "<a>%s</a> @PROFILE@", inside);
    EXPECT_TEXT(got, want);
    free(got);
}

static void test_plain(void)
{
    expect("", "");
    expect("{\"a\":[1,2]}", "{\"a\":[1,2]}");
    expect("\"\xc3\xa9\xe2\x82\xac\xe2\x80\x9c\"", "\"\xc3\xa9\xe2\x82\xac\xe2\x80\x9c\"");
}

static void test_escaped(void)
{
    expect("\"</script><!--\"", "\"\\u003c/script>\\u003c!--\"");
    expect("<", "\\u003c");
    expect("\"a\xe2\x80\xa8z\xe2\x80\xa9\"", "\"a\\u2028z\\u2029\"");
    expect("<<\xe2\x80\xa8<", "\\u003c\\u003c\\u2028\\u003c");
}

/* The first bytes of what would be escaped, at the very end. */
static void test_cut(void)
{
    expect("\xe2", "\xe2");
    expect("x\xe2\x80", "x\xe2\x80");
    expect("\xe2\xe2\x80\xa8", "\xe2\\u2028");
}

/* The mark in a profile is a name like any other. */
static void test_mark(void)
{
    expect("\"@PROFILE@\"", "\"@PROFILE@\"");
}

static void test_no_page(void)
{
    char *text = NULL;
    size_t size = 0, whole = page_size;
    FILE *out = open_memstream(&text, &size);
    page_size = 0;
    EXPECT(html_write("{}", 2, out) == STATUS_OUTPUT);
    page_size = whole;
    EXPECT(fclose(out) == 0 && size == 0);
    free(text);
}

UNIT_MAIN(TEST(test_plain), TEST(test_escaped), TEST(test_cut), TEST(test_mark), TEST(test_no_page))
