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

/* Where a reference lies. */
enum roots_kind {
    ROOTS_KERNEL,    /* only the kernel holds it, or a message queue */
    ROOTS_PINNED,    /* the program pinned the block, or ignores it */
    ROOTS_GUARDED,   /* in a guarded block */
    ROOTS_STACK,     /* of the thread `tid` */
    ROOTS_REGISTER,  /* of that thread */
    ROOTS_ADDED,     /* in a range that the program added */
    ROOTS_MAPPING,   /* in the mapping that begins at `start`; if it is a file's, or behind one in
                      * memory as .bss is, the file is `name`, which begins at `start` */
};
enum { ROOTS_NAME_MAX = 256 };
struct roots_place {
    enum roots_kind kind;
    int32_t tid;
    uintptr_t start, address; /* address 0: not known */
    char name[ROOTS_NAME_MAX];
};

/* For ROOTS_ALL: the first root that refers to a block which this mark has not reached before. */
struct roots_seek {
    uintptr_t start;
    size_t size;
    bool found;
    struct roots_place place;
};

struct roots_request {
    enum roots_pass pass;
    struct roots_files *files;
    const struct barrier *barrier; /* not for ROOTS_ALL */
    struct own_stack self;
    struct roots_seek *seek;       /* or NULL */
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
