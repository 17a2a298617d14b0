/* screen.h -- the terminal: lines out, keys in.
 *
 * While the screen is there, what is written to standard error would tear it: it is held, shown in
 * the message line, and what was not shown comes out when the screen has ended.
 *
 * One screen at a time. */
#ifndef GC_CLI_SCREEN_H
#define GC_CLI_SCREEN_H

#include "cli/command.h"
#include "cli/sheet.h"

#include <stdbool.h>
#include <stddef.h>

enum screen_key {
    SCREEN_NOTHING = -1, /* none is waiting */
    /* Others than characters, which stand for themselves. */
    SCREEN_UP = 0x1000,
    SCREEN_DOWN,
    SCREEN_PAGE_UP,
    SCREEN_PAGE_DOWN,
    SCREEN_HOME,
    SCREEN_END,
    SCREEN_ENTER,
    SCREEN_TAB,
    SCREEN_ESCAPE,
    SCREEN_RESIZED,
    SCREEN_OTHER,
};

/* What is scrolled below the header. */
struct screen_body {
    const struct sheet *sheet; /* its first line stays */
    size_t top, selected;      /* rows, from 0; `top` is kept so that the selected one is seen */
};

enum status screen_open(void);
void screen_close(void);
int screen_columns(void);
int screen_rows(void);
/* Draws everything; `message`: the last line. */
void screen_draw(const struct sheet *header, struct screen_body *body, const char *message);
int screen_key(void);
/* What was written to standard error since the last call, its last line; false: nothing. */
bool screen_held(char *text, size_t size);

#endif
