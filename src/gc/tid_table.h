/* tid_table.h -- from a task's id to a small number, in constant time.
 *
 * A thousand threads, looked up one after the other in a list, cost a stop a millisecond.
 *
 * Thread safety: one writer; readers may look for what was put before they were told to. */
#ifndef GC_TID_TABLE_H
#define GC_TID_TABLE_H

#include "base/atomic.h"
#include "base/base.h"

enum { TID_TABLE_MOST = 16384, TID_TABLE_CELLS = 2 * TID_TABLE_MOST + 2 };

struct tid_table {
    _Atomic int32_t tids[TID_TABLE_CELLS]; /* 0: free */
    uint16_t values[TID_TABLE_CELLS];
    uint16_t used[TID_TABLE_MOST + 1];     /* cells, in the order of putting */
    uint32_t count;
};

void tid_table_clear(struct tid_table *t);
/* `tid` is not in it; at most TID_TABLE_MOST + 1 are. */
void tid_table_put(struct tid_table *t, int32_t tid, uint16_t value);
/* False: it is not in it. */
bool tid_table_get(const struct tid_table *t, int32_t tid, uint16_t *value);

#endif
