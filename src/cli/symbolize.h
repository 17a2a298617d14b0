/* symbolize.h -- names, files and lines for code addresses of another process.
 *
 * What is known are its modules (START, END, BUILD_ID, PATH, and when they were there); the files
 * are read with elfutils: inlined calls, separate debug information (/usr/lib/debug, .debug links,
 * .gnu_debugdata), and debuginfod where DEBUGINFOD_URLS is set.
 *
 *   .inv.same   A file counts only if its build id is that of the module: programs are replaced
 *               while they run. One that is not used is named once on standard error. A module
 *               without a build id is believed.
 *
 * An address is looked up once, however many stacks share it. What was returned stays valid until
 * the symbolizer is closed. */
#ifndef GC_CLI_SYMBOLIZE_H
#define GC_CLI_SYMBOLIZE_H

#include "cli/profile.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame {
    uint64_t pc;                         /* the return address - 1: in the call, not behind it */
    const char *function;                /* demangled; NULL: not known */
    const char *file;                    /* NULL: not known; then line and column are 0 */
    int line, column;                    /* 0: not known */
    const struct profile_module *module; /* NULL: in none */
    uint64_t offset;                     /* in the module, as in its file: for addr2line */
    bool inlined;                        /* into the next frame of the same address */
};

/* The calls that one return address stands for, innermost first: never none, the last one is no
 * inlined one. */
struct frames {
    const struct frame *items;
    size_t count;
};

struct symbolizer;

/* `seconds`: after so many only modules and offsets are given; 0: no limit. */
struct symbolizer *symbolizer_open(const struct profile_module *modules, size_t count,
                                   double seconds);
void symbolizer_close(struct symbolizer *symbolizer);
/* Frames of a return address in a stack that was seen at `time` (ns since the process's start). */
struct frames symbolize(struct symbolizer *symbolizer, uint64_t return_address, uint64_t time);

#endif
