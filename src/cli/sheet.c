/* sheet.c -- lines of text with a look. */
#include "cli/sheet.h"

#include <stdarg.h>
#include <stdlib.h>

void sheet_tame(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

void sheet_add(struct sheet *sheet, enum look look, const char *format, ...)
{
    if (sheet->count == sheet->room) {
        size_t room = sheet->room == 0 ? 64 : 2 * sheet->room;
        struct sheet_line *lines = realloc(sheet->lines, room * sizeof(*lines));
        if (lines == NULL)
            return;
        sheet->lines = lines;
        sheet->room = room;
    }
    struct sheet_line *line = &sheet->lines[sheet->count++];
    line->look = look;
    va_list args;
    va_start(args, format);
    vsnprintf(line->text, sizeof(line->text), format, args);
    va_end(args);
    sheet_tame(line->text);
}

void sheet_clear(struct sheet *sheet)
{
    sheet->count = 0;
}

void sheet_free(struct sheet *sheet)
{
    free(sheet->lines);
    *sheet = (struct sheet){0};
}

void sheet_print(const struct sheet *sheet, FILE *out)
{
    for (size_t i = 0; i < sheet->count; i++)
        fprintf(out, "%s\n", sheet->lines[i].text);
}
