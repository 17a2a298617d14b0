/* page.h -- the page that a process shows of itself (watch/stats_page.h), read from outside.
 *
 * The page is read with pread, not mapped: a process that cuts its page short, or ends, costs its
 * reader an error and not a SIGBUS. A copy is whole or is not made.
 *
 *   .inv.layout  A copy has the layout that this command was built with, whatever the process's
 *                is: rows that it lacks in the table of totals are 0, those we do not know are
 *                left out. Other versions are refused. */
#ifndef GC_CLI_PAGE_H
#define GC_CLI_PAGE_H

#include "watch/stats_page.h"

#include <stdbool.h>
#include <stddef.h>

struct page {
    int fd;                  /* -1: none */
    uint32_t totals_size;    /* as the process has it */
};

enum page_state {
    PAGE_GOOD,
    PAGE_MISSING,  /* no page yet, or it cannot be read */
    PAGE_FOREIGN,  /* a page, but of another version or shape */
    PAGE_BUSY,     /* it was being written for a second, whenever we looked */
};

/* Takes the descriptor over, closing it if the page is no good; `version`: that it names. */
enum page_state page_open(struct page *page, int fd, uint32_t *version);
void page_close(struct page *page);
/* Everything but the events. */
enum page_state page_copy(const struct page *page, struct stats_page *copy);
/* That the page be renewed for the next `ns`. False: it may not be written. */
bool page_watch(const struct page *page, uint64_t ns);

#endif
