/* task.h -- the threads of this process as the kernel lists them (/proc/self/task). */
#ifndef GC_TASK_H
#define GC_TASK_H

#include "base/base.h"

/* Fills up to `capacity` thread ids. Returns the number of threads there are (which may exceed
 * `capacity`), or -1 when /proc is not readable. */
long task_list(int32_t *tids, size_t capacity);
/* How many there are, in constant time; or another number: this one may be wrong. */
long task_count(void);
/* The state letter of /proc/self/task/TID/stat ('R', 'S', 'D', 'Z', 'X'), 0 if it is gone, '?' if
 * that could not be found out. */
char task_state(int32_t tid);
/* Is it there, and not a zombie? True if that could not be found out. */
bool task_lives(int32_t tid);
/* /proc/self/task/TID/FOLDER/NAME, or without NAME if that is NULL; tid 0: the calling thread's.
 * */
struct task_path {
    char text[96];
};
struct task_path task_path(int32_t tid, const char *folder, const char *name);
/* The thread id that a name in /proc/self/task spells; 0: none. */
int32_t task_of_name(const char *name);
/* Its signals, as masks. */
struct task_signals {
    uint64_t pending, pending_for_all, blocked;
};
enum task_known { TASK_KNOWN, TASK_GONE, TASK_UNKNOWN };
enum task_known task_signals(int32_t tid, struct task_signals *out);
/* Processors that the calling thread may run on. */
unsigned task_processors(void);
/* Lets the calling thread run for `ns` at a time (0.1 to 100 ms) when others want its processor,
 * without taking anything from its share. Linux 6.12; nothing happens before that, or if it is not
 * scheduled in the ordinary way. */
void task_set_slice(uint64_t ns);

#endif
