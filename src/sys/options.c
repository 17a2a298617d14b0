/* options.c -- GCMALLOC and GCMALLOC_CONF.
 *
 * options.inc is included twice: for the struct (options.h), and for the rows of the table below,
 * which the defaults, the parser, the complaints and the help text walk. A row knows where its
 * field lies; numbers of all kinds pass through int64_t (every limit fits), and the choices of an
 * enumeration are the text the preprocessor makes of them: "off, report, collect".
 *
 *   .inv.valid   A field always holds a value its row allows: set_defaults() makes it so, and an
 *                item is stored only after it has been checked.
 *   .inv.line    A complaint is one line whatever the input holds: text from outside is cut to
 *                SHOWN_MAX bytes, and its control characters become '?'.
 *
 * Items are separated by commas and newlines; blanks around a name, '=' and a value do not count;
 * an empty item is nothing. '#' at the start of an item or after a blank hides the rest of the
 * line. A later item wins.
 *
 * Traps
 *   - It runs before the first allocation, maybe before libc's constructors: no getenv, no stdio.
 *   - The file is named by the environment: it may be a FIFO (hence O_NONBLOCK), or huge.
 *   - A set-user-id program must not let its caller name files to read or write: give it no envp.
 *
 * Thread safety: options_parse() once, before there are threads; options_set and what reads texts
 * take the OPTIONS lock; the others only touch what they are given. */
#include "sys/options.h"

#include "base/check.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/print.h"
#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct options options;

enum {
    CONF_MAX = 64 * 1024,
    /* Bytes of foreign text repeated in a complaint: enough to recognise it by. */
    SHOWN_MAX = 80,
};

enum option_kind {
    OPTION_KIND_INT,
    OPTION_KIND_SIZE,
    OPTION_KIND_TIME,
    OPTION_KIND_ENUM,
    OPTION_KIND_PATH,
};

/* Of durations, in nanoseconds. */
enum time_unit { UNIT_NONE, UNIT_us, UNIT_ms, UNIT_s, UNIT_m, UNIT_h, UNIT_d, UNIT_COUNT };

static const struct {
    const char *suffix, *words;
    int64_t ns;
} units[UNIT_COUNT] = {
    [UNIT_us] = {"us", "microseconds", 1000},
    [UNIT_ms] = {"ms", "milliseconds", 1000000},
    [UNIT_s] = {"s", "seconds", 1000000000},
    [UNIT_m] = {"m", "minutes", 60 * (int64_t)1000000000},
    [UNIT_h] = {"h", "hours", 3600 * (int64_t)1000000000},
    [UNIT_d] = {"d", "days", 86400 * (int64_t)1000000000},
};

struct option_row {
    const char *name, *help;
    const char *choices; /* ENUM: "off, report, collect" */
    const char *path;    /* PATH: the default */
    enum option_kind kind;
    size_t offset;                      /* of the field in struct options */
    enum time_unit unit;                /* TIME: of the three below, and of numbers alone */
    int64_t default_value, least, most; /* INT, SIZE, TIME; ENUM: only the default */
};

#define OPTION_INT(name_, default_, least_, most_, help_) \
    {.name = #name_, .help = help_, .kind = OPTION_KIND_INT, .least = least_, .most = most_, \
     .offset = offsetof(struct options, name_), .default_value = default_},
#define OPTION_SIZE(name_, default_, least_, most_, help_) \
    {.name = #name_, .help = help_, .kind = OPTION_KIND_SIZE, .least = least_, .most = most_, \
     .offset = offsetof(struct options, name_), .default_value = default_},
#define OPTION_TIME(name_, default_, least_, most_, unit_, help_) \
    {.name = #name_, .help = help_, .kind = OPTION_KIND_TIME, .least = least_, .most = most_, \
     .offset = offsetof(struct options, name_), .default_value = default_, .unit = UNIT_##unit_},
#define OPTION_ENUM(name_, default_, help_, ...) \
    {.name = #name_, .help = help_, .kind = OPTION_KIND_ENUM, .choices = #__VA_ARGS__, \
     .offset = offsetof(struct options, name_), .default_value = default_},
#define OPTION_PATH(name_, default_, help_) \
    {.name = #name_, .help = help_, .kind = OPTION_KIND_PATH, .path = default_, \
     .offset = offsetof(struct options, name_)},
static const struct option_row rows[] = {
#include "sys/options.inc"
};

/* ---- pieces of text ---- */

struct slice {
    const char *at;
    size_t length;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct slice trim(struct slice s)
{
    for (; s.length > 0 && is_blank(s.at[0]); s.at++)
        s.length--;
    while (s.length > 0 && is_blank(s.at[s.length - 1]))
        s.length--;
    return s;
}

static bool slice_is(struct slice s, const char *text)
{
    return strlen(text) == s.length && memcmp(s.at, text, s.length) == 0;
}

/* Foreign text, made fit to print. */
struct shown {
    char text[SHOWN_MAX + 4];
};

static struct shown show(struct slice s)
{
    struct shown shown;
    size_t length = size_min(s.length, SHOWN_MAX);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)s.at[i];
        shown.text[i] = c < ' ' || c == 0x7f ? '?' : s.at[i]; /* .inv.line */
    }
    memcpy(shown.text + length, s.length > length ? "..." : "", s.length > length ? 4 : 1);
    return shown;
}

/* Where a text comes from, and how often it was complained about. */
struct source {
    const char *name;
    int complain_fd;
    unsigned complaints;
};

static void GC_PRINTF_LIKE(2, 3) complain(struct source *from, const char *format, ...)
{
    struct printer p;
    va_list args;
    printer_start(&p, from->complain_fd);
    printer_printf(&p, "libgcmalloc: %s: ",
                   show((struct slice){from->name, strlen(from->name)}).text);
    va_start(args, format);
    printer_vprintf(&p, format, args);
    va_end(args);
    printer_printf(&p, "\n");
    printer_flush(&p);
    from->complaints++;
}

/* ---- numbers and choices ---- */

/* Decimal digits only, no overflow. */
static bool parse_digits(struct slice s, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < s.length; i++) {
        unsigned digit = (unsigned)s.at[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return s.length > 0;
}

static bool parse_int(struct slice s, int64_t *out)
{
    uint64_t magnitude;
    bool negative = s.length > 0 && s.at[0] == '-';
    if (!parse_digits((struct slice){s.at + negative, s.length - negative}, &magnitude) ||
        magnitude > INT64_MAX)
        return false;
    *out = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

/* The power of 1024 that a suffix stands for, as a shift; 0 if it is none. */
static unsigned suffix_shift(char c)
{
    switch (c | 0x20) {
    case 'k':
        return 10;
    case 'm':
        return 20;
    case 'g':
        return 30;
    case 't':
        return 40;
    default:
        return 0;
    }
}

static bool parse_size(struct slice s, int64_t *out)
{
    uint64_t value;
    unsigned shift = s.length > 0 ? suffix_shift(s.at[s.length - 1]) : 0;
    s.length -= shift != 0;
    if (!parse_digits(s, &value) || value > (uint64_t)INT64_MAX >> shift)
        return false;
    *out = (int64_t)(value << shift);
    return true;
}

/* The unit at the end of a duration, and how much of the text it is. */
static enum time_unit suffix_unit(struct slice s, size_t *length)
{
    while (*length < s.length && (unsigned)s.at[s.length - *length - 1] - '0' > 9)
        ++*length;
    for (int unit = UNIT_us; unit < UNIT_COUNT; unit++)
        if (slice_is((struct slice){s.at + s.length - *length, *length}, units[unit].suffix))
            return (enum time_unit)unit;
    return UNIT_NONE;
}

/* To nanoseconds. */
static bool parse_time(struct slice s, enum time_unit alone, int64_t *out)
{
    uint64_t value;
    size_t suffix = 0;
    enum time_unit unit = suffix_unit(s, &suffix);
    if (suffix == 0)
        unit = alone;
    s.length -= suffix;
    return unit != UNIT_NONE && parse_digits(s, &value) && value <= INT64_MAX &&
           !__builtin_mul_overflow((int64_t)value, units[unit].ns, out);
}

/* Cuts the next of "off, report, collect" off the front; length 0 at the end. */
static struct slice next_choice(const char **choices)
{
    struct slice choice = {*choices, strcspn(*choices, ", ")};
    *choices += choice.length;
    *choices += strspn(*choices, ", ");
    return choice;
}

static bool parse_choice(const char *choices, struct slice s, int64_t *out)
{
    struct slice choice;
    *out = 0;
    while ((choice = next_choice(&choices)).length > 0) {
        if (choice.length == s.length && memcmp(choice.at, s.at, s.length) == 0)
            return true;
        ++*out;
    }
    return false;
}

static struct slice choice_at(const char *choices, int64_t index)
{
    struct slice choice = next_choice(&choices);
    while (index-- > 0)
        choice = next_choice(&choices);
    GC_ASSERT(choice.length > 0); /* .inv.valid */
    return choice;
}

/* ---- fields ---- */

static void *field_of(struct options *o, const struct option_row *row)
{
    return (char *)o + row->offset;
}

/* What a number of the row's is multiplied by when it is stored. */
static int64_t scale_of(const struct option_row *row)
{
    return row->kind == OPTION_KIND_TIME ? units[row->unit].ns : 1;
}

static bool within(const struct option_row *row, int64_t value)
{
    return value >= row->least * scale_of(row) && value <= row->most * scale_of(row);
}

static void store_number(struct options *o, const struct option_row *row, int64_t value)
{
    if (row->kind == OPTION_KIND_ENUM)
        *(int *)field_of(o, row) = (int)value;
    else /* whole: it may be read meanwhile */
        __atomic_store_n((int64_t *)field_of(o, row), value, __ATOMIC_RELAXED);
}

static void store_path(struct options *o, const struct option_row *row, struct slice path)
{
    char *field = field_of(o, row);
    GC_ASSERT(path.length < OPTION_PATH_MAX);
    memcpy(field, path.at, path.length);
    memset(field + path.length, 0, OPTION_PATH_MAX - path.length);
}

/* False: the value is not one that the row allows, and nothing was stored. */
static bool store_value(struct options *o, const struct option_row *row, struct slice value)
{
    int64_t number;
    bool good;
    switch (row->kind) {
    case OPTION_KIND_PATH:
        if (value.length == 0 || value.length >= OPTION_PATH_MAX ||
            memchr(value.at, '\0', value.length) != NULL)
            return false;
        store_path(o, row, value);
        return true;
    case OPTION_KIND_ENUM:
        good = parse_choice(row->choices, value, &number);
        break;
    case OPTION_KIND_SIZE:
        good = parse_size(value, &number) && within(row, number);
        break;
    case OPTION_KIND_TIME:
        good = parse_time(value, row->unit, &number) && within(row, number);
        break;
    default:
        good = parse_int(value, &number) && within(row, number);
        break;
    }
    if (good)
        store_number(o, row, number);
    return good;
}

void options_set_defaults(struct options *into)
{
    for (size_t i = 0; i < GC_COUNT(rows); i++) {
        const struct option_row *row = &rows[i];
        if (row->kind == OPTION_KIND_PATH)
            store_path(into, row, (struct slice){row->path, strlen(row->path)});
        else
            store_number(into, row, row->default_value * scale_of(row));
    }
}

/* ---- values as text: complaints and help ---- */

static void add_size(struct printer *p, uint64_t value)
{
    static const char suffixes[] = "KMGT";
    int step = -1;
    for (; value != 0 && value % 1024 == 0 && step < 3; step++)
        value /= 1024;
    printer_printf(p, "%lu%.*s", value, step >= 0 ? 1 : 0, suffixes + (step >= 0 ? step : 0));
}

/* In the largest unit in which it is a whole number. */
static void add_time(struct printer *p, uint64_t ns)
{
    int unit = UNIT_d;
    while (unit > UNIT_us && ns % (uint64_t)units[unit].ns != 0)
        unit--;
    printer_printf(p, "%lu%s", ns / (uint64_t)units[unit].ns, ns != 0 ? units[unit].suffix : "");
}

/* As it is stored. */
static void add_number(struct printer *p, const struct option_row *row, int64_t value)
{
    if (row->kind == OPTION_KIND_SIZE)
        add_size(p, (uint64_t)value);
    else if (row->kind == OPTION_KIND_TIME)
        add_time(p, (uint64_t)value);
    else
        printer_printf(p, "%ld", value);
}

static void add_value(struct printer *p, const struct option_row *row, struct options *o)
{
    const void *field = field_of(o, row);
    if (row->kind == OPTION_KIND_PATH) {
        printer_printf(p, "%s", show((struct slice){field, strlen(field)}).text);
    } else if (row->kind == OPTION_KIND_ENUM) {
        struct slice choice = choice_at(row->choices, *(const int *)field);
        printer_printf(p, "%.*s", (int)choice.length, choice.at);
    } else {
        add_number(p, row, *(const int64_t *)field);
    }
}

static void add_bounds(struct printer *p, const struct option_row *row, const char *between)
{
    add_number(p, row, row->least * scale_of(row));
    printer_printf(p, "%s", between);
    add_number(p, row, row->most * scale_of(row));
}

/* What a value must be, as the end of "confirm=zero is not ...". */
static void add_expectation(struct printer *p, const struct option_row *row)
{
    if (row->kind == OPTION_KIND_PATH) {
        printer_printf(p, "a file name of 1 to %d bytes", OPTION_PATH_MAX - 1);
    } else if (row->kind == OPTION_KIND_ENUM) {
        printer_printf(p, "one of %s", row->choices);
    } else {
        if (row->kind == OPTION_KIND_TIME)
            printer_printf(p, "a time (%s, or with us, ms, s, m, h, d) from ",
                           units[row->unit].words);
        else if (row->kind == OPTION_KIND_SIZE)
            printer_printf(p, "a size (bytes, or with K, M, G, T) from ");
        else
            printer_printf(p, "a whole number from ");
        add_bounds(p, row, " to ");
    }
}

static void add_range(struct printer *p, const struct option_row *row)
{
    if (row->kind == OPTION_KIND_PATH) {
        printer_printf(p, "file name");
    } else if (row->kind == OPTION_KIND_ENUM) {
        printer_printf(p, "%s", row->choices);
    } else {
        add_bounds(p, row, "..");
    }
}

void options_each(void (*visit)(const char *name, const char *value, void *data), void *data)
{
    struct printer value;
    for (size_t i = 0; i < GC_COUNT(rows); i++) {
        printer_start(&value, -1);
        add_value(&value, &rows[i], &options);
        visit(rows[i].name, value.text, data);
    }
}

#define HELP_ROW "%-10s %-10s %-10s %-22s %s\n"

void options_print_help(int fd)
{
    struct options defaults;
    struct printer out, value, standard, range;
    options_set_defaults(&defaults);
    printer_start(&out, fd);
    printer_printf(&out, "libgcmalloc: GCMALLOC=option=value,option=value\n");
    printer_printf(&out, HELP_ROW, "option", "value", "default", "range", "meaning");
    for (size_t i = 0; i < GC_COUNT(rows); i++) {
        const struct option_row *row = &rows[i];
        printer_start(&value, -1);
        printer_start(&standard, -1);
        printer_start(&range, -1);
        add_value(&value, row, &options);
        add_value(&standard, row, &defaults);
        add_range(&range, row);
        printer_printf(&out, HELP_ROW, row->name, value.text, standard.text, range.text, row->help);
    }
    printer_flush(&out);
}

/* ---- items ---- */

static const struct option_row *find_row(struct slice name)
{
    for (size_t i = 0; i < GC_COUNT(rows); i++)
        if (slice_is(name, rows[i].name))
            return &rows[i];
    return NULL;
}

static void complain_of_value(struct source *from, struct options *o, const struct option_row *row,
                              struct slice value)
{
    struct printer expected, used;
    printer_start(&expected, -1);
    printer_start(&used, -1);
    add_expectation(&expected, row);
    add_value(&used, row, o);
    complain(from, "%s=%s is not %s; using %s", row->name, show(value).text, expected.text,
             used.text);
}

static void parse_item(struct options *into, struct slice item, struct source *from)
{
    const char *equals = memchr(item.at, '=', item.length);
    size_t name_length = equals ? (size_t)(equals - item.at) : item.length;
    struct slice name = trim((struct slice){item.at, name_length});
    const struct option_row *row = find_row(name);
    if (row == NULL) {
        complain(from, "unknown option '%s' ignored", show(name).text);
    } else if (equals == NULL) {
        complain(from, "option '%s' needs a value; ignored", row->name);
    } else {
        struct slice value = trim((struct slice){equals + 1, item.length - name_length - 1});
        if (!store_value(into, row, value))
            complain_of_value(from, into, row, value);
    }
}

/* Cuts the next item off the front of [*at, end), and the comment behind it. */
static struct slice next_item(const char **at, const char *end)
{
    const char *from = *at, *p = from;
    while (p < end && *p != ',' && *p != '\n' && !(*p == '#' && (p == from || is_blank(p[-1]))))
        p++;
    struct slice item = trim((struct slice){from, (size_t)(p - from)});
    if (p < end && *p == '#')
        p = memchr(p, '\n', (size_t)(end - p));
    *at = p != NULL && p < end ? p + 1 : end;
    return item;
}

static void parse_items(struct options *into, const char *text, size_t length, struct source *from)
{
    const char *end = text + length;
    while (text < end) {
        struct slice item = next_item(&text, end);
        if (item.length > 0)
            parse_item(into, item, from);
    }
}

unsigned options_parse_text(struct options *into, const char *text, size_t length, int complain_fd)
{
    struct source from = {"GCMALLOC", complain_fd, 0};
    parse_items(into, text, length, &from);
    return from.complaints;
}

/* ---- at run time ---- */

static struct lock lock = LOCK_INIT(OPTIONS);

struct lock *options_lock(void)
{
    return &lock;
}

static const struct option_row *row_named(const char *name)
{
    return find_row((struct slice){name, strlen(name)});
}

enum option_result options_set(const char *name, const char *value)
{
    const struct option_row *row = row_named(name);
    if (row == NULL)
        return OPTION_UNKNOWN;
    lock_acquire(&lock);
    bool good = store_value(&options, row, trim((struct slice){value, strlen(value)}));
    lock_release(&lock);
    return good ? OPTION_SET : OPTION_BAD_VALUE;
}

long options_get(const char *name, char *buffer, size_t room)
{
    const struct option_row *row = row_named(name);
    struct printer value;
    char path[OPTION_PATH_MAX];
    const char *text = path;
    if (row == NULL)
        return -1;
    if (row->kind == OPTION_KIND_PATH) {
        options_text(field_of(&options, row), path);
    } else {
        printer_start(&value, -1);
        add_value(&value, row, &options);
        text = value.text;
    }
    size_t length = strlen(text), shown = size_min(length, room == 0 ? 0 : room - 1);
    if (room != 0) {
        memcpy(buffer, text, shown);
        buffer[shown] = 0;
    }
    return (long)length;
}

void options_text(const char field[OPTION_PATH_MAX], char out[OPTION_PATH_MAX])
{
    lock_acquire(&lock);
    memcpy(out, field, OPTION_PATH_MAX);
    lock_release(&lock);
}

/* ---- the file and the environment ---- */

static void parse_file(const char *path, int complain_fd)
{
    static GC_LARGE char text[CONF_MAX + 1]; /* untouched, and so free, unless there is a file */
    struct source variable = {"GCMALLOC_CONF", complain_fd, 0}, file = {path, complain_fd, 0};
    long length = file_read(path, text, sizeof text);
    if (length < 0) {
        complain(&variable, "cannot read '%s' (error %ld); file ignored",
                 show((struct slice){path, strlen(path)}).text, -length);
    } else if (length > CONF_MAX) { /* whole or not at all: half a file may say the opposite */
        complain(&variable, "'%s' is longer than 64 KiB; file ignored",
                 show((struct slice){path, strlen(path)}).text);
    } else {
        parse_items(&options, text, (size_t)length, &file);
    }
}

const char *env_lookup(char *const *envp, const char *name)
{
    size_t length = strlen(name);
    for (; envp != NULL && *envp != NULL; envp++)
        if (strncmp(*envp, name, length) == 0 && (*envp)[length] == '=')
            return *envp + length + 1;
    return NULL;
}

void options_parse(char *const *envp, int complain_fd)
{
    const char *file = env_lookup(envp, "GCMALLOC_CONF"), *text = env_lookup(envp, "GCMALLOC");
    options_set_defaults(&options);
    if (file != NULL && *file != '\0')
        parse_file(file, complain_fd);
    if (text != NULL)
        options_parse_text(&options, text, strlen(text), complain_fd);
    if (options.help)
        options_print_help(complain_fd);
}
