/* html_template.h -- the page of `report --html` without a profile, in the executable. Its size is
 * 0 where scripts/build-page could not make it. A size and not an end: a compiler takes for granted
 * that two arrays are never at the same place. */
#ifndef GC_CLI_HTML_TEMPLATE_H
#define GC_CLI_HTML_TEMPLATE_H

#include <stddef.h>

extern const char page_html[];
extern const size_t page_size;

#endif
