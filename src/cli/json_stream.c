/* json_stream.c -- JSON written record by record. */
#include "cli/json_stream.h"

#include "cli/utf8.h"

#include <stdlib.h>

enum { FLAGS = JSON_COMPACT | JSON_ENCODE_ANY };

json_t *json_stream_text(const char *bytes)
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

static int to_file(const char *bytes, size_t size, void *out)
{
    return fwrite(bytes, 1, size, out) == size ? 0 : -1;
}

void json_stream_separate(struct json_stream *stream)
{
    fprintf(stream->out, stream->some ? ",\n" : "\n");
    stream->some = true;
}

void json_stream_open(struct json_stream *stream, const char *name, char bracket)
{
    json_stream_separate(stream);
    fprintf(stream->out, "\"%s\": %c", name, bracket);
    stream->some = false;
}

void json_stream_close(struct json_stream *stream, char bracket)
{
    fprintf(stream->out, "%s%c", stream->some ? "\n" : "", bracket);
    stream->some = true; /* in what it stands in */
}

void json_stream_put(struct json_stream *stream, json_t *record)
{
    json_stream_separate(stream);
    json_dump_callback(record, to_file, stream->out, FLAGS);
    json_decref(record);
}

void json_stream_put_as(struct json_stream *stream, const char *key, json_t *record)
{
    json_t *name = json_stream_text(key);
    json_stream_separate(stream);
    json_dump_callback(name, to_file, stream->out, FLAGS);
    fprintf(stream->out, ": ");
    json_dump_callback(record, to_file, stream->out, FLAGS);
    json_decref(name);
    json_decref(record);
}
