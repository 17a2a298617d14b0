/* json.c -- a profile as JSON.
 *
 * jansson makes the records, one at a time, so that a large profile takes no memory; the brackets
 * around them are written here. */
#include "cli/json.h"

#include "cli/utf8.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

/* jansson's integers; a profile's fit (profile.h, .inv.whole). */
#define INT(value) ((json_int_t)(value))

/* The separator before the next record of the list that is open. */
struct writer {
    FILE *out;
    bool some;
};

/* ---- texts ----------------------------------------------------------------------------------- */

static json_t *text(const char *bytes)
{
    if (bytes == NULL)
        return json_null();
    if (utf8_valid(bytes))
        return json_string(bytes);
    char *copy = utf8_repaired(bytes);
    json_t *string = json_string(copy);
    free(copy);
    return string;
}

static json_t *address(uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "0x%" PRIx64, value);
    return json_string(digits);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static int to_stream(const char *bytes, size_t size, void *stream)
{
    return fwrite(bytes, 1, size, stream) == size ? 0 : -1;
}

static void open_list(struct writer *w, const char *name, char bracket)
{
    fprintf(w->out, ",\n\"%s\": %c", name, bracket);
    w->some = false;
}

static void close_list(struct writer *w, char bracket)
{
    fprintf(w->out, "%s%c", w->some ? "\n" : "", bracket);
}

/* Takes the record over. A stream that cannot be written keeps its error. */
static void put(struct writer *w, json_t *record)
{
    fprintf(w->out, w->some ? ",\n" : "\n");
    w->some = true;
    json_dump_callback(record, to_stream, w->out, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(record);
}

static void put_key(struct writer *w, const char *key)
{
    put(w, text(key));
    fprintf(w->out, ": ");
}

/* A value behind its key. */
static void put_value(struct writer *w, json_t *value)
{
    json_dump_callback(value, to_stream, w->out, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
}

/* ---- records --------------------------------------------------------------------------------- */

static void write_process(const struct profile *p, FILE *out)
{
    json_t *arguments = json_array();
    for (size_t i = 0; i < p->arguments.count; i++)
        json_array_append_new(arguments, text(p->arguments.items[i]));
    json_t *process = json_pack("{sI sI sI so so sI sI so}", "pid", INT(p->pid), "ppid",
                                INT(p->ppid), "uid", INT(p->uid), "program", text(p->program),
                                "arguments", arguments, "started_unix_ns",
                                INT(p->started_unix_ns), "uptime_ns", INT(p->uptime_ns), "reason",
                                text(p->reason));
    fprintf(out, "{\"version\": 1,\n\"process\": ");
    put_value(&(struct writer){.out = out}, process);
}

static void write_options(const struct profile *p, struct writer *w)
{
    open_list(w, "options", '{');
    for (size_t i = 0; i < p->options.count; i++) {
        put_key(w, p->options.items[i].name);
        put_value(w, text(p->options.items[i].value));
    }
    close_list(w, '}');
}

static void write_totals(const struct profile *p, struct writer *w)
{
    open_list(w, "totals", '{');
    for (size_t i = 0; i < p->totals.count; i++) {
        put_key(w, p->totals.items[i].name);
        put_value(w, json_integer(INT(p->totals.items[i].value)));
    }
    close_list(w, '}');
}

static void write_notes(const struct profile *p, struct writer *w)
{
    open_list(w, "notes", '[');
    for (size_t i = 0; i < p->notes.count; i++)
        put(w, text(p->notes.items[i]));
    close_list(w, ']');
}

static void write_modules(const struct profile *p, struct writer *w)
{
    open_list(w, "modules", '[');
    for (size_t i = 0; i < p->modules.count; i++) {
        const struct profile_module *m = &p->modules.items[i];
        put(w, json_pack("{so so sI sI so so}", "start", address(m->start), "end",
                         address(m->end), "loaded", INT(m->loaded), "unloaded", INT(m->unloaded),
                         "build_id", text(m->build_id), "path", text(m->path)));
    }
    close_list(w, ']');
}

static void write_threads(const struct profile *p, struct writer *w)
{
    open_list(w, "threads", '[');
    for (size_t i = 0; i < p->threads.count; i++)
        put(w, json_pack("{sI so}", "tid", INT(p->threads.items[i].tid), "name",
                         text(p->threads.items[i].name)));
    close_list(w, ']');
}

static json_t *frame_record(const struct frame *f)
{
    return json_pack("{so so so si si so so sb}", "pc", address(f->pc), "function",
                     text(f->function), "file", text(f->file), "line", f->line, "column",
                     f->column, "module", text(f->module != NULL ? f->module->path : NULL),
                     "offset", address(f->offset), "inlined", (int)f->inlined);
}

static json_t *stack_record(const struct profile *p, const struct profile_stack *stack,
                            struct symbolizer *symbolizer)
{
    json_t *list = json_array();
    for (size_t i = 0; i < stack->depth; i++) {
        struct frames f = symbolize(symbolizer, p->pcs.items[stack->first + i], stack->time);
        for (size_t j = 0; j < f.count; j++)
            json_array_append_new(list, frame_record(&f.items[j]));
    }
    return list;
}

static void write_stacks(const struct profile *p, struct symbolizer *symbolizer, struct writer *w)
{
    char id[24];
    open_list(w, "stacks", '{');
    for (size_t i = 0; i < p->stacks.count; i++) {
        snprintf(id, sizeof(id), "%" PRIu64, p->stacks.items[i].id);
        put_key(w, id);
        put_value(w, stack_record(p, &p->stacks.items[i], symbolizer));
    }
    close_list(w, '}');
}

static void write_sites(const struct profile *p, struct writer *w)
{
    open_list(w, "sites", '[');
    for (size_t i = 0; i < p->sites.count; i++) {
        const struct profile_site *s = &p->sites.items[i];
        put(w, json_pack("{sI sI sI sI sI}", "stack", INT(s->stack), "allocated_blocks",
                         INT(s->allocated_blocks), "allocated_bytes", INT(s->allocated_bytes),
                         "freed_blocks", INT(s->freed_blocks), "freed_bytes",
                         INT(s->freed_bytes)));
    }
    close_list(w, ']');
}

static void write_reach(const struct profile *p, struct writer *w)
{
    open_list(w, "reach", '[');
    for (size_t i = 0; i < p->reach.count; i++) {
        const struct profile_reach *r = &p->reach.items[i];
        put(w, json_pack("{sI sI sI sI}", "stack", INT(r->stack), "size", INT(r->size), "blocks",
                         INT(r->blocks), "bytes", INT(r->bytes)));
    }
    close_list(w, ']');
}

static void write_leaks(const struct profile *p, struct writer *w)
{
    open_list(w, "leaks", '[');
    for (size_t i = 0; i < p->leaks.count; i++) {
        const struct profile_leak *l = &p->leaks.items[i];
        put(w, json_pack("{sI sI ss ss sI sI sI sI}", "stack", INT(l->stack), "size",
                         INT(l->size), "kind", l->indirect ? "indirect" : "direct", "state",
                         l->reclaimed ? "reclaimed" : "remaining", "blocks", INT(l->blocks),
                         "bytes", INT(l->bytes), "youngest", INT(l->youngest), "oldest",
                         INT(l->oldest)));
    }
    close_list(w, ']');
}

static void write_contradictions(const struct profile *p, struct writer *w)
{
    open_list(w, "contradictions", '[');
    for (size_t i = 0; i < p->contradictions.count; i++)
        put(w, json_pack("{sI sI}", "stack", INT(p->contradictions.items[i].stack), "count",
                         INT(p->contradictions.items[i].count)));
    close_list(w, ']');
}

static json_t *cycle_record(const struct stats_cycle *cycle)
{
    json_t *record = json_object();
#define SET_CYCLE(field) json_object_set_new(record, #field, json_integer(INT(cycle->field)));
    PROFILE_CYCLE_FIELDS(SET_CYCLE)
#undef SET_CYCLE
    json_object_set_new(record, "reason", json_string(profile_cycle_reason(cycle->reason)));
    return record;
}

static json_t *moment_record(const struct stats_moment *moment)
{
    json_t *record = json_object();
#define SET_MOMENT(field) json_object_set_new(record, #field, json_integer(INT(moment->field)));
    PROFILE_MOMENT_FIELDS(SET_MOMENT)
#undef SET_MOMENT
    return record;
}

static void write_cycles(const struct profile *p, struct writer *w)
{
    open_list(w, "cycles", '[');
    for (size_t i = 0; i < p->cycles.count; i++)
        put(w, cycle_record(&p->cycles.items[i]));
    close_list(w, ']');
}

static void write_moments(const struct profile *p, struct writer *w)
{
    open_list(w, "moments", '[');
    for (size_t i = 0; i < p->moments.count; i++)
        put(w, moment_record(&p->moments.items[i]));
    close_list(w, ']');
}

static void write_events(const struct profile *p, struct writer *w)
{
    open_list(w, "events", '[');
    for (size_t i = 0; i < p->events.count; i++) {
        const struct profile_event *e = &p->events.items[i];
        put(w, json_pack("{sI sI so sI sI}", "time", INT(e->time), "thread", INT(e->thread),
                         "kind", text(e->kind_name), "a", INT(e->a), "b", INT(e->b)));
    }
    close_list(w, ']');
}

void json_write(const struct profile *profile, struct symbolizer *symbolizer, FILE *out)
{
    struct writer w = {.out = out};
    write_process(profile, out);
    write_options(profile, &w);
    write_totals(profile, &w);
    write_notes(profile, &w);
    write_modules(profile, &w);
    write_threads(profile, &w);
    write_stacks(profile, symbolizer, &w);
    write_sites(profile, &w);
    write_reach(profile, &w);
    write_leaks(profile, &w);
    write_contradictions(profile, &w);
    write_cycles(profile, &w);
    write_moments(profile, &w);
    write_events(profile, &w);
    fprintf(out, "}\n");
}
