/* mark_tagged.c -- the marking loop for programs that tag their pointers (tag_bits). */
#include "gc/scan.h"

#define LOOP_NAME mark_loop_tagged
#define LOOP_TARGET
#define LOOP_HITS scan_filter_tagged
#include "gc/mark_loop.h"
