/* leak_graph.h -- the blocks that a mark did not reach, and which of them others among them hold.
 *
 * Thread safety: leak_graph_build by the collector, before the sweep is open;
 * leak_graph_is_indirect by anyone until leak_graph_drop, which the collector calls when the sweep
 * is over. */
#ifndef GC_LEAK_GRAPH_H
#define GC_LEAK_GRAPH_H

#include "base/base.h"
#include "gc/worklist.h"
#include "heap/slab.h"
#include "sys/pagemap.h"

struct leak_counts {
    uint64_t blocks, bytes;               /* unreached by this mark */
    uint64_t due_blocks, due_bytes;       /* of these, for `confirm` cycles or more */
};

/* Counts; `confirm` says from which age on a block is due; `kept_too`: SLOT_KEPT blocks as well. */
struct leak_counts leak_graph_count(unsigned confirm, bool kept_too);
/* Classifies what was counted: direct ones are held by no other unreached block; each cycle
 * that nothing else holds has one direct head. Without memory for the bitmaps all are direct. */
void leak_graph_build(struct worklist *work, struct pagemap *pagemap);
bool leak_graph_is_indirect(uintptr_t block);
void leak_graph_drop(void);

#endif
