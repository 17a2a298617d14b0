/* whole.c -- the library with the checker of the whole heap in it, for model.c.
 *
 * Built with -Dcheck=full only: libgcmalloc_check.so is the library's own objects and this. To be
 * called while the program has one thread that is not in malloc: then nothing changes the heap once
 * the collector's thread has ended, and the sweep that it left is finished here. */
#include "check/heap_check.h"
#include "heap/sweep.h"
#include "runtime.h"

GC_EXPORT bool gcmalloc_heap_check(const char *when);

bool gcmalloc_heap_check(const char *when)
{
    runtime_retire_collector();
    sweep_finish();
    return heap_check(when, NULL);
}
