/* json.c -- a profile as JSON.
 *
 * jansson makes the records, one at a time, so that a large profile takes no memory; the brackets
 * around them are written here. */
#include "cli/json.h"

#include "cli/json_stream.h"
#include "cli/met.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct stacks_writer {
    struct symbolizer *symbolizer;
    struct met met;
    LIST(struct frames) met_frames; /* by number - 1 */
};

static json_t *address(uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "0x%" PRIx64, value);
    return json_string(digits);
}

/* ---- records --------------------------------------------------------------------------------- */

static void write_process(const struct profile *p, struct json_stream *w)
{
    json_t *arguments = json_array();
    for (size_t i = 0; i < p->arguments.count; i++)
        json_array_append_new(arguments, json_stream_text(p->arguments.items[i]));
    json_t *process =
        json_pack("{sI sI sI so so sI sI so}", "pid", JSON_INT(p->pid), "ppid", JSON_INT(p->ppid),
                  "uid", JSON_INT(p->uid), "program", json_stream_text(p->program), "arguments",
                  arguments, "started_unix_ns", JSON_INT(p->started_unix_ns), "uptime_ns",
                  JSON_INT(p->uptime_ns), "reason", json_stream_text(p->reason));
    json_stream_put_as(w, "process", process);
}

static void write_options(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "options", '{');
    for (size_t i = 0; i < p->options.count; i++)
        json_stream_put_as(w, p->options.items[i].name,
                           json_stream_text(p->options.items[i].value));
    json_stream_close(w, '}');
}

static void write_totals(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "totals", '{');
    for (size_t i = 0; i < p->totals.count; i++)
        json_stream_put_as(w, p->totals.items[i].name,
                           json_integer(JSON_INT(p->totals.items[i].value)));
    json_stream_close(w, '}');
}

static void write_notes(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "notes", '[');
    for (size_t i = 0; i < p->notes.count; i++)
        json_stream_put(w, json_stream_text(p->notes.items[i]));
    json_stream_close(w, ']');
}

static void write_modules(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "modules", '[');
    for (size_t i = 0; i < p->modules.count; i++) {
        const struct profile_module *m = &p->modules.items[i];
        json_stream_put(w,
                        json_pack("{so so sI sI so so}", "start", address(m->start), "end",
                                  address(m->end), "loaded", JSON_INT(m->loaded), "unloaded",
                                  JSON_INT(m->unloaded), "build_id", json_stream_text(m->build_id),
                                  "path", json_stream_text(m->path)));
    }
    json_stream_close(w, ']');
}

static void write_threads(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "threads", '[');
    for (size_t i = 0; i < p->threads.count; i++)
        json_stream_put(w, json_pack("{sI so}", "tid", JSON_INT(p->threads.items[i].tid), "name",
                                     json_stream_text(p->threads.items[i].name)));
    json_stream_close(w, ']');
}

static json_t *frame_record(const struct frame *f)
{
    return json_pack("{so so so si si so so sb}", "pc", address(f->pc), "function",
                     json_stream_text(f->function), "file", json_stream_text(f->file), "line",
                     f->line, "column", f->column, "module",
                     json_stream_text(f->module != NULL ? f->module->path : NULL), "offset",
                     address(f->offset), "inlined", (int)f->inlined);
}

/* The place of an address's frames among all: stacks share them, and they are most of a profile. */
static uint64_t place_of(struct stacks_writer *stacks, struct frames frames)
{
    bool is_new;
    uint64_t number = met_number(&stacks->met, met_hash(1, (uintptr_t)frames.items), &is_new);
    if (is_new)
        *LIST_ADD(&stacks->met_frames) = frames;
    return number - 1;
}

static void write_stack(const struct profile *p, const struct profile_stack *stack,
                        struct stacks_writer *stacks, FILE *out)
{
    fprintf(out, "\"%" PRIu64 "\": [", stack->id);
    for (size_t i = 0; i < stack->depth; i++) {
        struct frames frames = symbolize(stacks->symbolizer, p->pcs.items[stack->first + i],
                                         stack->time);
        fprintf(out, "%s%" PRIu64, i != 0 ? "," : "", place_of(stacks, frames));
    }
    fputc(']', out);
}

static void write_frames(const struct stacks_writer *stacks, struct json_stream *w)
{
    json_stream_open(w, "frames", '[');
    for (size_t i = 0; i < stacks->met_frames.count; i++) {
        struct frames frames = stacks->met_frames.items[i];
        json_t *list = json_array();
        for (size_t j = 0; j < frames.count; j++)
            json_array_append_new(list, frame_record(&frames.items[j]));
        json_stream_put(w, list);
    }
    json_stream_close(w, ']');
}

static void write_stacks(const struct profile *p, struct symbolizer *symbolizer,
                         struct json_stream *w)
{
    struct stacks_writer stacks = {.symbolizer = symbolizer};
    json_stream_open(w, "stacks", '{');
    for (size_t i = 0; i < p->stacks.count; i++) {
        json_stream_separate(w);
        write_stack(p, &p->stacks.items[i], &stacks, w->out);
    }
    json_stream_close(w, '}');
    write_frames(&stacks, w);
    free(stacks.met_frames.items);
    met_free(&stacks.met);
}

static void write_sites(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "sites", '[');
    for (size_t i = 0; i < p->sites.count; i++) {
        const struct profile_site *s = &p->sites.items[i];
        json_stream_put(w, json_pack("{sI sI sI sI sI}", "stack", JSON_INT(s->stack),
                                     "allocated_blocks", JSON_INT(s->allocated_blocks),
                                     "allocated_bytes", JSON_INT(s->allocated_bytes),
                                     "freed_blocks", JSON_INT(s->freed_blocks), "freed_bytes",
                                     JSON_INT(s->freed_bytes)));
    }
    json_stream_close(w, ']');
}

static void write_reach(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "reach", '[');
    for (size_t i = 0; i < p->reach.count; i++) {
        const struct profile_reach *r = &p->reach.items[i];
        json_stream_put(w, json_pack("{sI sI sI sI sI sI}", "stack", JSON_INT(r->stack), "size",
                                     JSON_INT(r->size), "blocks", JSON_INT(r->blocks), "bytes",
                                     JSON_INT(r->bytes), "estimated_blocks",
                                     JSON_INT(r->for_blocks), "estimated_bytes",
                                     JSON_INT(r->for_bytes)));
    }
    json_stream_close(w, ']');
}

static void write_leaks(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "leaks", '[');
    for (size_t i = 0; i < p->leaks.count; i++) {
        const struct profile_leak *l = &p->leaks.items[i];
        json_stream_put(w,
                        json_pack("{sI sI ss ss sI sI sI sI sI sI}", "stack",
                                  JSON_INT(l->stack), "size", JSON_INT(l->size), "kind",
                                  l->indirect ? "indirect" : "direct",
                                  "state", l->reclaimed ? "reclaimed" : "remaining", "blocks",
                                  JSON_INT(l->blocks), "bytes", JSON_INT(l->bytes), "youngest",
                                  JSON_INT(l->youngest), "oldest", JSON_INT(l->oldest),
                                  "estimated_blocks", JSON_INT(l->for_blocks), "estimated_bytes",
                                  JSON_INT(l->for_bytes)));
    }
    json_stream_close(w, ']');
}

static void write_contradictions(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "contradictions", '[');
    for (size_t i = 0; i < p->contradictions.count; i++)
        json_stream_put(w, json_pack("{sI sI}", "stack", JSON_INT(p->contradictions.items[i].stack),
                                     "count", JSON_INT(p->contradictions.items[i].count)));
    json_stream_close(w, ']');
}

static json_t *cycle_record(const struct stats_cycle *cycle)
{
    json_t *record = json_object();
#define SET_CYCLE(field) json_object_set_new(record, #field, json_integer(JSON_INT(cycle->field)));
    PROFILE_CYCLE_FIELDS(SET_CYCLE)
#undef SET_CYCLE
    json_object_set_new(record, "reason", json_string(profile_cycle_reason(cycle->reason)));
    return record;
}

static json_t *moment_record(const struct stats_moment *moment)
{
    json_t *record = json_object();
#define SET_MOMENT(field)                                                                          \
    json_object_set_new(record, #field, json_integer(JSON_INT(moment->field)));
    PROFILE_MOMENT_FIELDS(SET_MOMENT)
#undef SET_MOMENT
    return record;
}

static void write_cycles(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "cycles", '[');
    for (size_t i = 0; i < p->cycles.count; i++)
        json_stream_put(w, cycle_record(&p->cycles.items[i]));
    json_stream_close(w, ']');
}

static void write_moments(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "moments", '[');
    for (size_t i = 0; i < p->moments.count; i++)
        json_stream_put(w, moment_record(&p->moments.items[i]));
    json_stream_close(w, ']');
}

static void write_events(const struct profile *p, struct json_stream *w)
{
    json_stream_open(w, "events", '[');
    for (size_t i = 0; i < p->events.count; i++) {
        const struct profile_event *e = &p->events.items[i];
        json_stream_put(w, json_pack("{sI sI so sI sI}", "time", JSON_INT(e->time), "thread",
                                     JSON_INT(e->thread), "kind", json_stream_text(e->kind_name),
                                     "a", JSON_INT(e->a), "b", JSON_INT(e->b)));
    }
    json_stream_close(w, ']');
}

void json_write(const struct profile *profile, struct symbolizer *symbolizer, FILE *out)
{
    struct json_stream w = {.out = out};
    fprintf(out, "{");
    json_stream_put_as(&w, "version", json_integer(2));
    write_process(profile, &w);
    write_options(profile, &w);
    write_totals(profile, &w);
    write_notes(profile, &w);
    json_stream_put_as(&w, "unrecorded", json_stream_text(profile->unrecorded));
    json_stream_put_as(&w, "sampled", json_boolean(profile_is_sampled(profile)));
    write_modules(profile, &w);
    json_stream_put_as(&w, "forgotten_modules", json_integer(JSON_INT(profile->forgotten)));
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
