/* event.c -- a ring that several threads write without waiting for each other.
 *
 *   .inv.stamp   A writer gets a number, empties the stamp of its place, writes, and stamps. Of two
 *                writers that are a whole ring apart and write at once, the reader sees neither, or
 *                one of them mixed with the other's words: that takes EVENTS_KEPT events while one
 *                thread is between two instructions, and an observer's figure is wrong then. */
#include "sys/event.h"

#include "base/atomic.h"
#include "sys/clock.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"

static GC_LARGE struct event ring[EVENTS_KEPT];
static _Atomic uint64_t count;

void event_note(enum event_kind kind, uint64_t a, uint64_t b)
{
    uint64_t number = relaxed_add(&count, 1);
    struct event *e = &ring[number % EVENTS_KEPT];
    relaxed_store(&e->stamp, 0);
    atomic_thread_fence(memory_order_release);
    e->time = clock_uptime_ns();
    e->kind = kind;
    e->thread = sandbox_on() ? 0 : (uint32_t)syscall0(__NR_gettid);
    e->a = a;
    e->b = b;
    release_store(&e->stamp, number + 1);
}

uint64_t event_count(void)
{
    return relaxed_load(&count);
}

int event_get(uint64_t number, struct event *out)
{
    struct event *e = &ring[number % EVENTS_KEPT];
    if (acquire_load(&e->stamp) != number + 1)
        return 0;
    out->time = e->time;
    out->kind = e->kind;
    out->thread = e->thread;
    out->a = e->a;
    out->b = e->b;
    atomic_thread_fence(memory_order_acquire);
    relaxed_store(&out->stamp, number + 1);
    return relaxed_load(&e->stamp) == number + 1;
}
