/* barrier.h -- which pages were written since they were last looked at.
 *
 * The marker reads memory while the program writes it. A barrier arms page ranges, and tells later
 * which of their pages were written since: those are read again. It may report more pages than were
 * written, never fewer; a page that was never armed, or whose mapping has changed since, counts as
 * written.
 *
 *   back end   how                                            armed and taken by
 *   uffd       userfaultfd's asynchronous write protection    the kernel; nothing is ever signalled
 *   mprotect   read-only pages and a SIGSEGV handler          the faulting thread
 *   softdirty  /proc/self/clear_refs, pagemap bit 55          the kernel
 *   full       nothing is armed: everything counts as written, and the mark runs in one stop
 *
 * Thread safety: the collector's thread only. */
#ifndef GC_BARRIER_H
#define GC_BARRIER_H

#include "base/base.h"
#include "sys/pagemap.h"

struct barrier {
    const char *name;
    /* Once in a process, and again in a fork's child, before the first use: probes and tests
     * itself on memory of its own. NULL, or why it cannot be used: a static text. */
    const char *(*open)(void);
    void (*close)(void);
    /* A marking phase begins; NULL, or why it cannot (static text). With `stops`, the world is
     * stopped over begin() and end(). */
    const char *(*begin)(void);
    bool stops;
    /* A mapping must be armed as a whole: armed in part it would be two. */
    bool whole_mappings;
    /* From its return on, writes to [start, end) are noticed. False: they are not, and the whole
     * range counts as written. */
    bool (*arm)(uintptr_t start, uintptr_t end);
    /* Calls visit(start, end, data) for ranges that cover all pages of [start, end) written since
     * they were armed; the range was armed in this phase. With `rearm` the pages are armed again
     * before they are visited: what is written during the visit will be reported once more. */
    void (*take)(uintptr_t start, uintptr_t end, bool rearm, pagemap_visit_fn *visit, void *data);
    /* For visit() to ask: is this range no guess? True: whichever of its pages was armed, exists,
     * and is no part of a huge page, was written since it was armed. Of pages that were not armed
     * (they did not exist then) or have vanished it says nothing. NULL: never. */
    bool (*exact)(void);
    /* Outside of a phase: the program is going to write to [start, end), and shall not be held up
     * by what an earlier phase left there. NULL: nothing is left. */
    void (*relax)(uintptr_t start, uintptr_t end);
    /* From now on everything counts as written, and a thread of the program may be waiting for
     * end(), which should come soon. NULL: never. Any thread may ask. */
    bool (*lost)(void);
    /* After the last take, beside the running program: undoes what end() would have to undo within
     * a stop. NULL: nothing to gain. */
    void (*disarm)(void);
    /* The marking phase has ended, or is given up. */
    void (*end)(void);
    /* In the child of fork, before the program runs there: undoes what was armed. */
    void (*after_fork)(void);
};

extern const struct barrier barrier_uffd, barrier_mprotect, barrier_softdirty;

#endif
