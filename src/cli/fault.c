/* fault.c -- one clear line for whatever goes wrong. */
#include "cli/fault.h"

#include <stdarg.h>
#include <stdio.h>

enum status fault(enum status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "gcmalloc: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    return status;
}
