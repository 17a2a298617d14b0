/* report.h -- what is told of the process, where to, and when. */
#ifndef GC_REPORT_H
#define GC_REPORT_H

#include "base/base.h"

/* Why nothing is collected, and why nothing is reclaimed in the end: static texts, or NULL. */
struct report_reasons {
    const char *not_collected, *not_reclaimed;
};

/* The options have been read. */
void report_init(void);
/* Are leaks to be told at all: did anybody want sites and stacks at the start? */
bool report_records(void);
/* Why no stacks are recorded, in a few words; NULL: they are. */
const char *report_no_stacks(void);
/* Once, when the collector has started, if it `collects`. */
void report_start(bool collects, void (*ask_reasons)(struct report_reasons *out));
/* The program begins: a thread may be made. */
void report_start_periodic(void);
/* The process ends, and the last cycle has run. */
void report_at_exit(const struct report_reasons *why);
/* What it should end with because it leaked; 0: as it likes. */
int report_exit_status(void);

/* A leak report, or a profile, to a file now, named as in the options. Behind a stub
 * (mutator/entry.h). 0, or an errno. */
int report_to(const char *path, bool profile);
/* In fork's child; the second only where there is a collector. */
void report_after_fork(void);
void report_resume_periodic(void);

/* For collector_settings. */
void report_thread_begun(void);
void report_thread_ended(void);
uint64_t report_look(void);
void report_answer(uint32_t commands);

#endif
