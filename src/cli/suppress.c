/* suppress.c -- leaks that are known, and not to be reported. */
#include "cli/suppress.h"

#include "base/pattern.h"
#include "cli/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the file -------------------------------------------------------------------------------- */

static enum status read_line(struct suppressions *suppressions, const char *path, size_t number,
                             char *line)
{
    line += strspn(line, " \t");
    for (size_t end = strlen(line); end != 0 && strchr(" \t\r\n", line[end - 1]) != NULL; end--)
        line[end - 1] = 0;
    if (line[0] == 0 || line[0] == '#')
        return STATUS_OK;
    if (strncmp(line, "leak:", 5) != 0)
        return fault(STATUS_USAGE, "%s: line %zu: not `leak:PATTERN`", path, number);
    LIST_ADD(&suppressions->patterns)->pattern = list_text(line + 5);
    return STATUS_OK;
}

enum status suppress_read(const char *path, struct suppressions *suppressions)
{
    enum status status = STATUS_OK;
    char *line = NULL;
    size_t room = 0, number = 1;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return fault(STATUS_NO_FILE, "%s: %s", path, strerror(errno));
    for (; status == STATUS_OK && getline(&line, &room, file) >= 0; number++)
        status = read_line(suppressions, path, number, line);
    if (status == STATUS_OK && ferror(file))
        status = fault(STATUS_NO_FILE, "%s: %s", path, strerror(errno));
    free(line);
    fclose(file);
    return status;
}

/* ---- leaks ----------------------------------------------------------------------------------- */

static bool matches_frame(const char *pattern, const struct frame *frame)
{
    return (frame->function != NULL && pattern_matches(pattern, frame->function)) ||
           (frame->file != NULL && pattern_matches(pattern, frame->file)) ||
           (frame->module != NULL && pattern_matches(pattern, frame->module->path));
}

static bool matches_stack(const char *pattern, const struct profile *profile,
                          const struct profile_stack *stack, struct symbolizer *symbolizer)
{
    for (size_t i = 0; i < stack->depth; i++) {
        struct frames f = symbolize(symbolizer, profile->pcs.items[stack->first + i], stack->time);
        for (size_t j = 0; j < f.count; j++)
            if (matches_frame(pattern, &f.items[j]))
                return true;
    }
    return false;
}

static struct suppression *find(struct suppressions *suppressions, const struct profile *profile,
                                uint64_t id, struct symbolizer *symbolizer)
{
    const struct profile_stack *stack = profile_stack(profile, id);
    for (size_t i = 0; stack != NULL && i < suppressions->patterns.count; i++)
        if (matches_stack(suppressions->patterns.items[i].pattern, profile, stack, symbolizer))
            return &suppressions->patterns.items[i];
    return NULL;
}

void suppress_apply(struct suppressions *suppressions, struct profile *profile,
                    struct symbolizer *symbolizer)
{
    size_t kept = 0;
    for (size_t i = 0; i < profile->leaks.count; i++) {
        const struct profile_leak leak = profile->leaks.items[i];
        struct suppression *found = find(suppressions, profile, leak.stack, symbolizer);
        if (found == NULL) {
            profile->leaks.items[kept++] = leak;
            continue;
        }
        found->blocks += leak.blocks;
        found->bytes += leak.bytes;
    }
    profile->leaks.count = kept;
}
