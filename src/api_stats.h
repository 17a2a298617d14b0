/* api_stats.h -- what fork has to know of api_stats.c. */
#ifndef GC_API_STATS_H
#define GC_API_STATS_H

struct lock *api_stats_lock(void);

#endif
