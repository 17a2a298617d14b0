/* cycle_registration.c -- the table by block, as it grows. */
#include "cycle/registration.h"

#include "child.h"
#include "hidden.h"
#include "sys/lock.h"

enum { BLOCKS = 20000, SIZE = 64 };

static hidden blocks[BLOCKS];
static uint32_t places[BLOCKS];

static uintptr_t address_of(unsigned i)
{
    return (uintptr_t)reveal(blocks[i]);
}

static void expect_found(unsigned from, unsigned step)
{
    unsigned good = 0, count = 0;
    for (unsigned i = from; i < BLOCKS; i += step, count++)
        good += registration_first(address_of(i)) == places[i] &&
                registration_data(places[i]) == &blocks[i] && !registration_none(address_of(i));
    EXPECT(good == count);
}

static void grows(void)
{
    EXPECT(hidden_heap(64 << 20, false));
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = hidden_new(SIZE);
    lock_acquire(registration_lock());
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (!EXPECT(alloc_use(reveal(blocks[i])) == ALLOC_BLOCK))
            return;
        places[i] = registration_add(address_of(i), REGISTRATION_FINALIZER, NULL, &blocks[i]);
    }
    EXPECT(registration_top() == BLOCKS && registration_count(REGISTRATION_FINALIZER) == BLOCKS);
    expect_found(0, 1);
    for (unsigned i = 0; i < BLOCKS; i += 2) {
        registration_detach(places[i]);
        registration_drop(places[i]);
        EXPECT(registration_first(address_of(i)) == 0);
    }
    expect_found(1, 2);
    uint32_t again = registration_add(address_of(0), REGISTRATION_WEAK, NULL, NULL);
    EXPECT(again <= BLOCKS && registration_at_weak(registration_at(again)) == again);
    EXPECT(registration_at_weak(registration_at(places[1])) == 0);
    lock_release(registration_lock());
}

IN_CHILD(grows)

UNIT_MAIN(TEST(test_grows))
