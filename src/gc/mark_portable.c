/* mark_portable.c -- the marking loop for any x86-64. */
#include "gc/scan.h"

#define LOOP_NAME mark_loop_portable
#define LOOP_TARGET
#define LOOP_HITS scan_filter_portable
#include "gc/mark_loop.h"
