/* collector.h -- who runs cycles: when they are due, and on which thread.
 *
 * Small heaps are collected in one stop, on the thread that allocates; a program whose heap stays
 * small never sees a second thread. Larger ones are collected by a thread of the library's own,
 * which is made when the first cycle is due, and then also sweeps, and gives free memory back.
 *
 * Thread safety: any thread that holds no lock, except as said. */
#ifndef GC_COLLECTOR_H
#define GC_COLLECTOR_H

#include "cycle/cycle.h"

enum collector_barrier { BARRIER_AUTO, BARRIER_UFFD, BARRIER_MPROTECT, BARRIER_SOFTDIRTY,
                         BARRIER_FULL };

struct collector_settings {
    struct cycle_settings cycle;
    enum collector_barrier barrier;
    int64_t min_heap;
    /* Observers; may be NULL. A cycle ended, on the thread that ran it: before and after those who
     * wait for it go on. */
    void (*ended_cycle)(const struct cycle_record *record);
    void (*finished)(const struct cycle_record *record);
    /* The collector's thread begins, with descriptors of its own, or ends. */
    void (*begun)(void);
    void (*ended)(void);
    /* It has nothing to do: how many ns it may sleep, as far as the observer is concerned. */
    uint64_t (*look)(void);
    /* It was asked something (collector_ask), and has run the cycle that this takes, if it takes
     * one and one could be run. */
    void (*answer)(uint32_t commands);
};

/* What somebody may want of the collector's thread; watch/stats_page.h and report.c know more. */
enum { COLLECTOR_ASK_ATTEND = 1, COLLECTOR_ASK_COLLECT = 2, COLLECTOR_ASK_SNAPSHOT = 4,
       COLLECTOR_ASK_REPORT = 8, COLLECTOR_ASK_PERIODIC = 16, COLLECTOR_ASK_SOON = 32,
       COLLECTOR_ASK_FILE = 64 };
/* Lets it be done, soon, by the thread, which is made if there is none. Any thread, also in a
 * signal handler that no other interrupts. */
void collector_ask(uint32_t commands);
/* The same, but the thread is made by who allocates next. */
void collector_ask_later(uint32_t commands);
/* Asks it, and waits, parked, until *done is 1. Behind a stub (mutator/entry.h). False: there is no
 * thread with descriptors of its own that could do it, or this thread cannot wait. */
bool collector_ask_and_wait(uint32_t commands, _Atomic uint32_t *done);
/* Nobody begins a cycle, or sweeps for one, between the two. On the collector's thread. */
void collector_hold_cycles(void);
void collector_release_cycles(void);
/* A cycle that begins after the call, and all of its sweep. Behind a stub. False: none could be
 * finished. */
bool collector_run_to_end(void);
/* What may change while the program runs. */
struct collector_terms {
    int64_t percent, limit, min_heap;
    unsigned confirm;
};
/* They have: `read` is asked for them, under the CYCLE lock. False: this thread cannot wait for the
 * cycle that is under way. */
bool collector_change(void (*read)(struct collector_terms *out));
/* No cycle begins between the two, but the one at exit; they nest. Too many collector_enable do
 * nothing. Any thread, also in a signal handler. */
void collector_inhibit(void);
void collector_enable(void);
bool collector_is_inhibited(void);

/* False: no memory for the collector; nothing will ever be collected. */
bool collector_start(const struct collector_settings *settings);
/* Runs a cycle, or waits for one that another thread runs. False: none could be finished. */
bool collector_run(enum cycle_reason reason);
/* cycle_inspect on the collector's own stack, by a thread of the program's that needs of its stack
 * what lies from `low` upward. False: not now; collector_reason_not_run may say why. */
struct roots_request;
bool collector_inspect(void (*look)(const struct roots_request *all, void *data), void *data,
                       uintptr_t low);
/* For alloc_hooks. */
void collector_on_pressure(size_t upcoming);
void collector_on_interrupt(void);
void collector_on_stress(void);
bool collector_on_exhausted(size_t size);
/* Why the last attempt could not run, or why none ever can; NULL if all is well. */
const char *collector_reason_not_run(void);
void collector_disable(const char *reason);
bool collector_is_disabled(void);
/* Ends the collector's thread; the next cycle makes a new one. For calls that change what all
 * threads of a process share, or that only a process of one thread may make. */
void collector_retire(void);
/* Between the two the world is not stopped. False: there is nothing to hold (a vfork child, a
 * signal handler on top of our slow paths). */
bool collector_hold_stops(void);
void collector_release_stops(void);
/* Gives back of the reservation what is not in use, down to `most` bytes; a cycle under way is
 * broken off. False: nothing could go. */
bool collector_shrink_arena(size_t most);
/* In the child of fork. */
void collector_after_fork_in_child(void);

/* From now on no thread is started; one that is there stays, until it is retired. On return none is
 * on its way. */
void collector_forbid_thread(void);

#endif
