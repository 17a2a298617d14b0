/* screen.c -- the terminal: lines out, keys in. */
#include "cli/screen.h"

#include "cli/fault.h"

#include <curses.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
    SCREEN *terminal;
    int error;        /* the real standard error */
    off_t shown;      /* of what is held */
} screen;

/* ---- standard error, held -------------------------------------------------------------------- */

static void hold_error(void)
{
    int held = memfd_create("gcmalloc-messages", MFD_CLOEXEC);
    fflush(stderr);
    screen.shown = 0;
    screen.error = held < 0 ? -1 : dup(STDERR_FILENO);
    if (screen.error >= 0)
        dup2(held, STDERR_FILENO);
    if (held >= 0)
        close(held);
}

bool screen_held(char *text, size_t size)
{
    char buffer[1024];
    ssize_t got = screen.error < 0 ? 0
                                   : pread(STDERR_FILENO, buffer, sizeof(buffer) - 1, screen.shown);
    if (got <= 0)
        return false;
    screen.shown += got;
    while (got > 0 && buffer[got - 1] == '\n')
        got--;
    buffer[got] = '\0';
    const char *last = strrchr(buffer, '\n');
    snprintf(text, size, "%s", last != NULL ? last + 1 : buffer);
    return true;
}

static void release_error(void)
{
    char text[1024];
    if (screen.error < 0)
        return;
    bool unshown = screen_held(text, sizeof(text));
    dup2(screen.error, STDERR_FILENO);
    close(screen.error);
    screen.error = -1;
    if (unshown)
        fprintf(stderr, "%s\n", text);
}

/* ---- the terminal ---------------------------------------------------------------------------- */

static void set_looks(void)
{
    start_color();
    use_default_colors();
    init_pair(LOOK_GRAPH, COLOR_GREEN, -1);
    init_pair(LOOK_WARNING, COLOR_RED, -1);
}

static attr_t attributes(enum look look)
{
    bool colours = has_colors() && getenv("NO_COLOR") == NULL;
    switch (look) {
    case LOOK_TITLE: return A_BOLD;
    case LOOK_COLUMNS: return A_REVERSE;
    case LOOK_GRAPH: return colours ? (attr_t)COLOR_PAIR(LOOK_GRAPH) : A_NORMAL;
    case LOOK_WARNING: return colours ? (attr_t)COLOR_PAIR(LOOK_WARNING) | A_BOLD : A_BOLD;
    case LOOK_PLAIN: break;
    }
    return A_NORMAL;
}

enum status screen_open(void)
{
    if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
        return fault(STATUS_USAGE, "there is no terminal; --batch prints text");
    setlocale(LC_ALL, "");
    screen.terminal = newterm(NULL, stdout, stdin);
    if (screen.terminal == NULL)
        return fault(STATUS_USAGE, "terminals of type '%s' are not known; --batch prints text",
                     getenv("TERM") != NULL ? getenv("TERM") : "");
    set_looks();
    cbreak();
    noecho();
    nodelay(stdscr, TRUE);
    keypad(stdscr, TRUE);
    set_escdelay(50);
    curs_set(0);
    hold_error();
    return STATUS_OK;
}

void screen_close(void)
{
    if (screen.terminal == NULL)
        return;
    endwin();
    delscreen(screen.terminal);
    screen.terminal = NULL;
    release_error();
}

int screen_columns(void)
{
    return COLS;
}

int screen_rows(void)
{
    return LINES;
}

static void draw_line(int row, const struct sheet_line *line, attr_t extra)
{
    attr_t look = attributes(line->look) | extra;
    attrset((int)look);
    mvaddnstr(row, 0, line->text, COLS);
    if ((look & A_REVERSE) != 0)
        for (int column = getcurx(stdscr); getcury(stdscr) == row && column < COLS; column++)
            mvaddch(row, column, ' ');
    attrset(A_NORMAL);
}

static void keep_in_sight(struct screen_body *body, size_t visible)
{
    size_t rows = body->sheet->count > 0 ? body->sheet->count - 1 : 0;
    if (body->selected >= rows)
        body->selected = rows > 0 ? rows - 1 : 0;
    if (body->top > body->selected)
        body->top = body->selected;
    if (visible > 0 && body->selected >= body->top + visible)
        body->top = body->selected - visible + 1;
}

static void draw_body(struct screen_body *body, int row)
{
    const struct sheet *sheet = body->sheet;
    if (sheet->count == 0 || row >= LINES - 1)
        return;
    size_t visible = (size_t)(LINES - 2 - row);
    keep_in_sight(body, visible);
    draw_line(row++, &sheet->lines[0], A_NORMAL);
    for (size_t i = body->top; i < body->top + visible && i + 1 < sheet->count; i++)
        draw_line(row++, &sheet->lines[i + 1], i == body->selected ? A_BOLD | A_UNDERLINE : 0);
}

void screen_draw(const struct sheet *header, struct screen_body *body, const char *message)
{
    int row = 0;
    erase();
    for (size_t i = 0; i < header->count && row < LINES - 1; i++)
        draw_line(row++, &header->lines[i], A_NORMAL);
    draw_body(body, row);
    mvaddnstr(LINES - 1, 0, message, COLS - 1);
    refresh();
}

int screen_key(void)
{
    static const struct {
        int curses, ours;
    } keys[] = {{ERR, SCREEN_NOTHING},          {KEY_UP, SCREEN_UP},
                {KEY_DOWN, SCREEN_DOWN},     {KEY_PPAGE, SCREEN_PAGE_UP},
                {KEY_NPAGE, SCREEN_PAGE_DOWN}, {KEY_HOME, SCREEN_HOME},
                {KEY_END, SCREEN_END},       {KEY_ENTER, SCREEN_ENTER},
                {'\r', SCREEN_ENTER},        {'\n', SCREEN_ENTER},
                {'\t', SCREEN_TAB},          {27, SCREEN_ESCAPE},
                {KEY_RESIZE, SCREEN_RESIZED}};
    int key = getch();
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (keys[i].curses == key)
            return keys[i].ours;
    return key < 256 ? key : SCREEN_OTHER;
}
