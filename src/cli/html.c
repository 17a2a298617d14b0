/* html.c -- a profile as a page.
 *
 * The page is made elsewhere (src/cli/web, scripts/build-page) and stands in the executable as it
 * is; here the profile takes the place of one mark in it. The page is nothing but its own text
 * then, and nothing is computed twice: what is counted, summed or drawn is the page's business.
 *
 *   .inv.inside  No name in a profile can end the element that the profile stands in: in JSON, '<'
 *                stands in strings alone, and there it may be written \u003c. What JavaScript takes
 *                for the end of a line (U+2028, U+2029) is written so, too. */
#include "cli/html.h"

#include "cli/fault.h"
#include "cli/html_template.h"

#include <string.h>

static const char mark[] = "@PROFILE@";

/* Bytes of text from `at` that cannot stay as they are; 0: it can. */
static size_t escape_at(const char *at, const char *end, const char **escaped)
{
    if (*at == '<')
        return *escaped = "\\u003c", 1;
    if (end - at < 3 || memcmp(at, "\xe2\x80", 2) != 0)
        return 0;
    if (at[2] == '\xa8')
        return *escaped = "\\u2028", 3;
    if (at[2] == '\xa9')
        return *escaped = "\\u2029", 3;
    return 0;
}

/* The text may have 100 MB: what stays is written in one piece, and not by the byte. */
static void write_inside(const char *json, size_t length, FILE *out)
{
    const char *end = json + length, *done = json;
    for (const char *at = json; at < end; at++) {
        const char *escaped;
        size_t taken = *at == '<' || *at == '\xe2' ? escape_at(at, end, &escaped) : 0;
        if (taken == 0)
            continue;
        fwrite(done, 1, (size_t) (at - done), out);
        fputs(escaped, out);
        at += taken - 1;
        done = at + 1;
    }
    fwrite(done, 1, (size_t) (end - done), out);
}

enum status html_write(const char *json, size_t length, FILE *out)
{
    const char *at = memmem(page_html, page_size, mark, sizeof(mark) - 1);
    if (at == NULL)
        return fault(STATUS_OUTPUT, "there is no page: the command was built without npm, see "
                                    "scripts/build-page");
    const char *rest = at + sizeof(mark) - 1, *end = page_html + page_size;
    fwrite(page_html, 1, (size_t) (at - page_html), out);
    write_inside(json, length, out);
    fwrite(rest, 1, (size_t) (end - rest), out);
    return STATUS_OK;
}
