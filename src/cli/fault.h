/* fault.h -- one clear line for whatever goes wrong. */
#ifndef GC_CLI_FAULT_H
#define GC_CLI_FAULT_H

#include "cli/command.h"

/* "gcmalloc: MESSAGE" to standard error; returns the status, for `return fault(...)`. */
enum status fault(enum status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
