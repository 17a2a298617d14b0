/* suppress.c -- leaks that are known.
 *
 * Names are looked up in the process (symbol.h), once per address: the reader remembers. A file
 * that is too long is not used at all: half of it may say the opposite. */
#include "watch/suppress.h"

#include "base/pattern.h"
#include "heap/meta.h"
#include "sys/file.h"
#include "sys/options.h"
#include "sys/print.h"
#include "watch/leak_report.h"
#include "watch/stack_table.h"
#include "watch/symbol.h"

enum { FILE_MOST = 64 << 10, PATTERNS_MOST = 1024 };

struct suppression {
    const char *pattern;
    uint64_t blocks, bytes; /* of the leaks that it has taken out */
};

static struct {
    struct suppression *patterns;
    char *text;          /* FILE_MOST + 1 bytes, and so many patterns, once there was a file */
    size_t count;
    char path[OPTION_PATH_MAX]; /* the last one */
} suppress = {.path = "off"};

/* ---- the file ---- */

/* Cuts blanks off both ends. */
static char *trim(char *text)
{
    size_t length;
    while (*text == ' ' || *text == '\t')
        text++;
    for (length = strlen(text); length != 0 && strchr(" \t\r", text[length - 1]); length--)
        text[length - 1] = 0;
    return text;
}

static void add_line(const char *path, unsigned number, char *line)
{
    line = trim(line);
    if (*line == 0 || *line == '#')
        return;
    if (strncmp(line, "leak:", 5) != 0 || line[5] == 0)
        print_error("suppressions: '%s', line %u: not leak:PATTERN; ignored", path, number);
    else if (suppress.count == PATTERNS_MOST)
        print_error("suppressions: '%s', line %u: more than %d patterns; ignored", path, number,
                    PATTERNS_MOST);
    else
        suppress.patterns[suppress.count++].pattern = line + 5;
}

static void add_lines(const char *path, char *text)
{
    unsigned number = 1;
    for (char *end; text != NULL; text = end, number++) {
        end = strchr(text, '\n');
        if (end != NULL)
            *end++ = 0;
        add_line(path, number, text);
    }
}

static bool have_memory(void)
{
    if (suppress.text == NULL)
        suppress.text = meta_alloc(FILE_MOST + 1);
    if (suppress.patterns == NULL)
        suppress.patterns = meta_alloc(PATTERNS_MOST * sizeof(struct suppression));
    return suppress.text != NULL && suppress.patterns != NULL;
}

void suppress_start(const char *path)
{
    if (strncmp(suppress.path, path, sizeof suppress.path) == 0)
        return;
    memcpy(suppress.path, path, size_min(strlen(path) + 1, sizeof suppress.path));
    suppress.count = 0;
    if (strcmp(path, "off") == 0 || !have_memory())
        return;
    memset(suppress.text, 0, FILE_MOST + 1); /* of the file before */
    long length = file_read(path, suppress.text, FILE_MOST + 1);
    if (length < 0)
        print_error("suppressions: cannot read '%s' (error %ld); none is used", path, -length);
    else if (length > FILE_MOST)
        print_error("suppressions: '%s' is longer than 64 KiB; none is used", path);
    else
        add_lines(path, suppress.text);
}

/* ---- leaks ---- */

static struct suppression *find(const struct leak_group *g, struct symbol_reader *reader)
{
    uintptr_t pcs[STACK_DEPTH_MAX];
    struct symbol s;
    unsigned depth = stack_table_get(g->stack, pcs);
    for (unsigned i = 0; i < depth; i++) {
        symbol_find(reader, pcs[i] - 1, &s);
        for (size_t p = 0; p < suppress.count; p++)
            if (pattern_matches(suppress.patterns[p].pattern, s.function) ||
                pattern_matches(suppress.patterns[p].pattern, s.module))
                return &suppress.patterns[p];
    }
    return NULL;
}

bool suppress_any(void)
{
    return suppress.count != 0;
}

size_t suppress_apply(struct leak_group *groups, size_t count, struct symbol_time *naming)
{
    struct symbol_reader reader;
    size_t kept = 0;
    if (suppress.count == 0)
        return count;
    for (size_t p = 0; p < suppress.count; p++)
        suppress.patterns[p].blocks = suppress.patterns[p].bytes = 0;
    symbol_reader_open(&reader, naming);
    for (size_t i = 0; i < count; i++) {
        struct suppression *s = find(&groups[i], &reader);
        if (s == NULL) {
            groups[kept++] = groups[i];
            continue;
        }
        s->blocks += groups[i].blocks;
        s->bytes += groups[i].bytes;
    }
    symbol_reader_close(&reader);
    return kept;
}

static const char rule[] = "-----------------------------------------------------\n";

void suppress_print(struct printer *out)
{
    bool any = false;
    for (size_t p = 0; p < suppress.count; p++) {
        const struct suppression *s = &suppress.patterns[p];
        if (s->blocks == 0)
            continue;
        if (!any)
            printer_printf(out, "%sSuppressions used:\n  count      bytes template\n", rule);
        any = true;
        printer_printf(out, "%7lu %10lu %s\n", s->blocks, s->bytes, s->pattern);
    }
    if (any)
        printer_printf(out, "%s\n", rule);
}
