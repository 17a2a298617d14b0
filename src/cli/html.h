/* html.h -- a profile as a page: one file, which opens in a browser without a network. */
#ifndef GC_HTML_H
#define GC_HTML_H

#include "cli/command.h"

#include <stddef.h>
#include <stdio.h>

/* Writes the page for a profile that json.h has put into words. STATUS_OUTPUT, after one line to
 * standard error, where the command was built without the page. Whether all of it reached the file
 * is the caller's to ask, by fclose. */
enum status html_write(const char *json, size_t length, FILE *out);

#endif
