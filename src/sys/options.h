/* options.h -- the settings of the library: GCMALLOC=key=value,key=value and GCMALLOC_CONF=FILE.
 *
 * The file is read first (same syntax; newlines separate as commas do; # starts a comment), the
 * variable after it, so that the variable wins. An unknown key or a malformed or out-of-range
 * value is named on standard error, one line each, and the default stays.
 * Written by options_parse() before any other thread exists. Some may change afterwards
 * (options_set): numbers are read by once(), texts by options_text; the others are read-only. */
#ifndef GC_OPTIONS_H
#define GC_OPTIONS_H

#include "base/base.h"

enum { MODE_OFF, MODE_REPORT, MODE_COLLECT, MODE_SHAKEDOWN };
enum { STACKS_NONE, STACKS_SAMPLED, STACKS_ALL };
enum { OPTION_PATH_MAX = 256 };
/* Whatever the unit that it was given in, and that some names have. */
struct option_time {
    uint64_t ns;
};

#define OPTION_INT(name, default_value, least, most, help) int64_t name;
#define OPTION_SIZE(name, default_value, least, most, help) uint64_t name;
#define OPTION_TIME(name, default_value, least, most, unit, help) struct option_time name;
#define OPTION_ENUM(name, default_value, help, ...) int name;
#define OPTION_PATH(name, default_value, help) char name[OPTION_PATH_MAX];
struct options {
#include "sys/options.inc"
};
#undef OPTION_INT
#undef OPTION_SIZE
#undef OPTION_TIME
#undef OPTION_ENUM
#undef OPTION_PATH

extern struct options options;

/* envp: a NULL-terminated environment, or NULL. Complaints go to descriptor `complain_fd`. */
void options_parse(char *const *envp, int complain_fd);
/* Parses one "key=value,key=value" text into `into`; returns the number of complaints. */
unsigned options_parse_text(struct options *into, const char *text, size_t length, int complain_fd);
/* Sets every field to its default. */
void options_set_defaults(struct options *into);
/* Every option with its value in `options`, default, range and meaning, to a descriptor;
 * options_parse() does it by itself for help=1. */
void options_print_help(int fd);
enum option_result { OPTION_SET, OPTION_UNKNOWN, OPTION_BAD_VALUE };
/* The option of that name is set; `value` as after '=' in GCMALLOC. Nothing is said. Any thread. */
enum option_result options_set(const char *name, const char *value);
/* Its value as text, cut to `room` bytes, the last of them 0. Returns the length of all of it; -1:
 * there is no such option. Any thread. */
long options_get(const char *name, char *buffer, size_t room);
/* A copy of a file name that may be changed meanwhile. Any thread. */
void options_text(const char field[OPTION_PATH_MAX], char out[OPTION_PATH_MAX]);
struct lock *options_lock(void);
/* Calls visit for each option, with its value as text. */
void options_each(void (*visit)(const char *name, const char *value, void *data), void *data);
/* Value of NAME in envp, or NULL: getenv without libc. */
const char *env_lookup(char *const *envp, const char *name);

#endif
