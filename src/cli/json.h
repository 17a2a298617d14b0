/* json.h -- a profile as JSON. What report --json prints, and the page of report --html contains.
 *
 * One object; sizes in bytes, times and durations in ns, all numbers are integers below 2^63:
 *
 *   {"version": 2,
 *    "process": {"pid", "ppid", "uid", "program", "arguments": [...], "started_unix_ns",
 *                "uptime_ns", "reason"},
 *    "options": {NAME: "VALUE"}, "totals": {NAME: VALUE}, "notes": [...],
 *    "unrecorded": why no stacks were recorded, or null,
 *    "sampled": whether blocks with a stack stand for those without one,
 *    "modules": [{"start", "end" ("0x..."), "loaded", "unloaded", "build_id", "path"}],
 *    "forgotten_modules": how many that were unloaded are not among them,
 *    "threads": [{"tid", "name"}],
 *    "stacks": {"ID": [PLACE, ...]},     in "frames", from 0, leaf first
 *    "frames": [[{"pc": "0x...", "function", "file", "line", "column", "module",
 *                 "offset": "0x...", "inlined"}, ...]],   an address each, with what is inlined
 *                                                         there; leaf first
 *    "sites": [{"stack", "allocated_blocks", "allocated_bytes", "freed_blocks", "freed_bytes"}],
 *    "reach": [{"stack", "size", "blocks", "bytes", "estimated_blocks", "estimated_bytes"}],
 *    "leaks": [{"stack", "size", "kind": "direct"|"indirect", "state": "remaining"|"reclaimed",
 *               "blocks", "bytes", "youngest", "oldest", "estimated_blocks",
 *               "estimated_bytes"}],
 *    "contradictions": [{"stack", "count"}],
 *    "cycles": [{the fields of struct stats_cycle, "reason" as a word}],
 *    "moments": [{the fields of struct stats_moment}],
 *    "events": [{"time", "thread", "kind", "a", "b"}]}
 *
 * "blocks" and "bytes" were counted one by one; "estimated_..." are how many there are of the stack
 * (unbiased), and nothing for those without one where others stand for them: both add up to about
 * the same. What sites have is estimated; all is exact where "sampled" is false.
 *
 * "function", "file" and "module" are null if they are not known; "line" and "column" are 0 then.
 * Version 1 had the frames themselves in each stack. A frame's "pc" is its return address - 1. The
 * text is UTF-8: what was none in a name is replaced by U+FFFD. One record a line. */
#ifndef GC_CLI_JSON_H
#define GC_CLI_JSON_H

#include "cli/profile.h"
#include "cli/symbolize.h"

#include <stdio.h>

/* The caller looks at the stream's error. */
void json_write(const struct profile *profile, struct symbolizer *symbolizer, FILE *out);

#endif
