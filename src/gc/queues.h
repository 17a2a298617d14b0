/* queues.h -- references on their way through a pipe or a unix socket.
 *
 * Thread safety: queues_note_new: any thread. The others: the collector. */
#ifndef GC_QUEUES_H
#define GC_QUEUES_H

#include "gc/mark.h"

/* The program has made a pipe or a unix socket. */
void queues_note_new(void);
/* Lists what may hold references of the program's, if that has not been done in this mark, or there
 * is something new. `task` is one of the program's, with its descriptors; 0: the caller is. NULL,
 * or why that cannot be told: a static text. */
const char *queues_find(int32_t task);
/* The same, while the program runs: left to the pause if that takes little there. */
const char *queues_find_beside(int32_t task);
/* Is there an io_uring among what was listed? Its requests in flight are shown to nobody. */
bool queues_have_ring(void);
/* The world is stopped: marks from what is in them. Before memory is read: what the kernel hands to
 * a sleeping thread after that is found where it was put. */
const char *queues_scan(struct marker *m, int32_t task);
/* The mark has ended. */
void queues_end(void);

#endif
