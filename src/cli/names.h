/* names.h -- names for the code addresses of a running process. */
#ifndef GC_CLI_NAMES_H
#define GC_CLI_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NAMES_TEXT = 256 };

struct names;

/* NULL: no memory. */
struct names *names_open(int pid);
void names_close(struct names *names); /* NULL: nothing */
/* "function file:line", or "module+0xoffset" where no more is known; `address` is a return address,
 * and what calls it is named. */
void names_of(struct names *names, uint64_t address, char *text);
/* Is the address in a library that only passes a request on to malloc (libc's strdup, C++'s new)?
 * Such a frame says nothing of where a leak comes from. */
bool names_passes_on(struct names *names, uint64_t address);

#endif
