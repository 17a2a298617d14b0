/* paint.h -- what `gcmalloc top` shows, as lines. */
#ifndef GC_CLI_PAINT_H
#define GC_CLI_PAINT_H

#include "cli/names.h"
#include "cli/sheet.h"
#include "cli/view.h"

/* All for `width` columns. */
void paint_header(struct sheet *sheet, const struct view *view, int width);
/* The heap over the time that the page tells of. */
void paint_graph(struct sheet *sheet, const struct view *view, int width);
/* Tables; their first line names the columns, each line behind it is a row. */
void paint_sites(struct sheet *sheet, const struct view *view, struct names *names);
void paint_cycles(struct sheet *sheet, const struct view *view, unsigned most);
void paint_threads(struct sheet *sheet, const struct view *view);
void paint_stack(struct sheet *sheet, const struct view_site *site, struct names *names);

#endif
