/* event.h -- what happened, and when: the last events of the process, in a ring.
 *
 * Whoever does something that an observer may want to know of notes it here, on whatever floor;
 * nobody decides by it. Read in the process by watch, and from outside through the shared page
 * (watch/stats_page.h).
 *
 * Thread safety: any thread, also in signal handlers and while the world is stopped. */
#ifndef GC_EVENT_H
#define GC_EVENT_H

#include <stdint.h>

/* X(NAME, what a and b are) */
#define EVENT_KINDS(X) \
    X(PHASE, "a: the phase that begins (cycle/cycle.h), b: number of the cycle") \
    X(STOP, "a: ns for which the world was stopped until now, b: number of the cycle") \
    X(TRIGGER, "a: bytes taken and not freed when a cycle was due, b: at which it should end") \
    X(CYCLE, "a: number of the cycle that ended, b: bytes live") \
    X(FAILED, "a: number of the cycle that could not be finished, b: 0") \
    X(CONTRADICTION, "a: stack of the block's allocation, b: bytes of the block") \
    X(INTERLOCK, "a: 1 in force, 0 lifted, b: 0") \
    X(DECAY, "a: bytes given back to the kernel, b: 0") \
    X(REQUEST, "a: commands that were asked for (watch/stats_page.h), b: 0") \
    X(EXHAUSTED, "a: bytes that could not be had, b: 0")

enum event_kind {
    EVENT_NONE,
#define EVENT_KIND(name, help) EVENT_##name,
    EVENT_KINDS(EVENT_KIND)
#undef EVENT_KIND
};

/* Since a cycle has some twelve, the last 300 cycles. */
enum { EVENTS_KEPT = 4096 };

struct event {
    _Atomic uint64_t stamp; /* number of the event + 1; its place is number % EVENTS_KEPT. Written
                             * last; a reader that finds another one after leaves the event out */
    uint64_t time;          /* ns since the start */
    uint32_t kind, thread;  /* enum event_kind; task id */
    uint64_t a, b;
};

void event_note(enum event_kind kind, uint64_t a, uint64_t b);
/* How many were noted so far. */
uint64_t event_count(void);
/* Event `number` (from 0). 0: it is not there any longer, or not yet. */
int event_get(uint64_t number, struct event *out);

#endif
