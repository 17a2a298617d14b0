/* sheet.h -- lines of text with a look, for a terminal or a file.
 *
 * Names come from other processes: control characters in them are replaced, so that they cannot
 * speak to the terminal. */
#ifndef GC_CLI_SHEET_H
#define GC_CLI_SHEET_H

#include <stddef.h>
#include <stdio.h>

enum look { LOOK_PLAIN, LOOK_TITLE, LOOK_COLUMNS, LOOK_GRAPH, LOOK_WARNING };

enum { SHEET_COLUMNS = 512 }; /* longer lines are cut */

struct sheet_line {
    enum look look;
    char text[SHEET_COLUMNS];
};

/* Zeros make an empty one. */
struct sheet {
    struct sheet_line *lines;
    size_t count, room;
};

void sheet_add(struct sheet *sheet, enum look look, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Keeps its memory. */
void sheet_clear(struct sheet *sheet);
void sheet_free(struct sheet *sheet);
void sheet_print(const struct sheet *sheet, FILE *out);

/* Replaces control characters. */
void sheet_tame(char *text);

#endif
