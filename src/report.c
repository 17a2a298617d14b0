/* report.c -- what is told of the process, where to, and when.
 *
 * The leak report is for people, and names functions; the profile is for the gcmalloc command. Both
 * are written from the same accounts (watch/). */
#include "report.h"

#include "cycle/cycle.h"
#include "cycle/probation.h"
#include "gc/withheld.h"
#include "sys/mem.h"
#include "sys/options.h"
#include "sys/print.h"
#include "watch/destination.h"
#include "watch/history.h"
#include "watch/leak.h"
#include "watch/profile.h"
#include "watch/symbol.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static bool wants(const char *destination)
{
    return options.mode != MODE_OFF && strcmp(destination, "off") != 0;
}

bool report_records(void)
{
    return wants(options.report) || wants(options.profile);
}

/* C++ names are readable if libstdc++ is loaded. */
static void find_demangler(void)
{
    union {
        void *address;
        symbol_demangler *call;
    } found = {.address = dlsym(RTLD_DEFAULT, "__cxa_demangle")};
    if (found.address != NULL)
        symbol_set_demangler(found.call, free);
}

static void write_report(const char *not_collected, const struct cycle_record *last)
{
    struct leak_summary summary = {
        .destination = options.report,
        .not_collected = not_collected,
        .reachable_blocks = last->marked_blocks,
        .reachable_bytes = last->marked_bytes,
        .interlock = options.mode == MODE_COLLECT ? last->interlock : NULL,
        .contradictions = probation_status().contradictions,
        .written = probation_status().written,
        .withheld = withheld_counts().blocks,
        .touched = withheld_counts().touched,
        .max_groups = (unsigned)options.max_leaks,
    };
    if (leak_any())
        find_demangler();
    leak_report_write(&summary);
}

static void write_profile(enum profile_reason reason, const char *not_collected,
                          const char *interlock)
{
    const char *notes[3] = {NULL};
    size_t count = 0;
    int fd = destination_open(options.profile, "the profile", false);
    if (not_collected != NULL)
        notes[count++] = not_collected;
    if (interlock != NULL)
        notes[count++] = interlock;
    if (fd < 0)
        return;
    if (!profile_write(fd, reason, notes))
        print_error("the profile could not be written whole to '%s'", options.profile);
    destination_close(fd);
}

void report_at_exit(const char *not_collected)
{
    struct cycle_record last = cycle_last();
    history_add_moment(mem_resident());
    if (wants(options.report))
        write_report(not_collected, &last);
    if (wants(options.profile))
        write_profile(PROFILE_EXIT, not_collected, last.interlock);
}
