/* shared_page.h -- writing the page that others map (stats_page.h).
 *
 * Thread safety: all on the collector's thread, whose descriptors nobody else meets. */
#ifndef GC_SHARED_PAGE_H
#define GC_SHARED_PAGE_H

#include "base/base.h"

struct stats_page;

/* The reserved signal, for those who attach. */
void shared_page_open(int signal);
void shared_page_close(void);
/* Does somebody look at it? */
bool shared_page_watched(void);
/* Why nothing is collected; and why nothing is reclaimed; or NULL. `resident` is mem_resident(). */
void shared_page_renew(const char *not_collected, const char *interlock, uint64_t resident);
/* As it was renewed last, even where no file for it could be had. */
const struct stats_page *shared_page_shown(void);
/* A file for a snapshot; negative: there is none. It goes to shared_page_answer, which shows it, or
 * that there is none, with the next renewal. */
int shared_page_new_snapshot(void);
/* It could not be written. */
void shared_page_drop_snapshot(int fd);
void shared_page_answer(uint32_t commands, int snapshot);

#endif
