/* json_stream.h -- JSON written record by record: the brackets here, the records by jansson. */
#ifndef GC_CLI_JSON_STREAM_H
#define GC_CLI_JSON_STREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* jansson's integers; a profile's fit (profile.h, .inv.whole). */
#define JSON_INT(value) ((json_int_t)(value))

struct json_stream {
    FILE *out; /* which keeps its error if it cannot be written */
    bool some; /* records in the list that is open */
};

/* `bracket` is that of the list or object. */
void json_stream_open(struct json_stream *stream, const char *name, char bracket);
void json_stream_close(struct json_stream *stream, char bracket);
/* One record of the list, on a line of its own. Takes it over. */
void json_stream_put(struct json_stream *stream, json_t *record);
/* The same with a key, in an object. */
void json_stream_put_as(struct json_stream *stream, const char *key, json_t *record);
/* Before a record that the caller writes himself. */
void json_stream_separate(struct json_stream *stream);
/* A text, repaired if it is no UTF-8; null for NULL. */
json_t *json_stream_text(const char *bytes);

#endif
