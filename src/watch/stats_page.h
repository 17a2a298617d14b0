/* stats_page.h -- what a running process shows of itself: the layout of a page that others map.
 *
 * The page is a memfd in the collector's own table of descriptors, so the program never meets it,
 * nothing is left in any file system, and it works in containers and with a read-only root. From
 * outside it is /proc/PID/task/TID/fd/N, where TID is the thread called "gcmalloc", for whoever may
 * read the process's descriptors: the same user, root; not a process that is not dumpable.
 *
 * Attaching. A process whose heap was always small has no such thread. Then, and to ask for
 * anything, the reserved signal is queued (rt_tgsigqueueinfo, si_code SI_QUEUE, value
 * STATS_MAGIC_VALUE | commands) to the thread called "gcmalloc" if there is one, else to the main
 * thread, which starts it. Before that the sender must see in /proc/PID/maps that the library is
 * loaded and in /proc/PID/status (SigCgt) that the signal has a handler: its default action is
 * death. The signal is STATS_SIGNAL, unless the process was started with GCMALLOC=signal=N.
 *
 * The page is complete when `magic` is there; before that it is being made.
 *
 * Thread safety. The collector's thread writes, under the sequence lock `sequence` (odd while it
 * does); readers copy and compare. The words under "readers write" belong to readers. Events carry
 * their own stamps, for they are written by several threads. */
#ifndef GC_STATS_PAGE_H
#define GC_STATS_PAGE_H

#include "sys/event.h"
#include "watch/totals.h"

#include <stdint.h>

#define STATS_MAGIC "gcmalloc"
/* Commands in the lower byte of the signal's value. */
#define STATS_MAGIC_VALUE 0x67636d00u

enum {
    STATS_SIGNAL = 62,
    STATS_VERSION = 1,
    STATS_CYCLES = 256,
    STATS_SITES = 32,
    STATS_FRAMES = 16,
    STATS_HISTORY = 1024,
    STATS_TEXT = 120,
};

enum stats_command {
    STATS_ATTEND = 1,   /* be there: the page exists soon after */
    STATS_COLLECT = 2,  /* run a cycle, and sweep; `collects_done` counts when that has ended */
    STATS_SNAPSHOT = 4, /* write a profile (profile.h) after a cycle; see `snapshots_done` */
};

struct stats_cycle {
    uint64_t number;    /* 0: none yet */
    uint64_t reason;    /* enum cycle_reason: 0 growth, 1 stress, 2 memory, 3 exit, 4 request */
    uint64_t begun;     /* ns since the process's start, as all times below are durations in ns */
    uint64_t took;
    uint64_t stopping;  /* of it, until the world stood still */
    uint64_t pauses, pause, paused; /* how many; the longest; all together */
    uint64_t heap_before, heap_marked, live, goal; /* bytes */
    uint64_t stack_bytes, root_bytes;
    uint64_t unreached_blocks, unreached_bytes;
    uint64_t reclaimed_blocks, reclaimed_bytes; /* ever, when the cycle ended */
    uint64_t contradictions;                    /* the same */
    uint64_t reclaiming;                        /* 1: what is due is reclaimed in this sweep */
};

/* The sites that leaked most, by bytes. */
struct stats_site {
    uint64_t blocks, bytes;                     /* leaked, remaining ones and reclaimed ones */
    uint64_t reclaimed_blocks, reclaimed_bytes; /* of these */
    uint32_t stack, block_size;                 /* 0: several */
    uint32_t depth, unused;
    uint64_t frames[STATS_FRAMES];              /* return addresses, innermost first */
};

/* One moment; resident_bytes 0: not known. Over a long life they become rarer: when there is no
 * room every second one goes. */
struct stats_moment {
    uint64_t time, heap_used, live, reclaimed_bytes, unreached_bytes, resident_bytes;
};

struct stats_page {
    /* Fixed from the beginning. */
    char magic[8];
    uint32_t version, size;   /* of this struct */
    int32_t pid, signal;      /* as the process knows itself; the reserved signal */
    uint64_t started_unix_ns;
    uint32_t totals_size, unused;

    /* Readers write. */
    _Atomic uint64_t watched_until_unix_ns; /* the page is renewed four times a second until then */

    /* The collector's thread writes. */
    _Atomic uint32_t sequence;
    uint32_t collects_done;   /* commands that were answered */
    uint32_t snapshots_done;
    int32_t snapshot_fd;      /* of the collector's thread: the last snapshot; -1: it failed */
    uint64_t renewed;         /* ns since the start */
    struct totals totals;
    char not_collected[STATS_TEXT]; /* why nothing is collected, or reclaimed; or "" */
    char interlock[STATS_TEXT];
    uint32_t cycles_next;     /* place of the next cycle; those before it, going round, are older */
    uint32_t sites_count;
    uint32_t history_count, unused_too;
    struct stats_cycle cycles[STATS_CYCLES];
    struct stats_site sites[STATS_SITES];
    struct stats_moment history[STATS_HISTORY];
    struct event events[EVENTS_KEPT]; /* sys/event.h; not under the sequence lock */
};

#endif
