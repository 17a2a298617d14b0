/* tid_table.c -- open addressing, linear probing, at most half full. Clearing costs what was put.
 * */
#include "gc/tid_table.h"

#include "base/check.h"
#include "base/rng.h"

_Static_assert(TID_TABLE_CELLS <= UINT16_MAX, "a cell's number fits");

static uint32_t first_cell(int32_t tid)
{
    return (uint32_t)(mix64((uint32_t)tid) % TID_TABLE_CELLS);
}

static uint32_t next_cell(uint32_t cell)
{
    return cell + 1 == TID_TABLE_CELLS ? 0 : cell + 1;
}

void tid_table_clear(struct tid_table *t)
{
    while (t->count != 0)
        relaxed_store(&t->tids[t->used[--t->count]], 0);
}

void tid_table_put(struct tid_table *t, int32_t tid, uint16_t value)
{
    uint32_t cell = first_cell(tid);
    GC_CHECK(t->count <= TID_TABLE_MOST);
    while (relaxed_load(&t->tids[cell]) != 0)
        cell = next_cell(cell);
    t->values[cell] = value;
    t->used[t->count++] = (uint16_t)cell;
    release_store(&t->tids[cell], tid);
}

bool tid_table_get(const struct tid_table *t, int32_t tid, uint16_t *value)
{
    struct tid_table *table = (struct tid_table *)(uintptr_t)t;
    for (uint32_t cell = first_cell(tid);; cell = next_cell(cell)) {
        int32_t found = acquire_load(&table->tids[cell]);
        if (found == tid)
            *value = t->values[cell];
        if (found == tid || found == 0)
            return found == tid;
    }
}
