/* utf8.h -- texts for formats that take UTF-8 only: a program's names may be any bytes. */
#ifndef GC_CLI_UTF8_H
#define GC_CLI_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character that begins there; 0: it is none. */
size_t utf8_character(const char *at);
bool utf8_valid(const char *text);
/* A copy, in which each byte that belongs to no character is replaced by U+FFFD. */
char *utf8_repaired(const char *text);

#endif
