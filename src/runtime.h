/* runtime.h -- the library as one: start, fork, exit.
 *
 * The only calls upward between the floors are the function pointers that runtime.c sets here. */
#ifndef GC_RUNTIME_H
#define GC_RUNTIME_H

#include "base/base.h"

/* Starts the library; the first allocation calls it. Not re-entrant, and before any other thread
 * exists; harmless when it has run. */
void runtime_start(void);
bool runtime_started(void);
/* The wrappers are in place: threads may be made. */
void runtime_begin(void);
/* The calling thread begins (its wrapper) and ends. */
void runtime_thread_begin(void);
/* The calling thread is about to block, and has no place: the main thread gets one, for it may be
 * sent a signal before it allocates. True: it has one now. */
bool runtime_main_blocks(void);
/* The process ends: the last cycle, and the report. */
void runtime_exit(void);
/* What stands between leaks and their reclaim. Any thread; numbers of one moment each. */
struct runtime_trust {
    uint32_t cycles;
    uint64_t reclaimed_blocks;
    uint64_t contradictions;
    unsigned passed, needed;  /* cycles of probation */
    const char *interlock;    /* why nothing is reclaimed now, or NULL */
};
struct runtime_trust runtime_trust(void);
/* Is there a collector, and may it run: no sandbox, no lack of memory? */
bool runtime_collects(void);
/* There is a collector, whether it may run or not: not with mode=off, nor without an arena. */
bool runtime_has_collector(void);
/* percent, limit or confirm is another one. False: it cannot be said now. */
bool runtime_options_changed(void);
/* Between the two, no thread of this process is stopped; what the first returned goes to the
 * second. */
bool runtime_hold_stops(void);
void runtime_release_stops(bool held);
/* The collector's thread, if there is one, has ended on return. */
void runtime_retire_collector(void);
/* From now on the collector starts no thread. */
void runtime_forbid_thread(void);
/* A filter of system calls is about to come into force, with the next one. Or: it has not. */
void runtime_sandbox(bool on);
/* The program is about to change the mapping of a part of its heap, and has done so. */
void runtime_heap_mapping_begin(void);
void runtime_heap_mapping_end(void);
/* A limit of the process's address space is about to come into force; and a call that may have set
 * one has returned. */
void runtime_limit_coming(size_t bytes);
void runtime_limit_set(void);
/* Around a call that may unload a library; what the first returned goes to the second. */
struct modules_seen;
struct modules_seen *runtime_library_closing(void);
void runtime_library_closed(struct modules_seen *seen);

#endif
