/* roots.h -- everything outside of the heap that the program has written.
 *
 * Thread safety: the collector. */
#ifndef GC_ROOTS_H
#define GC_ROOTS_H

#include "base/base.h"
#include "gc/barrier.h"
#include "gc/mark.h"
#include "sys/pagemap.h"
#include "sys/proc_mem.h"

/* The part of its own stack that the collecting thread still needs: from `low` upward. 0: it is not
 * one of the program's threads. */
struct own_stack {
    int32_t tid;
    uintptr_t low;
};

enum roots_pass {
    ROOTS_ALL,        /* world stopped: everything is read */
    ROOTS_CONCURRENT, /* arms and reads what is new, and what was written since the last pass */
    ROOTS_FINAL,      /* world stopped: what is new or was written since, and all stacks */
};

struct roots_request {
    enum roots_pass pass;
    struct roots_files *files;
    const struct barrier *barrier; /* not for ROOTS_ALL */
    struct own_stack self;
};

struct roots_stats {
    uint64_t stack_bytes, other_bytes;  /* scanned */
    uint64_t written_pages;             /* of armed memory: since the last pass */
    /* Why it is not known whether all was found, so that nothing may be reclaimed; or NULL. */
    const char *interlock;
};

/* Gets the buffers; before the world is stopped. NULL, or why not: a static text. */
const char *roots_prepare(void);
/* What the scanner reads through. The descriptors belong to the table of the thread that opened
 * them: a collector's thread has its own, and keeps them; a thread of the program opens and closes
 * them while the world is stopped, so that the program never meets them. */
struct roots_files {
    struct pagemap pagemap;
    struct proc_mem memory;
};
/* Opens /proc/thread-self/{pagemap,mem}. NULL, or the reason why roots cannot be read: a static
 * text. */
const char *roots_open(struct roots_files *files);
void roots_close(struct roots_files *files);
/* [start, end) holds no pointers of the program: the library's own static data. */
void roots_exclude(uintptr_t start, uintptr_t end);
/* [start, end) is the library itself: read like other mappings, but never armed, since what handles
 * a write to protected memory lives there. */
void roots_never_arm(uintptr_t start, uintptr_t end);
/* The program is about to unmap something, or to map something over it. Any thread. */
void roots_note_unmap(void);
/* World stopped: marks from what is in pipes and sockets. Before any memory is read in this stop,
 * dirty pages included; ROOTS_ALL does it itself. NULL, or why that was not possible. */
const char *roots_scan_queues(struct marker *m, const struct roots_request *request);
/* Marks from the roots. NULL, or the reason why that was not possible. */
const char *roots_scan(struct marker *m, const struct roots_request *request,
                       struct roots_stats *stats);

#endif
