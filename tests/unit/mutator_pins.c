/* mutator_pins.c -- the table of pins against a plain array, and what free() of a pinned block does. */
#include "mutator/pins.h"

#include "base/rng.h"
#include "child.h"
#include "hidden.h"
#include "mutator/thread_cache.h"

enum { BLOCKS = 3000, STEPS = 200000 };

static struct {
    uintptr_t block;
    uint32_t pinned, ignored;
    bool seen;
} model[BLOCKS];
static unsigned strangers;

static void see(uintptr_t block, void *data)
{
    (void)data;
    for (unsigned i = 0; i < BLOCKS; i++)
        if (model[i].block == block) {
            model[i].seen = true;
            return;
        }
    strangers++;
}

static void check_all(void)
{
    struct pins_counts counts = pins_counts();
    uint64_t pinned = 0, ignored = 0;
    unsigned wrong = 0;
    for (unsigned i = 0; i < BLOCKS; i++)
        model[i].seen = false;
    pins_each(see, NULL);
    for (unsigned i = 0; i < BLOCKS; i++) {
        bool there = model[i].pinned != 0 || model[i].ignored != 0;
        pinned += model[i].pinned != 0;
        ignored += model[i].ignored;
        wrong += model[i].seen != there;
    }
    EXPECT(wrong == 0 && strangers == 0 && counts.pinned == pinned && counts.ignored == ignored);
}

static void renew(unsigned i)
{
    alloc_free((void *)model[i].block);
    model[i].pinned = model[i].ignored = 0;
    model[i].block = (uintptr_t)alloc_malloc(16 + i % 300 * 32);
}

static void step(unsigned i, uint64_t random)
{
    if (random % 8 < 3) {
        EXPECT(pins_add(model[i].block, PINS_PINNED) == PINS_DONE);
        model[i].pinned++;
    } else if (random % 8 < 6) {
        bool known = model[i].pinned != 0;
        EXPECT(pins_remove(model[i].block) == (known ? PINS_DONE : PINS_UNKNOWN));
        model[i].pinned -= known;
    } else if (random % 8 == 6) {
        EXPECT(pins_add(model[i].block, PINS_IGNORED) == PINS_DONE);
        model[i].ignored = 1;
    } else {
        renew(i);
    }
}

static void random_steps(void)
{
    uint64_t rng = 7;
    EXPECT(hidden_heap((size_t)256 << 20, true));
    for (unsigned i = 0; i < BLOCKS; i++)
        model[i].block = (uintptr_t)alloc_malloc(16 + i % 300 * 32);
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t random = rng_next(&rng);
        step((unsigned)(random >> 32) % BLOCKS, random);
        if (i % (STEPS / 20) == 0)
            check_all();
    }
    check_all();
}

/* The fast path refuses a neighbour of a pinned block, and takes it again afterwards. */
static void fast_path(void)
{
    EXPECT(hidden_heap((size_t)256 << 20, true));
    char *pinned = alloc_malloc(40), *neighbour = alloc_malloc(40);
    EXPECT(pins_add((uintptr_t)pinned, PINS_PINNED) == PINS_DONE && !cache_push(neighbour));
    EXPECT(pins_add((uintptr_t)pinned, PINS_PINNED) == PINS_DONE && !cache_push(pinned));
    alloc_free(pinned);
    EXPECT(pins_counts().pinned == 0 && cache_push(neighbour));
}

IN_CHILD(random_steps)
IN_CHILD(fast_path)

UNIT_MAIN(TEST(test_random_steps), TEST(test_fast_path))
