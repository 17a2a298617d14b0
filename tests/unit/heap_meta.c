/* heap_meta.c -- where the parts of the reservation lie, what is usable of them, and what is left
 * when address space is short. Each arena in a process of its own. */
#include "heap/meta.h"

#include "child.h"
#include "heap/page_heap.h"
#include "heap/slab.h"
#include "shrink.h"
#include "sys/lock.h"
#include "sys/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* Whether the kernel may read a byte there. */
static bool readable(uintptr_t address)
{
    int fds[2];
    if (pipe(fds) != 0)
        return false;
    bool good = write(fds[1], (const void *)address, 1) == 1;
    close(fds[0]);
    close(fds[1]);
    return good;
}

static bool commit(uint32_t count)
{
    lock_acquire(page_heap_lock());
    bool good = arena_commit(count);
    lock_release(page_heap_lock());
    return good;
}

struct part {
    uintptr_t start, size;
};

static void expect_apart(const struct part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        EXPECT(parts[i].start >= arena.own[0].start);
        EXPECT(parts[i].start + parts[i].size <= arena.own[ARENA_META].end);
        for (size_t j = i + 1; j < count; j++)
            EXPECT(parts[i].start + parts[i].size <= parts[j].start ||
                   parts[j].start + parts[j].size <= parts[i].start);
    }
}

static void check_layout(size_t most, size_t size)
{
    EXPECT(arena_init(most));
    EXPECT(arena.end - arena.base == size && arena.slab_count == size / SLAB_SIZE);
    EXPECT(is_aligned(arena.base, 2 * MIB) && hot.base == arena.base);
    EXPECT(hot.granules == 0); /* nothing is committed yet */
    uintptr_t meta = (uintptr_t)meta_alloc(1);
    struct part parts[] = {
        {arena.base, size},
        {(uintptr_t)hot.slots, size / GRANULE},
        {(uintptr_t)arena.slabs, arena.slab_count * sizeof(struct slab)},
        {(uintptr_t)hot.slab_class, arena.slab_count * 2},
        {(uintptr_t)arena.slab_dirty, arena.slab_count},
        {(uintptr_t)arena.mark_stack, arena.mark_stack_size},
        {meta, size_max(size / 32, 16 * MIB)},
    };
    expect_apart(parts, GC_COUNT(parts));
    EXPECT(!readable(arena.base) && !readable(arena.end) && !readable(arena.end - 1));
    for (size_t i = 1; i < GC_COUNT(parts); i++) /* a guard page before each part */
        EXPECT(!readable(parts[i].start - 1));
}

static void layout_least(void)
{
    check_layout(1, MIB);
    EXPECT(commit(16) && !commit(17) && arena.committed == 16);
    memset((void *)arena.base, 1, MIB);
}

static void layout_64_mib(void)
{
    check_layout(64 * MIB, 64 * MIB);
}

static void layout_rounds_down(void)
{
    check_layout(100 * MIB, 64 * MIB);
}

static void layout_1_gib(void)
{
    check_layout(GIB, GIB);
}

static void test_layout(void)
{
    EXPECT(child_passes(layout_least));
    EXPECT(child_passes(layout_64_mib));
    EXPECT(child_passes(layout_rounds_down));
    EXPECT(child_passes(layout_1_gib));
}

/* Everything of the slabs below `committed` is usable, in whatever steps they were committed. */
static void check_commit(void)
{
    static const uint32_t steps[] = {1, 2, 64, 65, 150, 193, 300, 301, 700, 1024};
    EXPECT(arena_init(64 * MIB));
    EXPECT(commit(0) && arena.committed == 0 && relaxed_load(&arena.top) == 0);
    for (size_t i = 0; i < GC_COUNT(steps); i++) {
        uint32_t before = arena.committed;
        EXPECT(commit(steps[i]) && arena.committed >= steps[i] && arena.committed >= before);
        EXPECT(arena.committed <= arena.slab_count);
        uint32_t last = steps[i] - 1;
        *(char *)slab_address(last) = 1;
        *(char *)(slab_address(last) + SLAB_SIZE - 1) = 1;
        EXPECT(relaxed_load(slot_of(slab_address(last))) == SLOT_FREE);
        relaxed_store(slot_of(slab_address(last) + SLAB_SIZE - 1), 1);
        EXPECT(slab_kind(slab_at(last)) == SLAB_UNUSED && slab_at(last)->run == 0);
        EXPECT(hot.slab_class[last] == 0 && arena.slab_dirty[last] == 0);
        arena.slab_dirty[last] = 1;
    }
    EXPECT(!commit(1025) && commit(1024) && arena.committed == 1024);
}

static void test_commit(void)
{
    EXPECT(child_passes(check_commit));
}

static bool limit_address_space(size_t bytes)
{
    struct rlimit limit = {bytes, bytes};
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

static void check_half_the_limit(void)
{
    EXPECT(limit_address_space(GIB));
    EXPECT(arena_init(TIB));
    EXPECT(arena_reserved() <= GIB / 2);
    EXPECT(arena.end - arena.base >= GIB / 8);
}

/* Not even 1 MiB (and its 16 MiB of metadata) is to be had: no arena, and free() sees none. */
static void check_nothing(void)
{
    EXPECT(limit_address_space(4 * MIB));
    EXPECT(!arena_init(TIB));
    EXPECT(hot.granules == 0);
}

/* The address space is there by its limit, but taken. */
static void check_halves(void)
{
    EXPECT(limit_address_space(2 * GIB));
    void *taken = mmap(NULL, GIB + GIB / 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(taken != MAP_FAILED);
    EXPECT(arena_init(TIB));
    size_t size = arena.end - arena.base;
    EXPECT(is_power_of_two(size) && size < GIB / 2 && size >= 128 * MIB);
}

static void test_limits(void)
{
    EXPECT(child_passes(check_half_the_limit));
    EXPECT(child_passes(check_nothing));
    EXPECT(child_passes(check_halves));
}

static void check_meta_alloc(void)
{
    EXPECT(arena_init(MIB));
    char *previous = NULL;
    for (size_t size = 1; size < 3000; size += 7) {
        char *p = meta_alloc(size);
        EXPECT(p != NULL && is_aligned((uintptr_t)p, CACHE_LINE));
        EXPECT(previous == NULL || p >= previous + size - 7);
        for (size_t i = 0; i < size; i++)
            if (p[i] != 0 && !EXPECT(!"zeroed"))
                return;
        memset(p, 0xff, size);
        previous = p;
    }
    size_t left = 16 * MIB - meta_used();
    EXPECT(meta_alloc(left + 1) == NULL && meta_alloc(SIZE_MAX / 2) == NULL);
    char *rest = meta_alloc(left);
    EXPECT(rest != NULL && rest[left - 1] == 0 && meta_used() == 16 * MIB);
    EXPECT(meta_alloc(1) == NULL);
}

enum { RACE_BLOCKS = 3000 };

static void *allocate_meta(void *mine)
{
    void **blocks = mine;
    for (size_t i = 0; i < RACE_BLOCKS; i++) {
        size_t **p = meta_alloc(64 + i % 300);
        blocks[i] = p;
        if (p != NULL)
            *p = (size_t *)mine + i; /* overwritten, should another thread get it too */
    }
    return NULL;
}

static void check_meta_race(void)
{
    static void *blocks[4][RACE_BLOCKS];
    pthread_t threads[4];
    unsigned wrong = 0;
    EXPECT(arena_init(MIB));
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, allocate_meta, blocks[i]);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < RACE_BLOCKS; j++)
            wrong += blocks[i][j] == NULL || *(void **)blocks[i][j] != (void *)&blocks[i][j];
    EXPECT(wrong == 0);
}

static void test_meta_alloc(void)
{
    EXPECT(child_passes(check_meta_alloc));
    EXPECT(child_passes(check_meta_race));
}

static void check_contains(void)
{
    bool zeroed;
    EXPECT(arena_init(MIB) && !arena_contains(arena.base) && relaxed_load(&hot.granules) == 0);
    EXPECT(page_heap_alloc(1, 1, &zeroed) == 1 && relaxed_load(&arena.top) == 2);
    EXPECT(arena_contains(arena.base) && arena_contains(arena.base + 2 * SLAB_SIZE - 1));
    EXPECT(!arena_contains(arena.base + 2 * SLAB_SIZE) && !arena_contains(arena.base - 1));
    EXPECT(!arena_contains(0) && !arena_contains(UINTPTR_MAX));
    EXPECT(slab_index_of(slab_address(7) + 12345) == 7);
}

static bool is_free(uintptr_t page)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *got = mmap((void *)page, PAGE_SIZE, PROT_NONE, flags, -1, 0);
    if (got != MAP_FAILED)
        munmap(got, PAGE_SIZE);
    return got == (void *)page;
}

/* What `own` does not list belongs to nobody, and only that; behind each part is a guard. */
static void expect_holes(void)
{
    unsigned holes = 0;
    for (unsigned i = 0; i < ARENA_PARTS; i++) {
        uintptr_t start = arena.own[i].start, end = arena.own[i].end;
        EXPECT(!is_free(start) && !is_free(end - PAGE_SIZE));
        EXPECT(!readable(start == arena.base ? end - 1 : start - 1) && !readable(end - 1));
        if (i + 1 == ARENA_PARTS || end == arena.own[i + 1].start)
            continue;
        EXPECT(end < arena.own[i + 1].start);
        EXPECT(is_free(end) && is_free(arena.own[i + 1].start - PAGE_SIZE));
        holes++;
    }
    EXPECT(holes >= 3);
}

/* The tables reach as far as the arena does, each with its guard inside of what it owns. */
static void expect_tables(void)
{
    size_t slabs = arena.slab_count;
    struct part parts[] = {
        {arena.base, arena_size()},
        {(uintptr_t)hot.slots, arena_size() / GRANULE},
        {(uintptr_t)arena.slabs, slabs * sizeof(struct slab)},
        {(uintptr_t)hot.slab_class, slabs * sizeof *hot.slab_class},
        {(uintptr_t)arena.slab_dirty, slabs},
        {(uintptr_t)arena.mark_stack, arena.mark_stack_size},
        {(uintptr_t)meta_alloc(1), 1},
    };
    EXPECT(hot.granules == (uint64_t)arena.committed * (SLAB_SIZE / GRANULE));
    EXPECT(slabs == arena_size() / SLAB_SIZE);
    for (unsigned i = 0; i < ARENA_PARTS; i++)
        EXPECT(parts[i].start >= arena.own[i].start &&
               parts[i].start + parts[i].size + 16 * PAGE_SIZE <= arena.own[i].end);
}

static void check_shrink(void)
{
    EXPECT(arena_init(TIB) && commit(100));
    memset((void *)arena.base, 7, 100 * SLAB_SIZE);
    size_t before = arena_reserved();
    EXPECT(before > TIB && !shrink(before) && !shrink(TIB + TIB / 2));
    EXPECT(shrink(GIB / 2) && arena_reserved() <= GIB / 2 && arena_size() == GIB / 4);
    expect_holes();
    expect_tables();
    EXPECT(!shrink(GIB / 2) && shrink(GIB / 8) && arena_reserved() <= GIB / 8);
    expect_holes();
    expect_tables();
    for (size_t i = 0; i < 100 * SLAB_SIZE; i += PAGE_SIZE)
        EXPECT(*(char *)(arena.base + i) == 7);
}

/* All that is left can be used; below that it does not shrink. */
static void check_shrunk_use(void)
{
    EXPECT(arena_init(GIB) && commit(100) && shrink(128 * MIB));
    uint32_t all = (uint32_t)arena.slab_count;
    EXPECT(all > 100 && !commit(all + 1) && commit(all) && arena.committed == all);
    memset((void *)slab_address(0), 1, arena_size());
    memset((void *)(uintptr_t)hot.slots, 1, arena_size() / GRANULE);
    memset(slab_at(all - 1), 1, sizeof(struct slab));
    hot.slab_class[all - 1] = arena.slab_dirty[all - 1] = 1;
    EXPECT(!shrink(MIB) && arena.slab_count == all);
    EXPECT(meta_alloc(15 * MIB) != NULL);
}

/* No more than is committed goes, not even for a limit that has no room for that. */
static void check_shrink_committed(void)
{
    EXPECT(arena_init(64 * MIB) && commit(65));
    EXPECT(meta_alloc(15 * MIB) != NULL);
    uint32_t committed = arena.committed;
    EXPECT(committed >= 65 && committed < 1024 && shrink(0) && arena.slab_count == committed);
    memset((void *)slab_address(0), 1, (size_t)committed << SLAB_SHIFT);
    EXPECT(commit(committed) && !commit(committed + 1) && !shrink(0));
}

static void test_shrink(void)
{
    EXPECT(child_passes(check_shrink));
    EXPECT(child_passes(check_shrunk_use));
    EXPECT(child_passes(check_shrink_committed));
}

static void init_twice(void)
{
    arena_init(MIB);
    arena_init(MIB);
}

static void test_words(void)
{
    char text[256];
    EXPECT(child_passes(check_contains));
    EXPECT(child_aborts(init_twice, text, sizeof text) && strstr(text, "once") != NULL);
}

/* ---- huge pages ---- */

static size_t huge_bytes(uintptr_t address)
{
    char line[256];
    bool inside = false;
    size_t bytes = 0, kib;
    unsigned long start, end;
    FILE *maps = fopen("/proc/self/smaps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = address >= start && address < end;
        else if (inside && sscanf(line, "AnonHugePages: %zu kB", &kib) == 1)
            bytes += kib << 10;
    }
    if (maps != NULL)
        fclose(maps);
    return bytes;
}

static bool kernel_has_huge_pages(void)
{
    char text[64] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    bool got = file != NULL && fgets(text, sizeof text, file) != NULL;
    if (file != NULL)
        fclose(file);
    return got && strstr(text, "[never]") == NULL;
}

/* One write brings 2 MiB; the tables stay as they are. */
static void huge(void)
{
    EXPECT(arena_init(GIB));
    bool has = kernel_has_huge_pages();
    EXPECT(arena_prefer_huge() || !has);
    EXPECT(commit(128)); /* 8 MiB */
    *(volatile char *)(arena.base + 3 * MIB) = 1;
    *(volatile slot_byte *)hot.slots = 0;
    EXPECT(huge_bytes(arena.base) == (has ? 2 * MIB : 0));
    EXPECT(huge_bytes((uintptr_t)hot.slots) == 0);
    EXPECT(mem_discard((void *)(arena.base + 3 * MIB), SLAB_SIZE));
    EXPECT(*(volatile char *)(arena.base + 3 * MIB) == 0 && huge_bytes(arena.base) == 0);
}

static void test_huge(void)
{
    EXPECT(child_passes(huge));
}

UNIT_MAIN(TEST(test_layout), TEST(test_commit), TEST(test_limits), TEST(test_meta_alloc),
          TEST(test_shrink), TEST(test_words),
          TEST(test_huge))
