/* folded.c -- stacks as one line each, for flame graphs.
 *
 * A frame without a name is its module and offset, so that frames of different code do not fall
 * together. The format has two characters of its own: a semicolon in a name becomes a colon, a line
 * end a space. */
#include "cli/folded.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct fold {
    char *text;
    uint64_t bytes;
};

static void print_name(const struct frame *f, FILE *out)
{
    const char *name = f->function;
    if (name == NULL && f->module != NULL) {
        const char *slash = strrchr(f->module->path, '/');
        fprintf(out, "%s+0x%" PRIx64, slash != NULL ? slash + 1 : f->module->path, f->offset);
    } else if (name == NULL) {
        fprintf(out, "0x%" PRIx64, f->pc);
    }
    for (; name != NULL && *name != 0; name++)
        fputc(*name == ';' ? ':' : *name == '\n' ? ' ' : *name, out);
}

/* Outermost first: the reverse of the profile's order. */
static void print_stack(const struct profile *profile, struct symbolizer *symbolizer,
                        const struct profile_stack *stack, FILE *out)
{
    const char *separator = "";
    for (size_t i = stack->depth; i-- > 0; separator = ";") {
        struct frames f = symbolize(symbolizer, profile->pcs.items[stack->first + i], stack->time);
        for (size_t j = f.count; j-- > 0; separator = ";") {
            fputs(separator, out);
            print_name(&f.items[j], out);
        }
    }
}

static char *fold_stack(const struct profile *profile, struct symbolizer *symbolizer,
                        const struct profile_stack *stack)
{
    char *text;
    size_t size;
    if (stack == NULL || stack->depth == 0)
        return list_text("(no stack recorded)");
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        return list_text("(not enough memory)");
    print_stack(profile, symbolizer, stack, memory);
    fclose(memory);
    return text;
}

static int by_text(const void *one, const void *other)
{
    return strcmp(((const struct fold *)one)->text, ((const struct fold *)other)->text);
}

static void print_merged(struct fold *folds, size_t count, FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && strcmp(folds[i].text, folds[i + 1].text) == 0)
            folds[i + 1].bytes += folds[i].bytes;
        else
            fprintf(out, "%s %" PRIu64 "\n", folds[i].text, folds[i].bytes);
    }
}

void folded_write(const struct profile *profile, struct symbolizer *symbolizer,
                  enum usage_kind kind, FILE *out)
{
    struct usage usage = usage_make(profile);
    LIST(struct fold) folds = {0};
    for (size_t i = 0; i < usage.count; i++) {
        if (usage.rows[i].estimated[kind].bytes == 0)
            continue;
        struct fold *fold = LIST_ADD(&folds);
        fold->text = fold_stack(profile, symbolizer, usage.rows[i].stack);
        fold->bytes = usage.rows[i].estimated[kind].bytes;
    }
    if (folds.count != 0)
        qsort(folds.items, folds.count, sizeof(struct fold), by_text);
    print_merged(folds.items, folds.count, out);
    for (size_t i = 0; i < folds.count; i++)
        free(folds.items[i].text);
    free(folds.items);
    free(usage.rows);
}
