/* cgroup.h -- how much memory the process's control group may use, and does.
 *
 * Version 2 (memory.max, memory.current) and version 1 (memory.limit_in_bytes,
 * memory.usage_in_bytes); the tightest limit of the group and those above it counts. */
#ifndef GC_CGROUP_H
#define GC_CGROUP_H

#include "base/base.h"

/* Bytes until the tightest limit's `share` percent is reached, below 0 when it has been passed;
 * INT64_MAX if there is no limit, or none can be read. Opens files. */
int64_t cgroup_room(unsigned share);

/* For tests: the same with the files below other directories than /proc/self and /sys/fs/cgroup. */
int64_t cgroup_room_at(const char *proc, const char *sys, unsigned share);

#endif
