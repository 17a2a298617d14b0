/* gc_scan.c -- both filters against the definition: base <= w < base + extent, in order.
 *
 * The AVX2 filter compares signed, works in blocks of sixteen and four words, and leaves the rest
 * to the portable one; so the words that matter lie at the bounds and around the sign bit, and
 * every count up to SCAN_MOST, at every alignment of 4 bytes, is tried. */
#include "gc/scan.h"

#include "base/rng.h"
#include "unit.h"

enum { ROUNDS = 40 };

static uint64_t seed = 1;
static uintptr_t words[SCAN_MOST + 8];

static size_t by_definition(const uintptr_t *from, size_t count, uintptr_t base, size_t extent,
                            uintptr_t *out)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uintptr_t word;
        memcpy(&word, (const char *)from + i * WORD_SIZE, sizeof word);
        if (word >= base && word - base < extent)
            out[found++] = word;
    }
    return found;
}

static void compare(const uintptr_t *from, size_t count, uintptr_t base, size_t extent)
{
    uintptr_t want[SCAN_MOST + 1], got[SCAN_MOST + 1];
    scan_filter_fn *filters[] = {scan_filter_portable, scan_filter_best(),
                                 scan_has_avx2() ? scan_filter_avx2 : scan_filter_portable};
    size_t found = by_definition(from, count, base, extent, want);
    for (size_t i = 0; i < GC_COUNT(filters); i++) {
        got[count] = 0x5afe; /* room for `count` and no more */
        size_t n = filters[i](from, count, base, extent, got);
        if (!EXPECT(n == found && memcmp(got, want, n * sizeof got[0]) == 0) ||
            !EXPECT(got[count] == 0x5afe))
            printf("    filter %zu, count %zu, base %zx, extent %zx\n", i, count, base, extent);
    }
}

/* A word near a bound, near the sign bit, small, random, or anywhere inside. */
static uintptr_t adversarial(uintptr_t base, size_t extent)
{
    uint64_t r = rng_next(&seed);
    uintptr_t near = (uintptr_t)(r >> 8) % 5 - 2;
    switch (r % 8) {
    case 0:
        return base + near;
    case 1:
        return base + extent + near;
    case 2:
        return ((uintptr_t)1 << 63) + near;
    case 3:
        return near;
    case 4:
        return base + ((uintptr_t)1 << 63) + near;
    case 5:
        return extent == 0 ? base : base + (uintptr_t)rng_next(&seed) % extent;
    case 6:
        return base + extent + ((uintptr_t)1 << 63) + near;
    default:
        return (uintptr_t)rng_next(&seed);
    }
}

static const struct {
    uintptr_t base;
    size_t extent;
} arenas[] = {
    {0x7f1234400000, 64 << 10},
    {0x7f1234400000, (size_t)1 << 40},
    {0x200000, 1 << 20},
    {0x7f1234400000, 0},
    {0, 1},
    {(uintptr_t)1 << 62, (size_t)1 << 62},
    {((uintptr_t)1 << 63) - 4096, 8192},            /* across the sign bit */
    {(uintptr_t)1 << 63, (size_t)1 << 63},          /* up to the last address */
    {0x10, SIZE_MAX - 0x10},
};

static void test_bounds(void)
{
    for (size_t a = 0; a < GC_COUNT(arenas); a++) {
        const uintptr_t base = arenas[a].base, end = base + arenas[a].extent;
        const uintptr_t edges[] = {base - 1, base, base + 1, end - 1, end, end + 1, 0, UINTPTR_MAX,
                                   (uintptr_t)INTPTR_MAX, (uintptr_t)1 << 63,
                                   base ^ (uintptr_t)1 << 63, end ^ (uintptr_t)1 << 63};
        for (size_t e = 0; e < GC_COUNT(edges); e++)
            for (size_t at = 0; at < 40; at++) { /* a hit at each place, alone among zeros */
                memset(words, 0, sizeof words);
                words[at] = edges[e];
                compare(words, 40, base, arenas[a].extent);
            }
    }
}

static void test_counts(void)
{
    for (size_t count = 0; count <= SCAN_MOST; count++) {
        size_t a = count % GC_COUNT(arenas);
        for (size_t i = 0; i < GC_COUNT(words); i++)
            words[i] = adversarial(arenas[a].base, arenas[a].extent);
        for (size_t offset = 0; offset < 8; offset++)
            compare((const uintptr_t *)((uintptr_t)words + 4 * offset), count, arenas[a].base,
                    arenas[a].extent);
    }
}

static void test_random(void)
{
    for (unsigned round = 0; round < ROUNDS; round++)
        for (size_t a = 0; a < GC_COUNT(arenas); a++) {
            /* From nearly no hits to nearly all. */
            for (size_t i = 0; i < GC_COUNT(words); i++)
                words[i] = rng_next(&seed) % ROUNDS < round
                               ? adversarial(arenas[a].base, arenas[a].extent)
                               : (uintptr_t)rng_next(&seed) % 1000;
            compare(words + round % 8, SCAN_MOST, arenas[a].base, arenas[a].extent);
        }
}

static void test_all_hits(void)
{
    for (size_t i = 0; i < GC_COUNT(words); i++)
        words[i] = 0x200000 + i;
    for (size_t count = 0; count <= SCAN_MOST; count++)
        compare(words, count, 0x200000, 1 << 20);
    if (!scan_has_avx2())
        printf("      no AVX2 here: only the portable filter was tested\n");
}

/* Whatever is in the upper bits: the word without them is found, and nothing else. */
static void test_tags(void)
{
    enum { BITS = 16 };
    uintptr_t base = (uintptr_t)0x7e0000000000, out[SCAN_MOST];
    size_t extent = 1 << 20;
    EXPECT(scan_untag(UINTPTR_MAX) == UINTPTR_MAX);
    scan_set_tag_bits(BITS);
    EXPECT(scan_filter_best() == scan_filter_tagged);
    for (uintptr_t i = 0; i < SCAN_MOST; i++)
        words[i] = (base + i * 8 + (i % 3 == 0 ? extent : 0)) | rng_next(&seed) << (64 - BITS);
    size_t found = scan_filter_tagged(words, SCAN_MOST, base, extent, out), next = 0;
    for (uintptr_t i = 0; i < SCAN_MOST; i++)
        if (i % 3 != 0)
            EXPECT(out[next++] == base + i * 8);
    EXPECT(found == next);
    /* Also those that end like a disguised address; of all endings one does. */
    scan_set_guard(0x1234056789abcdef);
    for (uintptr_t from = 0; from < 1 << 17; from += SCAN_MOST) {
        for (uintptr_t i = 0; i < SCAN_MOST; i++)
            words[i] = (base + from + i) | (uintptr_t)0xabcd << (64 - BITS);
        found = scan_filter_tagged(words, SCAN_MOST, base, extent, out);
        EXPECT(found == SCAN_MOST && out[0] == base + from && out[SCAN_MOST - 1] - base - from + 1 == SCAN_MOST);
    }
    disguise = (struct disguise){0, UINTPTR_MAX};
    scan_set_tag_bits(0);
    EXPECT(scan_filter_best() != scan_filter_tagged);
}

static uintptr_t disguise_of(uintptr_t address, uint64_t guard)
{
    uint64_t mixed = address ^ guard;
    return mixed << 17 | mixed >> 47;
}

/* As setjmp stores them: found as what they are, each in its place among the others; words that end
 * like them by chance are not. */
static void test_disguise(void)
{
    enum { EACH = 3 };
    const uint64_t guards[] = {0xfedcba9876543210, 0x123456789abcdef0, 0, UINT64_MAX};
    uintptr_t base = (uintptr_t)0x7e0000000000, out[SCAN_MOST];
    size_t extent = 1 << 20;
    scan_filter_fn *filters[] = {scan_filter_portable, scan_filter_best(), scan_filter_tagged};
    for (size_t g = 0; g < GC_COUNT(guards); g++) {
        scan_set_guard(guards[g]);
        for (uintptr_t i = 0; i < SCAN_MOST; i++)
            words[i] = i % EACH == 0   ? disguise_of(base + i * 8, guards[g])
                       : i % EACH == 1 ? base + i * 8
                                       : disguise_of(base + extent + i * 8, guards[g]);
        for (size_t f = 0; f < GC_COUNT(filters); f++)
            for (size_t count = 0; count <= SCAN_MOST; count++) {
                size_t found = filters[f](words, count, base, extent, out), next = 0;
                for (uintptr_t i = 0; i < count; i++)
                    if (i % EACH != 2)
                        EXPECT(next < found && out[next] == base + i * 8 && ++next != 0);
                EXPECT(found == next);
            }
    }
    disguise = (struct disguise){0, UINTPTR_MAX};
    EXPECT(scan_filter_best()(words, SCAN_MOST, base, extent, out) == SCAN_MOST / EACH + 1);
}

UNIT_MAIN(TEST(test_disguise), TEST(test_tags), TEST(test_bounds), TEST(test_counts), TEST(test_random), TEST(test_all_hits))
