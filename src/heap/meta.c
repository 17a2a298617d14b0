/* meta.c -- where metadata lives.
 *
 * Theory: metadata never needs the heap. arena_init takes one reservation from the kernel; the
 * tables in it are indexed by slab or granule and are committed along with the slabs they
 * describe; everything else comes from a bump allocator in the same reservation. Nothing here
 * calls malloc, so the recursion that vmem.c had to prove finite does not exist.
 *
 *   .inv.meta_outside   No metadata lies in the arena, and the reservation is never scanned.
 *   .inv.committed      arena.top <= arena.committed <= arena.slab_count; the tables of every slab
 *                       below `committed` are readable and writable. hot.granules says the same
 *                       to malloc and free: no address beyond is looked up.
 *
 * Size: a reservation of 1.2 times the arena. It costs page tables only where it is touched.
 *
 * Shrinking: a program that limits its address space while it runs means what it has, and not our
 * 1.2 TiB, so arena_shrink unmaps the tail of every part. Each part keeps its start, since malloc,
 * free and markers index from there without a lock; so holes come to be between the parts, and
 * `own` lists what is left. (With the tables in front of the arena, growing downward, or moved
 * together, there would be one range still: but an index from the end costs each free an
 * instruction, and a table that moves needs the world stopped.)
 *
 *   .inv.shrunk   arena.end and slab_count only become smaller, never below what is committed, and
 *                 do so before the tail is unmapped. Whoever passes us an address in a hole had it
 *                 from the kernel after that, and finds it to be foreign; who reads an old value
 *                 holds an address below `committed`, for which both are the same.
 *   .inv.guarded  Parts have GUARD bytes of nothing on either side, also next to a hole: what the
 *                 program maps there can run over into no table. */
#include "heap/meta.h"

#include "base/check.h"
#include "heap/slab.h"
#include "sys/lock.h"
#include "sys/mem.h"

struct hot hot __attribute__((aligned(CACHE_LINE))) = {.epoch = EPOCH_FIRST};

#if GC_CHECK_LEVEL >= 1
struct slot_claims slot_claims;
#endif
struct arena arena;

enum {
    ARENA_LEAST = 1 << 20,
    ARENA_ALIGN = 2 << 20,
    META_LEAST = 16 << 20,
    GUARD = 16 * PAGE_SIZE,
    /* Slabs committed at a time: 4 MiB at first, then as much again as there is, up to 64 MiB.
     * Five mprotect calls (~5 us) each. Small: the start of /bin/true; large: growth. */
    COMMIT_LEAST = 64,
    COMMIT_MOST = 1024,
    META_COMMIT_STEP = 1 << 20,
};

static struct {
    struct lock lock;
    char *next, *committed, *end;
    char *start;
} meta = {.lock = LOCK_INIT(META)};

static uintptr_t place(uintptr_t *next, enum arena_part part, size_t size)
{
    uintptr_t start = *next;
    *next = align_up(start + size, PAGE_SIZE) + GUARD;
    arena.own[part].start = start;
    arena.own[part].end = *next;
    return start;
}

static size_t meta_size(size_t arena_size)
{
    return size_max(arena_size / 32, META_LEAST);
}

static size_t mark_stack_size(size_t arena_size)
{
    return arena_size / 16;
}

static size_t reservation_size(size_t arena_size)
{
    return align_up(arena_size + arena_size / 8 + arena_size / 1024 + arena_size / SLAB_SIZE * 3 +
                        meta_size(arena_size) + 8 * (GUARD + PAGE_SIZE) + ARENA_ALIGN,
                    PAGE_SIZE);
}

/* What is before the first block, and behind the last part, to begin at a multiple of ARENA_ALIGN,
 * stays reserved: to unmap it takes longer (13 us) than all else here. */
static void lay_out(uintptr_t start, size_t size)
{
    uintptr_t next = align_up(start, ARENA_ALIGN);
    arena.base = place(&next, ARENA_BLOCKS, size);
    relaxed_store(&arena.end, arena.base + size);
    arena.slab_count = size / SLAB_SIZE;
    hot.slots = (slot_byte *)place(&next, ARENA_SLOTS, size / GRANULE);
    arena.slabs = (struct slab *)place(&next, ARENA_SLABS,
                                       arena.slab_count * sizeof(struct slab));
    hot.slab_class = (uint16_t *)place(&next, ARENA_CLASSES,
                                       arena.slab_count * sizeof *hot.slab_class);
    arena.slab_dirty = (uint8_t *)place(&next, ARENA_DIRTY, arena.slab_count);
    arena.mark_stack_size = mark_stack_size(size);
    arena.mark_stack = (char *)place(&next, ARENA_MARK_STACK, arena.mark_stack_size);
    meta.start = meta.next = meta.committed = (char *)place(&next, ARENA_META, meta_size(size));
    meta.end = meta.start + meta_size(size);
    arena.own[ARENA_BLOCKS].start = start;
    arena.own[ARENA_META].end = start + reservation_size(size);
    GC_CHECK(next <= arena.own[ARENA_META].end);
}

/* The largest arena of up to `size` bytes, a power of two, that `room` has place for. */
static size_t arena_fitting(size_t size, size_t room)
{
    size = (size_t)1 << (63 - __builtin_clzl(size_max(size, ARENA_LEAST)));
    while (size > ARENA_LEAST && reservation_size(size) > room)
        size /= 2;
    return size;
}

bool arena_init(size_t most)
{
    GC_CHECK(hot.base == 0 && "once");
    size_t half = mem_address_limit() / 2;
    for (size_t size = arena_fitting(most, half); size >= ARENA_LEAST; size /= 2) {
        void *start = mem_reserve(reservation_size(size));
        if (start == NULL)
            continue;
        lay_out((uintptr_t)start, size);
        hot.base = arena.base;
        hot.slot_origin = (uintptr_t)hot.slots - (arena.base >> GRANULE_SHIFT);
        return true;
    }
    return false;
}

/* All that is reserved: it costs nothing until it is committed, and touched. */
bool arena_prefer_huge(void)
{
    return mem_prefer_huge((void *)arena.base, arena_size());
}

size_t arena_reserved(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < ARENA_PARTS; i++)
        bytes += arena.own[i].end - arena.own[i].start;
    return bytes;
}

/* Unmaps what the part has behind `needed` and a guard. The last guard before the next part becomes
 * that one's. */
static void cut(enum arena_part part, uintptr_t needed)
{
    uintptr_t keep = align_up(needed, PAGE_SIZE) + GUARD, end = arena.own[part].end;
    bool touches = part + 1 < ARENA_PARTS && end == arena.own[part + 1].start;
    if (touches)
        end -= GUARD;
    if (keep >= end)
        return;
    arena.own[part].end = keep;
    if (touches)
        arena.own[part + 1].start = end;
    mem_release((void *)keep, end - keep);
}

static void cut_all(void)
{
    cut(ARENA_BLOCKS, relaxed_load(&arena.end));
    cut(ARENA_SLOTS, (uintptr_t)hot.slots + arena_size() / GRANULE);
    cut(ARENA_SLABS, (uintptr_t)(arena.slabs + arena.slab_count));
    cut(ARENA_CLASSES, (uintptr_t)(hot.slab_class + arena.slab_count));
    cut(ARENA_DIRTY, (uintptr_t)arena.slab_dirty + arena.slab_count);
    cut(ARENA_MARK_STACK, (uintptr_t)arena.mark_stack + arena.mark_stack_size);
    cut(ARENA_META, (uintptr_t)meta.end);
}

bool arena_shrink(size_t most)
{
    GC_ASSERT(lock_held(LOCK_PAGE_HEAP) && lock_held(LOCK_META));
    size_t committed = (size_t)arena.committed << SLAB_SHIFT;
    size_t size = size_max(arena_fitting(arena_size(), most), committed); /* .inv.committed */
    if (size >= arena_size())
        return false;
    relaxed_store(&arena.end, arena.base + size);
    arena.slab_count = size / SLAB_SIZE;
    arena.mark_stack_size = mark_stack_size(size);
    meta.end = (char *)size_max((uintptr_t)meta.start + meta_size(size),
                                (uintptr_t)meta.committed);
    cut_all(); /* .inv.shrunk */
    return true;
}

/* Commits the entries [from, to) of a table of `entry` bytes each, whole pages; those before them
 * are committed, and with them the page that both share. */
static bool commit_table(void *table, size_t entry, uint32_t from, uint32_t to)
{
    GC_ASSERT(is_aligned((uintptr_t)table, PAGE_SIZE));
    uintptr_t start = align_up((uintptr_t)table + from * entry, PAGE_SIZE);
    uintptr_t end = align_up((uintptr_t)table + to * entry, PAGE_SIZE);
    return start == end || mem_commit((void *)start, end - start);
}

static bool commit_range(uint32_t from, uint32_t to)
{
    return commit_table(arena.slabs, sizeof(struct slab), from, to) &&
           commit_table(hot.slots, SLAB_SIZE / GRANULE, from, to) &&
           commit_table(hot.slab_class, sizeof *hot.slab_class, from, to) &&
           commit_table(arena.slab_dirty, 1, from, to) &&
           commit_table((void *)arena.base, SLAB_SIZE, from, to);
}

bool arena_commit(uint32_t count)
{
    GC_ASSERT(lock_held(LOCK_PAGE_HEAP));
    if (count <= arena.committed)
        return true;
    if (count > arena.slab_count)
        return false;
    size_t step = size_clamp(arena.committed, COMMIT_LEAST, COMMIT_MOST);
    uint32_t target = (uint32_t)size_min(size_max(count, arena.committed + step),
                                         arena.slab_count);
    if (!commit_range(arena.committed, target)) {
        target = count;
        if (!commit_range(arena.committed, target))
            return false;
    }
    arena.committed = target;
    relaxed_store(&hot.granules, (uint64_t)target * (SLAB_SIZE / GRANULE));
    return true;
}

static bool meta_commit(char *end)
{
    if (end <= meta.committed)
        return true;
    char *target = (char *)size_min(align_up((uintptr_t)end, META_COMMIT_STEP),
                                    (uintptr_t)meta.end);
    if (!mem_commit(meta.committed, (size_t)(target - meta.committed)))
        return false;
    meta.committed = target;
    return true;
}

void *meta_alloc(size_t bytes)
{
    size_t size = align_up(bytes, CACHE_LINE);
    void *result = NULL;
    lock_acquire(&meta.lock);
    if (size <= (size_t)(meta.end - meta.next) && meta_commit(meta.next + size)) {
        result = meta.next;
        meta.next += size;
    }
    lock_release(&meta.lock);
    return result;
}

size_t meta_used(void)
{
    return (size_t)(meta.next - meta.start);
}

struct lock *meta_lock(void)
{
    return &meta.lock;
}
