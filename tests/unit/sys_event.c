/* sys_event.c -- a ring that goes round, read beside those who write it. */
#include "sys/event.h"

#include "base/base.h"
#include "sys/clock.h"
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WRITERS = 3, EACH = 20000, ROUNDS = WRITERS * EACH / EVENTS_KEPT };

static void test_noted(void)
{
    struct event e;
    uint64_t first = event_count(), before = clock_uptime_ns();
    EXPECT(first == 0 && !event_get(0, &e));
    event_note(EVENT_CYCLE, 7, 8);
    EXPECT(event_count() == 1 && event_get(0, &e));
    EXPECT(e.kind == EVENT_CYCLE && e.a == 7 && e.b == 8);
    EXPECT(e.time >= before && e.time <= clock_uptime_ns());
    EXPECT(e.thread == (uint32_t)gettid());
    EXPECT(!event_get(1, &e)); /* not yet */
}

static void test_round(void)
{
    struct event e;
    uint64_t first = event_count();
    for (uint64_t i = 0; i < 3 * EVENTS_KEPT; i++)
        event_note(EVENT_PHASE, first + i, ~(first + i));
    uint64_t count = event_count(), good = 0;
    EXPECT(count == first + 3 * EVENTS_KEPT);
    for (uint64_t i = count - EVENTS_KEPT; i < count; i++)
        good += event_get(i, &e) && e.a == i && e.b == ~i;
    EXPECT(good == EVENTS_KEPT);
    EXPECT(!event_get(count - EVENTS_KEPT - 1, &e) && !event_get(0, &e));
}

static atomic_uint writing;

static void *write_many(void *which)
{
    for (uint64_t i = 0; i < EACH; i++) {
        uint64_t a = (uint64_t)(uintptr_t)which << 32 | i;
        event_note(EVENT_STOP, a, a * 3);
    }
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

/* What a reader gets is one writer's, whole: but for a writer that was put off between two
 * instructions for a whole round (.inv.stamp), of which there is one a round at the most. */
static void test_beside_writers(void)
{
    pthread_t threads[WRITERS];
    uint64_t first = event_count(), got = 0, torn = 0;
    struct event e;
    atomic_store(&writing, WRITERS);
    for (uintptr_t i = 0; i < WRITERS; i++)
        EXPECT(pthread_create(&threads[i], NULL, write_many, (void *)(i + 1)) == 0);
    while (atomic_load(&writing) != 0) {
        uint64_t count = event_count();
        for (uint64_t i = count > first + 64 ? count - 64 : first; i < count; i++)
            if (event_get(i, &e)) {
                got++;
                torn += e.b != e.a * 3 || e.kind != EVENT_STOP || (e.a >> 32) > WRITERS;
            }
    }
    for (int i = 0; i < WRITERS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    EXPECT(torn <= ROUNDS && event_count() == first + (uint64_t)WRITERS * EACH);
    got = 0;
    for (uint64_t i = event_count() - EVENTS_KEPT; i < event_count(); i++)
        got += event_get(i, &e) != 0;
    EXPECT(got >= EVENTS_KEPT - WRITERS);
}

UNIT_MAIN(TEST(test_noted), TEST(test_round), TEST(test_beside_writers))
