/* units.h -- figures for people. */
#ifndef GC_CLI_UNITS_H
#define GC_CLI_UNITS_H

#include <stdint.h>

/* A text by value, so that several fit into one printf. */
struct units_text {
    char text[24];
};

struct units_text units_bytes(uint64_t bytes);      /* "12.3 MiB" */
struct units_text units_duration(uint64_t ns);      /* "0.45 ms", "12.3 s" */
struct units_text units_uptime(uint64_t ns);        /* "1:02:03" */

#endif
