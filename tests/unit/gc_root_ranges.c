/* gc_root_ranges.c -- the tables against a map of bytes. */
#include "gc/root_ranges.h"

#include "base/rng.h"
#include "unit.h"

enum { SPACE = 4096, STEPS = 20000 };

static uint16_t owner[SPACE]; /* start + 1 of the range that has the byte, or 0 */

static bool is_free(struct page_range r)
{
    for (uintptr_t at = r.start; at < r.end; at++)
        if (owner[at] != 0)
            return false;
    return true;
}

static bool is_whole(struct page_range r)
{
    if (owner[r.start] != r.start + 1 || (r.end < SPACE && owner[r.end] == r.start + 1))
        return false;
    return owner[r.end - 1] == r.start + 1;
}

static void set(struct page_range r, uint16_t value)
{
    for (uintptr_t at = r.start; at < r.end; at++)
        owner[at] = value;
}

static void check_table(void)
{
    static struct root_ranges now;
    size_t bytes = 0, owned = 0;
    root_ranges_read(ROOT_RANGES_ADDED, &now, true);
    for (size_t i = 0; i < now.count; i++) {
        EXPECT(is_whole(now.ranges[i]) && root_ranges_find(&now, now.ranges[i].start) == i);
        bytes += now.ranges[i].end - now.ranges[i].start;
    }
    for (size_t i = 0; i < SPACE; i++)
        owned += owner[i] != 0;
    EXPECT(bytes == owned);
}

static void test_random(void)
{
    uint64_t rng = 3;
    for (unsigned i = 0; i < STEPS; i++) {
        uintptr_t start = rng_next(&rng) % (SPACE - 12), size = 1 + rng_next(&rng) % 12;
        struct page_range r = {start, start + size};
        if (is_whole(r)) {
            EXPECT(root_ranges_remove(ROOT_RANGES_ADDED, r) == ROOT_RANGES_DONE);
            set(r, 0);
            continue;
        }
        enum root_ranges_result result = root_ranges_add(ROOT_RANGES_ADDED, r);
        EXPECT(result == ROOT_RANGES_FULL || (result == ROOT_RANGES_DONE) == is_free(r));
        if (result == ROOT_RANGES_DONE)
            set(r, (uint16_t)(start + 1));
        else
            EXPECT(root_ranges_remove(ROOT_RANGES_ADDED, r) == ROOT_RANGES_UNKNOWN);
        if (i % 500 == 0)
            check_table();
    }
    check_table();
    struct root_ranges other;
    root_ranges_read(ROOT_RANGES_EXCLUDED, &other, false);
    EXPECT(other.count == 0);
}

UNIT_MAIN(TEST(test_random))
