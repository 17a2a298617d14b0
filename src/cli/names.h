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
/* Frame `index` of a return address, the innermost call being 0: "function (file:line)", or
 * "module+0xoffset" where no more is known. False: there is no such frame. What was inlined is a
 * frame of its own. */
bool names_of(struct names *names, uint64_t address, size_t index, char text[NAMES_TEXT]);
/* Is the address in a library that only passes a request on to malloc (libc's strdup, C++'s new)?
 * Such a frame says nothing of where a leak comes from. */
bool names_passes_on(struct names *names, uint64_t address);

#endif
