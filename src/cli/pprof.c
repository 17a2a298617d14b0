/* pprof.c -- a profile for `pprof`.
 *
 * Strings, functions and locations are numbered as they are met (met.h). The key of a location is
 * the address of its frames: symbolize.h gives the same ones for the same address of the same
 * module. What has no stack gets a location of its own with one function, "(no stack recorded)":
 * pprof leaves out samples without one.
 *
 * The messages are those that protobuf-c's compiler makes of pprof.proto. They refer to each other
 * by pointers, so all are made first and packed at the end. */
#include "cli/pprof.h"

#include "cli/met.h"
#include "cli/usage.h"
#include "cli/utf8.h"

#include <inttypes.h>
#include <pprof.pb-c.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define NO_STACK "(no stack recorded)"

typedef Perftools__Profiles__Profile Profile;
typedef Perftools__Profiles__ValueType ValueType;
typedef Perftools__Profiles__Sample Sample;
typedef Perftools__Profiles__Mapping Mapping;
typedef Perftools__Profiles__Location Location;
typedef Perftools__Profiles__Line Line;
typedef Perftools__Profiles__Function Function;

struct builder {
    const struct profile *profile;
    struct symbolizer *symbolizer;
    LIST(char *) strings;
    LIST(Function *) functions;
    LIST(Location *) locations;
    LIST(Mapping *) mappings;
    LIST(Sample *) samples;
    struct met met_strings, met_functions, met_locations;
};

/* ---- strings and functions ------------------------------------------------------------------- */

static int64_t string(struct builder *b, const char *text)
{
    bool is_new;
    uint64_t number = met_number(&b->met_strings, met_hash_text(1, text), &is_new);
    if (is_new)
        *LIST_ADD(&b->strings) = utf8_repaired(text);
    return (int64_t)number - 1;
}

static uint64_t function(struct builder *b, const char *name, const char *file)
{
    int64_t name_number = string(b, name), file_number = string(b, file);
    uint64_t hash = met_hash(met_hash(1, (uint64_t)name_number), (uint64_t)file_number);
    bool is_new;
    uint64_t number = met_number(&b->met_functions, hash, &is_new);
    if (is_new) {
        Function *f = *LIST_ADD(&b->functions) = list_alloc(1, sizeof(*f));
        perftools__profiles__function__init(f);
        f->id = number;
        f->name = f->system_name = name_number;
        f->filename = file_number;
    }
    return number;
}

/* ---- mappings -------------------------------------------------------------------------------- */

static void add_mapping(struct builder *b, const struct profile_module *module)
{
    Mapping *m = *LIST_ADD(&b->mappings) = list_alloc(1, sizeof(*m));
    perftools__profiles__mapping__init(m);
    m->id = (uint64_t)(module - b->profile->modules.items) + 1;
    m->memory_start = module->start;
    m->memory_limit = module->end;
    m->filename = string(b, module->path);
    m->build_id = string(b, module->build_id);
    m->has_functions = m->has_filenames = m->has_line_numbers = m->has_inline_frames = true;
}

/* The first mapping is the program, by which pprof names the whole. */
static void add_mappings(struct builder *b)
{
    const struct profile *p = b->profile;
    size_t main = 0;
    while (main < p->modules.count && strcmp(p->modules.items[main].path, p->program) != 0)
        main++;
    if (main < p->modules.count)
        add_mapping(b, &p->modules.items[main]);
    for (size_t i = 0; i < p->modules.count; i++)
        if (i != main)
            add_mapping(b, &p->modules.items[i]);
}

/* ---- locations ------------------------------------------------------------------------------- */

static Line *line_of(struct builder *b, const struct frame *f)
{
    Line *line = list_alloc(1, sizeof(*line));
    perftools__profiles__line__init(line);
    line->function_id = function(b, f->function, f->file != NULL ? f->file : "");
    line->line = f->line;
    line->column = f->column;
    return line;
}

static Location *add_location(struct builder *b, uint64_t id)
{
    Location *l = *LIST_ADD(&b->locations) = list_alloc(1, sizeof(*l));
    perftools__profiles__location__init(l);
    l->id = id;
    return l;
}

/* Frames without a name have no line: pprof shows their address and mapping then. */
static void fill_location(struct builder *b, Location *l, struct frames frames)
{
    const struct frame *f = frames.items;
    l->address = f->pc;
    if (f->module != NULL)
        l->mapping_id = (uint64_t)(f->module - b->profile->modules.items) + 1;
    l->line = list_alloc(frames.count, sizeof(*l->line));
    for (size_t i = 0; i < frames.count; i++)
        if (f[i].function != NULL)
            l->line[l->n_line++] = line_of(b, &f[i]);
}

static uint64_t location(struct builder *b, struct frames frames)
{
    bool is_new;
    uint64_t number = met_number(&b->met_locations, met_hash(1, (uintptr_t)frames.items), &is_new);
    if (is_new)
        fill_location(b, add_location(b, number), frames);
    return number;
}

static uint64_t no_location(struct builder *b)
{
    static const struct frame none[1] = {{.function = NO_STACK}};
    return location(b, (struct frames){none, 1});
}

/* ---- samples: estimates, as in Go's heap profiles -------------------------------------------- */

static const enum usage_kind kinds[] = {USAGE_allocated, USAGE_live, USAGE_leaked};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void set_locations(struct builder *b, Sample *sample, const struct profile_stack *stack)
{
    size_t depth = stack != NULL ? stack->depth : 0;
    sample->location_id = list_alloc(depth + 1, sizeof(uint64_t));
    for (size_t i = 0; i < depth; i++)
        sample->location_id[sample->n_location_id++] =
            location(b, symbolize(b->symbolizer, b->profile->pcs.items[stack->first + i],
                                  stack->time));
    if (depth == 0)
        sample->location_id[sample->n_location_id++] = no_location(b);
}

static void add_sample(struct builder *b, const struct usage_row *row)
{
    uint64_t any = 0;
    for (size_t i = 0; i < KINDS; i++)
        any |= row->estimated[kinds[i]].blocks | row->estimated[kinds[i]].bytes;
    if (any == 0)
        return;
    Sample *sample = *LIST_ADD(&b->samples) = list_alloc(1, sizeof(*sample));
    perftools__profiles__sample__init(sample);
    set_locations(b, sample, row->stack);
    sample->value = list_alloc((size_t)2 * KINDS, sizeof(int64_t));
    for (size_t i = 0; i < KINDS; i++) {
        sample->value[sample->n_value++] = (int64_t)row->estimated[kinds[i]].blocks;
        sample->value[sample->n_value++] = (int64_t)row->estimated[kinds[i]].bytes;
    }
}

static void add_samples(struct builder *b)
{
    struct usage usage = usage_make(b->profile);
    for (size_t i = 0; i < usage.count; i++)
        add_sample(b, &usage.rows[i]);
    free(usage.rows);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static ValueType *value_type(struct builder *b, const char *type, const char *unit)
{
    ValueType *v = list_alloc(1, sizeof(*v));
    perftools__profiles__value_type__init(v);
    v->type = string(b, type);
    v->unit = string(b, unit);
    return v;
}

static void set_types(struct builder *b, Profile *out)
{
    static const char *const types[][2] = {
        {"alloc_objects", "count"}, {"alloc_space", "bytes"},   {"inuse_objects", "count"},
        {"inuse_space", "bytes"},   {"leaked_objects", "count"}, {"leaked_space", "bytes"},
    };
    out->n_sample_type = sizeof(types) / sizeof(types[0]);
    out->sample_type = list_alloc(out->n_sample_type, sizeof(*out->sample_type));
    for (size_t i = 0; i < out->n_sample_type; i++)
        out->sample_type[i] = value_type(b, types[i][0], types[i][1]);
    out->default_sample_type = string(b, "leaked_space");
    out->period_type = value_type(b, "space", "bytes");
    out->period = (int64_t)profile_sample(b->profile);
}

static void set_comments(struct builder *b, Profile *out)
{
    const struct profile *p = b->profile;
    char process[64];
    snprintf(process, sizeof(process), "process %" PRIu64, p->pid);
    out->comment = list_alloc(3 + p->notes.count, sizeof(int64_t));
    out->comment[out->n_comment++] = string(b, process);
    out->comment[out->n_comment++] = string(b, p->program);
    for (size_t i = 0; i < p->notes.count; i++)
        out->comment[out->n_comment++] = string(b, p->notes.items[i]);
    if (p->unrecorded != NULL)
        out->comment[out->n_comment++] = string(b, p->unrecorded);
    out->time_nanos = (int64_t)(p->started_unix_ns + p->uptime_ns);
    out->duration_nanos = (int64_t)p->uptime_ns;
}

static void build(struct builder *b, Profile *out)
{
    string(b, "");
    add_mappings(b);
    set_types(b, out);
    set_comments(b, out);
    add_samples(b);
    out->mapping = b->mappings.items;
    out->n_mapping = b->mappings.count;
    out->sample = b->samples.items;
    out->n_sample = b->samples.count;
    out->location = b->locations.items;
    out->n_location = b->locations.count;
    out->function = b->functions.items;
    out->n_function = b->functions.count;
    out->string_table = b->strings.items;
    out->n_string_table = b->strings.count;
}

/* gzip's form, which pprof wants. */
static void write_compressed(const uint8_t *bytes, size_t size, FILE *out)
{
    uint8_t buffer[1 << 14];
    z_stream z = {.next_in = (uint8_t *)bytes};
    int result = deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                              Z_DEFAULT_STRATEGY);
    for (const uint8_t *end = bytes + size; result == Z_OK;) {
        size_t left = (size_t)(end - z.next_in);
        z.avail_in = left < INT32_MAX ? (uInt)left : INT32_MAX;
        z.next_out = buffer;
        z.avail_out = sizeof(buffer);
        result = deflate(&z, z.avail_in == left ? Z_FINISH : Z_NO_FLUSH);
        fwrite(buffer, 1, sizeof(buffer) - z.avail_out, out);
    }
    deflateEnd(&z);
}

/* The builder's memory is left to the end of the command, which comes next. */
void pprof_write(const struct profile *profile, struct symbolizer *symbolizer, FILE *out)
{
    Profile message = PERFTOOLS__PROFILES__PROFILE__INIT;
    struct builder b = {.profile = profile, .symbolizer = symbolizer};
    build(&b, &message);
    size_t size = perftools__profiles__profile__get_packed_size(&message);
    uint8_t *bytes = list_alloc(size, 1);
    perftools__profiles__profile__pack(&message, bytes);
    write_compressed(bytes, size, out);
    free(bytes);
}
