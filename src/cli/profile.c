/* profile.c -- reads a profile.
 *
 * The file is read whole, and its texts stay where they are: a profile has some megabytes, and a
 * line may be of any length. Before anything is parsed the last line is looked at, so that a file
 * that was cut off is called so, and not by what its last line happens to look like.
 *
 *   .inv.bounded   No number and no sum is larger than INT64_MAX (profile.h, .inv.whole): a line
 *                  that breaks this makes the file foreign. Memory is proportional to the file.
 *
 * Fields: each parser takes fields from the line one by one; the first that is missing or wrong
 * leaves its message in the line, and the fields after it are zeros. So parsers read like the
 * format's description. */
#include "cli/profile.h"

#include "cli/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Larger than any (.inv.bounded). */
#define NO_ESTIMATE UINT64_MAX
/* As a double, of which a larger one would be .inv.bounded's end. */
#define ESTIMATE_MOST 9.2e18
/* Of a stack that shares frames: else a file could say much with few lines (.inv.bounded). The
 * library's have 64 at most. */
enum { DEPTH_MOST = 1024 };
#define FIRST_WORD "gcmalloc-profile"

struct bytes {
    char *text; /* ends with a zero that is not counted */
    size_t size;
};

/* One line while it is taken apart. */
struct line {
    char *rest;        /* NULL: used up */
    const char *wrong; /* or NULL */
};

/* ---- fields ---------------------------------------------------------------------------------- */

static void complain(struct line *line, const char *what)
{
    if (line->wrong == NULL)
        line->wrong = what;
}

static const char *take_word(struct line *line)
{
    char *word = line->rest;
    if (word == NULL || *word == 0) {
        complain(line, "a field is missing");
        return "";
    }
    char *space = strchr(word, ' ');
    if (space != NULL)
        *space = 0;
    line->rest = space != NULL ? space + 1 : NULL;
    return word;
}

static uint64_t take_based(struct line *line, int base)
{
    char *end;
    const char *word = take_word(line);
    errno = 0;
    uint64_t value = strtoull(word, &end, base);
    if (*word == 0)
        return 0;
    if (strspn(word, base == 10 ? "0123456789" : "0123456789abcdefABCDEF") != strlen(word))
        complain(line, "a field is no number");
    else if (errno != 0 || *end != 0 || value > (base == 10 ? INT64_MAX : UINT64_MAX))
        complain(line, "a number is absurdly large"); /* .inv.bounded */
    return line->wrong == NULL ? value : 0;
}

static uint64_t take_number(struct line *line)
{
    return take_based(line, 10);
}

static uint64_t take_address(struct line *line)
{
    return take_based(line, 16);
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c != 0 ? strchr(digits, c | 0x20) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Decodes \xHH in place. One for a zero stays: texts end with it. */
static char *unescape(char *text)
{
    char *out = text;
    for (const char *in = text; *in != 0;) {
        int value = 0;
        if (in[0] == '\\' && in[1] == 'x' && hex_digit(in[2]) >= 0 && hex_digit(in[3]) >= 0)
            value = hex_digit(in[2]) * 16 + hex_digit(in[3]);
        *out++ = value != 0 ? (char)value : *in;
        in += value != 0 ? 4 : 1;
    }
    *out = 0;
    return text;
}

/* The rest of the line, which may be empty. */
static const char *take_text(struct line *line)
{
    char *text = line->rest;
    line->rest = NULL;
    return text != NULL ? unescape(text) : "";
}

static bool take_choice(struct line *line, const char *no, const char *yes)
{
    const char *word = take_word(line);
    if (strcmp(word, no) != 0 && strcmp(word, yes) != 0)
        complain(line, "a field has none of its values");
    return strcmp(word, yes) == 0;
}

/* ---- records --------------------------------------------------------------------------------- */

static void read_process(struct profile *p, struct line *line)
{
    p->pid = take_number(line);
    p->ppid = take_number(line);
    p->uid = take_number(line);
}

static void read_program(struct profile *p, struct line *line)
{
    p->program = take_text(line);
}

static void read_argument(struct profile *p, struct line *line)
{
    *LIST_ADD(&p->arguments) = take_text(line);
}

static void read_started(struct profile *p, struct line *line)
{
    p->started_unix_ns = take_number(line);
}

static void read_taken(struct profile *p, struct line *line)
{
    p->uptime_ns = take_number(line);
    p->reason = take_word(line);
}

static void read_option(struct profile *p, struct line *line)
{
    struct profile_option *option = LIST_ADD(&p->options);
    option->name = take_word(line);
    option->value = take_text(line);
}

static void read_total(struct profile *p, struct line *line)
{
    struct profile_total *total = LIST_ADD(&p->totals);
    total->name = take_word(line);
    total->value = take_number(line);
}

static void read_note(struct profile *p, struct line *line)
{
    *LIST_ADD(&p->notes) = take_text(line);
}

static void read_unrecorded(struct profile *p, struct line *line)
{
    p->unrecorded = take_text(line);
}

static void read_module(struct profile *p, struct line *line)
{
    struct profile_module *module = LIST_ADD(&p->modules);
    module->start = take_address(line);
    module->end = take_address(line);
    module->loaded = take_number(line);
    module->unloaded = take_number(line);
    module->build_id = take_word(line);
    module->path = take_text(line);
    if (strcmp(module->build_id, "-") == 0)
        module->build_id = "";
    if (module->end < module->start)
        complain(line, "a module ends before it begins");
}

static void read_forgotten(struct profile *p, struct line *line)
{
    p->forgotten = take_number(line);
}

static void read_thread(struct profile *p, struct line *line)
{
    struct profile_thread *thread = LIST_ADD(&p->threads);
    thread->tid = take_number(line);
    thread->name = take_text(line);
}

static struct profile_stack *add_stack(struct profile *p, struct line *line)
{
    struct profile_stack *stack = LIST_ADD(&p->stacks);
    *stack = (struct profile_stack){.id = take_number(line), .first = p->pcs.count};
    stack->time = take_number(line);
    return stack;
}

static void take_frames(struct profile *p, struct profile_stack *stack, struct line *line)
{
    while (line->rest != NULL && line->wrong == NULL)
        *LIST_ADD(&p->pcs) = take_address(line);
    stack->depth = p->pcs.count - stack->first;
}

static void read_stack(struct profile *p, struct line *line)
{
    take_frames(p, add_stack(p, line), line);
}

static void read_branch(struct profile *p, struct line *line)
{
    struct profile_stack *stack = add_stack(p, line);
    stack->parent = take_number(line);
    stack->kept = take_number(line);
    take_frames(p, stack, line);
    if (stack->kept == 0 || stack->parent >= stack->id)
        complain(line, "a stack goes on from none before it");
}

static void read_site(struct profile *p, struct line *line)
{
    struct profile_site *site = LIST_ADD(&p->sites);
    site->stack = take_number(line);
    site->allocated_blocks = take_number(line);
    site->allocated_bytes = take_number(line);
    site->freed_blocks = take_number(line);
    site->freed_bytes = take_number(line);
}

/* Older profiles have none: NO_ESTIMATE, until all options are known. */
static void take_estimate(struct line *line, uint64_t *blocks, uint64_t *bytes)
{
    const char *digits = "0123456789", *rest = line->rest != NULL ? line->rest : "";
    size_t first = strspn(rest, digits);
    *blocks = *bytes = NO_ESTIMATE;
    if (first == 0 || rest[first] != ' ' || strspn(rest + first + 1, digits) == 0)
        return;
    *blocks = take_number(line);
    *bytes = take_number(line);
}

static void read_reach(struct profile *p, struct line *line)
{
    struct profile_reach *reach = LIST_ADD(&p->reach);
    reach->stack = take_number(line);
    reach->size = take_number(line);
    reach->blocks = take_number(line);
    reach->bytes = take_number(line);
    take_estimate(line, &reach->for_blocks, &reach->for_bytes);
}

static void read_leak(struct profile *p, struct line *line)
{
    struct profile_leak *leak = LIST_ADD(&p->leaks);
    leak->stack = take_number(line);
    leak->size = take_number(line);
    leak->indirect = take_choice(line, "direct", "indirect");
    leak->reclaimed = take_choice(line, "remaining", "reclaimed");
    leak->blocks = take_number(line);
    leak->bytes = take_number(line);
    leak->youngest = take_number(line);
    leak->oldest = take_number(line);
    take_estimate(line, &leak->for_blocks, &leak->for_bytes);
}

static void read_contradiction(struct profile *p, struct line *line)
{
    struct profile_contradiction *contradiction = LIST_ADD(&p->contradictions);
    contradiction->stack = take_number(line);
    contradiction->count = take_number(line);
}

#define ONE(field) +1
_Static_assert(0 PROFILE_CYCLE_FIELDS(ONE) == sizeof(struct stats_cycle) / sizeof(uint64_t),
               "profile.h names every field of a cycle");
_Static_assert(0 PROFILE_MOMENT_FIELDS(ONE) == sizeof(struct stats_moment) / sizeof(uint64_t),
               "profile.h names every field of a moment");
#undef ONE

static void read_cycle(struct profile *p, struct line *line)
{
    struct stats_cycle *cycle = LIST_ADD(&p->cycles);
#define TAKE(field) cycle->field = take_number(line);
    PROFILE_CYCLE_FIELDS(TAKE)
#undef TAKE
}

static void read_moment(struct profile *p, struct line *line)
{
    struct stats_moment *moment = LIST_ADD(&p->moments);
#define TAKE(field) moment->field = take_number(line);
    PROFILE_MOMENT_FIELDS(TAKE)
#undef TAKE
}

static enum event_kind event_kind(const char *name)
{
#define KIND(kind, help) \
    if (strcmp(name, #kind) == 0) \
        return EVENT_##kind;
    EVENT_KINDS(KIND)
#undef KIND
    return EVENT_NONE;
}

static void read_event(struct profile *p, struct line *line)
{
    struct profile_event *event = LIST_ADD(&p->events);
    event->time = take_number(line);
    event->thread = take_number(line);
    event->kind_name = take_word(line);
    event->kind = event_kind(event->kind_name);
    event->a = take_number(line);
    event->b = take_number(line);
}

static const struct record {
    const char *word;
    void (*read)(struct profile *profile, struct line *line);
} records[] = {
    {"process", read_process},
    {"program", read_program},
    {"argument", read_argument},
    {"started", read_started},
    {"taken", read_taken},
    {"option", read_option},
    {"total", read_total},
    {"note", read_note},
    {"unrecorded", read_unrecorded},
    {"module", read_module},
    {"forgotten", read_forgotten},
    {"thread", read_thread},
    {"stack", read_stack},
    {"branch", read_branch},
    {"site", read_site},
    {"reach", read_reach},
    {"leak", read_leak},
    {"contradiction", read_contradiction},
    {"cycle", read_cycle},
    {"moment", read_moment},
    {"event", read_event},
};

/* A record of a kind that is not known here is left out: it is of a newer library. */
static const char *read_record(struct profile *profile, char *text)
{
    struct line line = {.rest = text};
    const char *word = take_word(&line);
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
        if (strcmp(records[i].word, word) == 0)
            records[i].read(profile, &line);
    return line.wrong;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static enum status read_descriptor(int fd, const char *path, struct bytes *bytes)
{
    size_t room = 1 << 16;
    ssize_t got;
    *bytes = (struct bytes){list_alloc(room, 1), 0};
    while ((got = read(fd, bytes->text + bytes->size, room - bytes->size - 1)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fault(STATUS_NO_FILE, "%s: %s", path, strerror(errno));
        bytes->size += (size_t)got;
        if (bytes->size == room - 1) {
            char *larger = realloc(bytes->text, room *= 2);
            if (larger == NULL)
                return fault(STATUS_NO_FILE, "%s: there is not enough memory", path);
            bytes->text = larger;
        }
    }
    bytes->text[bytes->size] = 0;
    return STATUS_OK;
}

static enum status read_file(const char *path, struct bytes *bytes)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0)
        return fault(STATUS_NO_FILE, "%s: %s", path, strerror(errno));
    if (S_ISDIR(stat.st_mode))
        return fault(STATUS_NO_FILE, "%s: %s", path, strerror(EISDIR));
    enum status status = read_descriptor(fd, path, bytes);
    close(fd);
    return status;
}

static enum status check_first(const char *path, struct bytes *bytes)
{
    char *end;
    const char *digits = bytes->text + strlen(FIRST_WORD) + 1;
    if (bytes->size == 0)
        return fault(STATUS_FOREIGN, "%s: the file is empty", path);
    if (strncmp(bytes->text, FIRST_WORD " ", strlen(FIRST_WORD) + 1) != 0)
        return fault(STATUS_FOREIGN, "%s: this is no profile of gcmalloc", path);
    unsigned long version = strtoul(digits, &end, 10);
    if (end == digits || (*end != '\n' && *end != 0))
        return fault(STATUS_FOREIGN, "%s: this is no profile of gcmalloc", path);
    if (*end == '\n' && version != 1 && version != 2)
        return fault(STATUS_FOREIGN, "%s: version %.10s is not known, only 1 and 2", path,
                     (*end = 0, digits));
    return STATUS_OK;
}

/* The last line, `end N`, with its N; false if the last line is another or none. */
static bool find_end(const struct bytes *bytes, uint64_t *lines)
{
    char *end;
    if (bytes->text[bytes->size - 1] != '\n')
        return false;
    const char *before = memrchr(bytes->text, '\n', bytes->size - 1);
    if (before == NULL || strncmp(before, "\nend ", 5) != 0)
        return false;
    *lines = strtoull(before + 5, &end, 10);
    return end != before + 5 && *end == '\n';
}

static enum status check_whole(const char *path, const struct bytes *bytes)
{
    uint64_t said, lines = 0;
    if (!find_end(bytes, &said))
        return fault(STATUS_TRUNCATED, "%s: the file is cut off: its last line is missing", path);
    for (const char *at = bytes->text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    if (lines - 1 != said)
        return fault(STATUS_TRUNCATED, "%s: the file has %" PRIu64 " lines and should have %"
                     PRIu64, path, lines - 1, said);
    return STATUS_OK;
}

static enum status read_lines(struct profile *profile, struct bytes *bytes)
{
    size_t number = 1;
    for (char *at = bytes->text, *next; *at != 0; at = next, number++) {
        char *end = strchr(at, '\n');
        *end = 0;
        next = end + 1;
        if (number == 1 || *at == 0)
            continue;
        const char *wrong = read_record(profile, at);
        if (wrong != NULL)
            return fault(STATUS_FOREIGN, "%s: line %zu: %s", profile->path, number, wrong);
    }
    return STATUS_OK;
}

/* Adds; false beyond .inv.bounded. */
static bool add_bounded(uint64_t *sum, uint64_t value)
{
    *sum += value;
    return *sum <= INT64_MAX;
}

static bool sums_bounded(const struct profile *p)
{
    struct profile_site site = {0};
    struct profile_reach reach = {0};
    struct profile_leak leak = {0};
    uint64_t contradictions = 0;
    bool good = true;
    for (size_t i = 0; i < p->sites.count && good; i++)
        good = add_bounded(&site.allocated_blocks, p->sites.items[i].allocated_blocks) &&
               add_bounded(&site.allocated_bytes, p->sites.items[i].allocated_bytes) &&
               add_bounded(&site.freed_blocks, p->sites.items[i].freed_blocks) &&
               add_bounded(&site.freed_bytes, p->sites.items[i].freed_bytes);
    for (size_t i = 0; i < p->reach.count && good; i++)
        good = add_bounded(&reach.blocks, p->reach.items[i].blocks) &&
               add_bounded(&reach.bytes, p->reach.items[i].bytes) &&
               add_bounded(&reach.for_blocks, p->reach.items[i].for_blocks) &&
               add_bounded(&reach.for_bytes, p->reach.items[i].for_bytes);
    for (size_t i = 0; i < p->leaks.count && good; i++)
        good = add_bounded(&leak.blocks, p->leaks.items[i].blocks) &&
               add_bounded(&leak.bytes, p->leaks.items[i].bytes) &&
               add_bounded(&leak.for_blocks, p->leaks.items[i].for_blocks) &&
               add_bounded(&leak.for_bytes, p->leaks.items[i].for_bytes);
    for (size_t i = 0; i < p->contradictions.count && good; i++)
        good = add_bounded(&contradictions, p->contradictions.items[i].count);
    return good;
}

static int by_id(const void *one, const void *other)
{
    uint64_t a = ((const struct profile_stack *)one)->id;
    uint64_t b = ((const struct profile_stack *)other)->id;
    return a < b ? -1 : a > b;
}

/* ---- stacks ---------------------------------------------------------------------------------- */

static void add_frames(struct profile *p, const uint64_t *pcs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        *LIST_ADD(&p->pcs) = pcs[i];
}

/* Writes the frames of a stack whole: `own` are those that the file has of it. False: it goes on
 * from one that is not there, or is no stack of a program. Its parent is whole. */
static bool join(struct profile *p, struct profile_stack *stack, const uint64_t *own)
{
    const struct profile_stack *parent = stack->kept != 0 ? profile_stack(p, stack->parent) : NULL;
    if (stack->kept != 0 && (parent == NULL || parent->depth < stack->kept ||
                             stack->depth + stack->kept > DEPTH_MOST))
        return false;
    size_t first = p->pcs.count;
    add_frames(p, own + stack->first, stack->depth);
    for (size_t i = 0; i < stack->kept; i++) {
        uint64_t pc = p->pcs.items[parent->first + parent->depth - stack->kept + i];
        *LIST_ADD(&p->pcs) = pc; /* which may move them all */
    }
    stack->first = first;
    stack->depth = p->pcs.count - first;
    return true;
}

/* By number: parents come first. */
static enum status join_branches(struct profile *p)
{
    uint64_t *own = p->pcs.items;
    enum status status = STATUS_OK;
    memset(&p->pcs, 0, sizeof(p->pcs));
    for (size_t i = 0; i < p->stacks.count && status == STATUS_OK; i++)
        if (!join(p, &p->stacks.items[i], own))
            status = fault(STATUS_FOREIGN, "%s: stack %" PRIu64 " goes on from %" PRIu64
                           ", which has not %" PRIu64 " frames", p->path, p->stacks.items[i].id,
                           p->stacks.items[i].parent, p->stacks.items[i].kept);
    free(own);
    return status;
}

static enum status finish_stacks(struct profile *p)
{
    if (p->stacks.count == 0)
        return STATUS_OK;
    qsort(p->stacks.items, p->stacks.count, sizeof(p->stacks.items[0]), by_id);
    return join_branches(p);
}

/* ---- estimates ------------------------------------------------------------------------------- */

/* Where the profile has none it has the number and the bytes of a stack's blocks, not the sizes of
 * their classes: their mean is taken, as pprof does for Go. `sample`: the mean distance of samples
 * in bytes; 0: no stack stands for another. */
static void estimate(double sample, uint64_t stack, uint64_t blocks, uint64_t bytes,
                     uint64_t *for_blocks, uint64_t *for_bytes)
{
    double weight = 1;
    if (stack == 0 && sample > 0) {
        *for_blocks = *for_bytes = 0;
        return;
    }
    if (*for_blocks != NO_ESTIMATE)
        return;
    if (sample > 0 && bytes != 0 && blocks != 0)
        weight = 1 / -expm1(-(double)bytes / (double)blocks / sample);
    *for_blocks = (uint64_t)fmin((double)blocks * weight + 0.5, ESTIMATE_MOST);
    *for_bytes = (uint64_t)fmin((double)bytes * weight + 0.5, ESTIMATE_MOST);
}

static void estimate_all(struct profile *p)
{
    double sample = profile_is_sampled(p) ? (double)profile_size_option(p, "sample") : 0;
    for (size_t i = 0; i < p->reach.count; i++) {
        struct profile_reach *r = &p->reach.items[i];
        estimate(sample, r->stack, r->blocks, r->bytes, &r->for_blocks, &r->for_bytes);
    }
    for (size_t i = 0; i < p->leaks.count; i++) {
        struct profile_leak *l = &p->leaks.items[i];
        estimate(sample, l->stack, l->blocks, l->bytes, &l->for_blocks, &l->for_bytes);
    }
}

static enum status finish(struct profile *profile)
{
    estimate_all(profile);
    if (!sums_bounded(profile))
        return fault(STATUS_FOREIGN, "%s: the numbers are absurdly large", profile->path);
    return finish_stacks(profile);
}

enum status profile_read(const char *path, struct profile *profile)
{
    struct bytes bytes = {0};
    *profile = (struct profile){.path = path, .program = "", .reason = ""};
    enum status status = read_file(path, &bytes);
    if (status == STATUS_OK)
        status = check_first(path, &bytes);
    if (status == STATUS_OK && strlen(bytes.text) != bytes.size)
        status = fault(STATUS_FOREIGN, "%s: there is a zero byte in it", path);
    if (status == STATUS_OK)
        status = check_whole(path, &bytes);
    if (status == STATUS_OK)
        status = read_lines(profile, &bytes);
    return status == STATUS_OK ? finish(profile) : status;
}

/* ---- questions ------------------------------------------------------------------------------- */

const struct profile_stack *profile_stack(const struct profile *profile, uint64_t id)
{
    struct profile_stack key = {.id = id};
    if (profile->stacks.count == 0)
        return NULL;
    return bsearch(&key, profile->stacks.items, profile->stacks.count, sizeof(key), by_id);
}

const char *profile_option(const struct profile *profile, const char *name)
{
    for (size_t i = 0; i < profile->options.count; i++)
        if (strcmp(profile->options.items[i].name, name) == 0)
            return profile->options.items[i].value;
    return "";
}

uint64_t profile_size_option(const struct profile *profile, const char *name)
{
    char *end;
    uint64_t size = strtoull(profile_option(profile, name), &end, 10);
    const char *suffixes = "KMGT", *suffix = *end != 0 ? strchr(suffixes, *end) : NULL;
    return suffix != NULL ? size << (10 * (suffix - suffixes + 1)) : size;
}

static bool any_stack(const struct profile *profile)
{
    for (size_t i = 0; i < profile->reach.count; i++)
        if (profile->reach.items[i].stack != 0)
            return true;
    for (size_t i = 0; i < profile->leaks.count; i++)
        if (profile->leaks.items[i].stack != 0)
            return true;
    return false;
}

bool profile_is_sampled(const struct profile *profile)
{
    return strcmp(profile_option(profile, "stacks"), "sampled") == 0 && any_stack(profile);
}

uint64_t profile_sample(const struct profile *profile)
{
    uint64_t sample = profile_size_option(profile, "sample");
    return strcmp(profile_option(profile, "stacks"), "sampled") == 0 && sample != 0 ? sample : 1;
}

uint64_t profile_total(const struct profile *profile, const char *name)
{
    for (size_t i = 0; i < profile->totals.count; i++)
        if (strcmp(profile->totals.items[i].name, name) == 0)
            return profile->totals.items[i].value;
    return 0;
}

const char *profile_cycle_reason(uint64_t reason)
{
    static const char *const words[] = {"growth", "stress", "memory", "exit", "request"};
    return reason < sizeof(words) / sizeof(words[0]) ? words[reason] : "unknown";
}
