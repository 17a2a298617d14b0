/* trace.c -- gcmalloc trace: what happened when, as a Chrome trace that ui.perfetto.dev opens.
 *
 * Tracks, beside the program's threads: the cycles with their phases in them; the times for which
 * the world was stopped; counters of the heap. What happens at one moment is an instant of the
 * thread that it happened on.
 *
 *   .inv.nested   On a track two slices are apart or one in the other: a phase ends where the next
 *                 one begins, a cycle reaches over its phases and ends before the next cycle, and
 *                 what of a phase is outside of its cycle is cut off.
 *
 * A cycle's phases are found by their time. The ring of events and the list of cycles are of
 * different lengths, so there are cycles without phases (longer ago); phases without a cycle (one
 * that was under way, or failed) get one that reaches over them. Times are microseconds with three
 * digits behind the point: exact. */
#include "cli/arguments.h"
#include "cli/json_stream.h"
#include "cli/output.h"
#include "cli/profile.h"
#include "cycle/cycle.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Of tracks that are no thread: above every task id (at most 2^22). */
enum { TRACK_CYCLES = 1 << 23, TRACK_STOPS };

struct phase {
    uint64_t kind, begin, end;
};

struct span {
    uint64_t begin, end;
    const struct stats_cycle *cycle; /* NULL: it is not known, or not finished */
};

struct trace {
    const struct profile *profile;
    struct json_stream stream;
    LIST(struct phase) phases;
    LIST(struct span) spans;
    uint64_t stopped_until;
};

/* ---- records --------------------------------------------------------------------------------- */

/* Takes `args` over. */
static void put(struct trace *t, const char *kind, const char *name, uint64_t thread, uint64_t time,
                json_t *args)
{
    json_t *record = json_pack("{ss so sI sI sf so}", "ph", kind, "name", json_stream_text(name),
                               "pid", JSON_INT(t->profile->pid), "tid", JSON_INT(thread), "ts",
                               (double)time / 1000, "args", args);
    if (kind[0] == 'i')
        json_object_set_new(record, "s", json_string("t"));
    json_stream_put(&t->stream, record);
}

/* A slice [begin, end). */
static void put_slice(struct trace *t, const char *name, uint64_t track, uint64_t begin,
                      uint64_t end, json_t *args)
{
    json_t *record = json_pack("{ss so sI sI sf sf so}", "ph", "X", "name", json_stream_text(name),
                               "pid", JSON_INT(t->profile->pid), "tid", JSON_INT(track), "ts",
                               (double)begin / 1000, "dur", (double)(end - begin) / 1000, "args",
                               args);
    json_stream_put(&t->stream, record);
}

static void put_name(struct trace *t, const char *what, uint64_t thread, const char *name)
{
    put(t, "M", what, thread, 0, json_pack("{so}", "name", json_stream_text(name)));
}

static void put_names(struct trace *t)
{
    const struct profile *p = t->profile;
    const char *slash = strrchr(p->program, '/');
    put_name(t, "process_name", p->pid, slash != NULL ? slash + 1 : p->program);
    put_name(t, "thread_name", TRACK_CYCLES, "collector: cycles");
    put_name(t, "thread_name", TRACK_STOPS, "collector: world stopped");
    for (size_t i = 0; i < p->threads.count; i++)
        put_name(t, "thread_name", p->threads.items[i].tid, p->threads.items[i].name);
}

/* ---- cycles ---------------------------------------------------------------------------------- */

static int by_time(const void *one, const void *other)
{
    const struct phase *a = one, *b = other;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->kind < b->kind ? -1 : a->kind > b->kind; /* in their order in a cycle */
}

/* Each ends where the next one begins; the last one when the profile was taken. */
static void find_phases(struct trace *t)
{
    for (size_t i = 0; i < t->profile->events.count; i++) {
        const struct profile_event *e = &t->profile->events.items[i];
        if (e->kind == EVENT_PHASE)
            *LIST_ADD(&t->phases) = (struct phase){e->a, e->time, e->time};
    }
    if (t->phases.count == 0)
        return;
    qsort(t->phases.items, t->phases.count, sizeof(struct phase), by_time);
    struct phase *last = &t->phases.items[t->phases.count - 1];
    for (struct phase *phase = t->phases.items; phase < last; phase++)
        phase->end = phase[1].begin;
    if (t->profile->uptime_ns > last->begin)
        last->end = t->profile->uptime_ns;
}

static int by_begin(const void *one, const void *other)
{
    const struct span *a = one, *b = other;
    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

/* The phases from one ARM, or from the end of IDLE, to the next. */
static void find_runs(struct trace *t)
{
    struct span *run = NULL;
    for (size_t i = 0; i < t->phases.count; i++) {
        const struct phase *phase = &t->phases.items[i];
        if (phase->kind == CYCLE_IDLE_PHASE || phase->kind == CYCLE_ARM_PHASE)
            run = NULL;
        if (phase->kind == CYCLE_IDLE_PHASE)
            continue;
        if (run == NULL) {
            run = LIST_ADD(&t->spans);
            *run = (struct span){phase->begin, phase->end, NULL};
        }
        run->end = phase->end;
    }
}

/* Of the first `runs` spans the one that a cycle overlaps, or NULL. */
static struct span *overlapped(struct trace *t, size_t runs, const struct stats_cycle *cycle)
{
    for (size_t i = 0; i < runs; i++) {
        struct span *run = &t->spans.items[i];
        if (run->cycle == NULL && cycle->begun < run->end &&
            run->begin < cycle->begun + cycle->took)
            return run;
    }
    return NULL;
}

static void join_cycles(struct trace *t)
{
    size_t runs = t->spans.count;
    for (size_t i = 0; i < t->profile->cycles.count; i++) {
        const struct stats_cycle *c = &t->profile->cycles.items[i];
        uint64_t end = c->begun + c->took;
        struct span *span = overlapped(t, runs, c);
        if (span == NULL) {
            *LIST_ADD(&t->spans) = (struct span){c->begun, end, c};
            continue;
        }
        span->begin = c->begun < span->begin ? c->begun : span->begin;
        span->end = end > span->end ? end : span->end;
        span->cycle = c;
    }
}

static void find_spans(struct trace *t)
{
    find_runs(t);
    join_cycles(t);
    if (t->spans.count == 0)
        return;
    qsort(t->spans.items, t->spans.count, sizeof(struct span), by_begin);
    for (size_t i = 0; i + 1 < t->spans.count; i++)
        if (t->spans.items[i].end > t->spans.items[i + 1].begin)
            t->spans.items[i].end = t->spans.items[i + 1].begin;
}

static json_t *cycle_args(const struct span *span)
{
    const struct stats_cycle *cycle = span->cycle;
    json_t *args = json_object();
    if (cycle == NULL)
        return args;
#define SET(field) json_object_set_new(args, #field, json_integer(JSON_INT(cycle->field)));
    PROFILE_CYCLE_FIELDS(SET)
#undef SET
    json_object_set_new(args, "reason", json_string(profile_cycle_reason(cycle->reason)));
    return args;
}

static const char *phase_name(uint64_t kind)
{
    static const char *const names[] = {
#define NAME(name) #name,
        CYCLE_PHASES(NAME)
#undef NAME
    };
    return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "another phase";
}

/* .inv.nested */
static void put_phase(struct trace *t, const struct phase *phase, const struct span *span)
{
    uint64_t begin = phase->begin > span->begin ? phase->begin : span->begin;
    uint64_t end = phase->end < span->end ? phase->end : span->end;
    if (begin < end)
        put_slice(t, phase_name(phase->kind), TRACK_CYCLES, begin, end, json_object());
}

static void put_cycles(struct trace *t)
{
    char name[40];
    size_t at = 0;
    for (size_t i = 0; i < t->spans.count; i++) {
        const struct span *span = &t->spans.items[i];
        snprintf(name, sizeof(name), span->cycle != NULL ? "cycle %" PRIu64 : "unfinished cycle",
                 span->cycle != NULL ? span->cycle->number : 0);
        put_slice(t, name, TRACK_CYCLES, span->begin, span->end, cycle_args(span));
        for (; at < t->phases.count && t->phases.items[at].begin < span->end; at++)
            if (t->phases.items[at].kind != CYCLE_IDLE_PHASE)
                put_phase(t, &t->phases.items[at], span);
    }
}

/* ---- moments and events ---------------------------------------------------------------------- */

static void put_moments(struct trace *t)
{
    for (size_t i = 0; i < t->profile->moments.count; i++) {
        const struct stats_moment *m = &t->profile->moments.items[i];
        put(t, "C", "heap", t->profile->pid, m->time,
            json_pack("{sI sI}", "used", JSON_INT(m->heap_used), "live", JSON_INT(m->live)));
        put(t, "C", "leaks", t->profile->pid, m->time,
            json_pack("{sI sI}", "unreached", JSON_INT(m->unreached_bytes), "reclaimed",
                      JSON_INT(m->reclaimed_bytes)));
        if (m->resident_bytes != 0)
            put(t, "C", "resident", t->profile->pid, m->time,
                json_pack("{sI}", "bytes", JSON_INT(m->resident_bytes)));
    }
}

static void put_instant(struct trace *t, const struct profile_event *e)
{
    char name[40];
    size_t length = 0;
    for (; e->kind_name[length] != 0 && length < sizeof(name) - 1; length++)
        name[length] = (char)tolower((unsigned char)e->kind_name[length]);
    name[length] = 0;
    put(t, "i", name, e->thread, e->time,
        json_pack("{sI sI}", "a", JSON_INT(e->a), "b", JSON_INT(e->b)));
}

/* Begins no earlier than the last one ended, however the clock was rounded: .inv.nested. */
static void put_stop(struct trace *t, const struct profile_event *e)
{
    uint64_t begin = e->time > e->a ? e->time - e->a : 0;
    begin = begin > t->stopped_until ? begin : t->stopped_until;
    if (begin > e->time)
        return;
    t->stopped_until = e->time;
    put_slice(t, "stopped", TRACK_STOPS, begin, e->time,
              json_pack("{sI}", "cycle", JSON_INT(e->b)));
}

static void put_events(struct trace *t)
{
    for (size_t i = 0; i < t->profile->events.count; i++) {
        const struct profile_event *e = &t->profile->events.items[i];
        if (e->kind == EVENT_STOP)
            put_stop(t, e);
        else if (e->kind != EVENT_PHASE)
            put_instant(t, e);
    }
}

static void write_trace(struct trace *t, FILE *out)
{
    t->stream = (struct json_stream){.out = out};
    find_phases(t);
    find_spans(t);
    fprintf(out, "{");
    json_stream_put_as(&t->stream, "displayTimeUnit", json_string("ns"));
    json_stream_open(&t->stream, "traceEvents", '[');
    put_names(t);
    put_cycles(t);
    put_moments(t);
    put_events(t);
    json_stream_close(&t->stream, ']');
    fprintf(out, "}\n");
    free(t->phases.items);
    free(t->spans.items);
}

int trace_main(int argc, char **argv)
{
    struct arguments arguments;
    struct profile profile;
    struct output output;
    if (!arguments_parse(argc, argv, 1, "gcmalloc trace [--output FILE] FILE", &arguments))
        return STATUS_USAGE;
    enum status status = profile_read(arguments.files[0], &profile);
    if (status == STATUS_OK)
        status = output_open(&output, arguments.output, false);
    if (status != STATUS_OK)
        return status;
    write_trace(&(struct trace){.profile = &profile}, output.stream);
    return output_close(&output);
}
