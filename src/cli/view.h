/* view.h -- what a running process did since the last look: the figures behind `gcmalloc top`. */
#ifndef GC_CLI_VIEW_H
#define GC_CLI_VIEW_H

#include "cli/process.h"
#include "cli/tasks.h"

enum view_order { VIEW_BY_BYTES, VIEW_BY_RATE, VIEW_BY_BLOCKS };

struct view_site {
    struct stats_site site;
    double rate; /* bytes per second since the last look */
};

struct view {
    struct process *process;
    struct stats_page page;
    enum view_order order;
    struct view_site sites[STATS_SITES]; /* page.sites_count of them, in `order` */
    struct tasks tasks;
    double leak_rate;       /* bytes per second, over the last minute that the page tells of */
    double collector_share; /* of one processor, since the start */
    bool rates;             /* the page was renewed since the last look: rates are known */
};

void view_open(struct view *view, struct process *process);
void view_close(struct view *view);
/* Takes another page; `process_look` has made it. */
void view_take(struct view *view, const struct stats_page *page);
void view_sort(struct view *view, enum view_order order);
/* The cycle that ended `back` cycles before the last one; NULL: the page tells of none. */
const struct stats_cycle *view_cycle(const struct view *view, unsigned back);

#endif
