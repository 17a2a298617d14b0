/* shield.c -- which units are read-only, which were written, and which must be left alone.
 *
 * Theory: one byte for each 64 KiB unit of the address space, in leaves of 4,096 that are made as
 * they are needed. A unit is
 *
 *   NONE    not shielded in this phase                             arm -> CLEAN
 *   CLEAN   read-only, not written since; the only state in        fault -> OPEN; keep -> KEPT
 *           which a protection differs from the program's
 *   OPEN    writable, counts as written                            take(rearm) -> CLEAN
 *   KEPT    as OPEN or NONE, until the phase ends: the kernel may write there without a fault, or
 *           its mapping has changed
 *
 * The byte holds the phase's number besides the state, so that a new phase starts with all NONE.
 *
 *   .inv.clean   A unit that is read-only by our doing is CLEAN. So to undo everything is to open
 *                the CLEAN units; nothing else is touched.
 *   .inv.whole   A CLEAN or OPEN unit lies whole in private memory that the program mapped
 *                rw-, or in the arena. The edges of a range are not shielded, and count as written.
 *   .inv.mark    A unit leaves CLEAN before it becomes writable, and becomes CLEAN before it
 *                becomes read-only, both under the lock; it is visited after that.
 *   .inv.kept    A buffer is KEPT before the kernel may write to it, also where nothing is
 *                shielded: a later arm() leaves it alone.
 *   .inv.edges   `edges` is the number of neighbours of which one is CLEAN and the other not.
 *
 * Shared memory is never shielded: another process, or another mapping of the same pages, would
 * write unseen. /proc/thread-self/maps says what is private; the answer is kept until a system call
 * changes a mapping (.inv.maps: all such calls pass through shield_remap_locked, except those of
 * the library itself, which concern its own memory).
 *
 * Mappings: the kernel allows a process 65,530, and each edge splits one. From a share of what is
 * left on, a fault opens 2 MiB, then the whole range, which joins mappings again.
 *
 * The lock is a word of its own: `struct lock` counts in thread-local storage, which a task need
 * not have. Whoever holds it has all signals blocked, or is the collector. */
#include "gc/shield.h"

#include "base/atomic.h"
#include "base/check.h"
#include "heap/meta.h"
#include "sys/lock.h"
#include "sys/maps.h"
#include "sys/mem.h"
#include "sys/syscall.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum state { NONE, CLEAN, OPEN, KEPT };

enum {
    ADDRESS_BITS = 47,
    LEAF_SHIFT = 12,                 /* units in a leaf: 256 MiB of memory, one page of bytes */
    LEAF_UNITS = 1 << LEAF_SHIFT,
    TOP_SIZE = 1 << (ADDRESS_BITS - SHIELD_UNIT_SHIFT - LEAF_SHIFT),
    LEAVES_MOST = 8192,              /* 2 TiB of memory */
    LEAVES_STEP = 64,                /* made usable at a time */
    PHASES = 63,                     /* the state's two bits leave six */
    RANGES_MOST = 16384,
    PLAIN_MOST = 8192,               /* private writable mappings */
    MAPS_BUFFER = 32 << 10,
    /* Opened at once when mappings run short. */
    WIDE = 2 << 20,
    /* What one hold of the lock shields again: some 30 us. */
    REARM_MOST = 4 << 20,
    RELEASE_STEP = 16 << 20,         /* the same for opening: some 200 us */
    /* A stack below its pointer: coroutines have 64-256 KiB; a signal frame takes up to 12 KiB. */
    STACK_BELOW = 256 << 10,
    STACK_ABOVE = SHIELD_UNIT,
    /* A fault this close to the stack pointer is one of the stack. */
    STACK_NEAR = SHIELD_UNIT,
    DEFAULT_MAP_LIMIT = 65530,
};
/* The kernel moves no more in one call. */
#define KEEP_MOST ((uintptr_t)1 << 31)

static struct {
    _Atomic uint32_t lock;           /* 0 free, 1 held, 2 held and somebody waits; a futex */
    /* Under the lock; the bytes and `top` are read without. */
    _Atomic(_Atomic uint8_t *) top[TOP_SIZE];
    char *leaves;                    /* reserved for all of them */
    uint32_t leaf_count;
    _Atomic uint32_t phase;
    uint32_t edges, edges_most;
    struct page_range ranges[RANGES_MOST]; /* armed in this phase */
    uint32_t range_count;
    bool released;                   /* all of them */
    bool forked;                     /* they were armed in the parent */
    _Atomic bool broken;
    /* Private writable mappings, as of `plain_known`. */
    struct page_range plain[PLAIN_MOST];
    uint32_t plain_count;
    bool plain_known;
    uint32_t map_count;
    char maps_buffer[MAPS_BUFFER];
} shield GC_LARGE;

/* ---- the lock ---- */

void shield_lock(void)
{
    uint32_t expected = 0;
    if (atomic_compare_exchange_strong(&shield.lock, &expected, 1))
        return;
    while (atomic_exchange(&shield.lock, 2) != 0)
        futex_wait(&shield.lock, 2);
}

void shield_unlock(void)
{
    if (atomic_exchange(&shield.lock, 0) == 2)
        futex_wake(&shield.lock, 1);
}

/* ---- the bytes ---- */

static _Atomic uint8_t *leaf_make(size_t index)
{
    if (shield.leaf_count == LEAVES_MOST)
        return NULL;
    char *leaf = shield.leaves + (size_t)shield.leaf_count * LEAF_UNITS;
    if (shield.leaf_count % LEAVES_STEP == 0 && !mem_commit(leaf, LEAVES_STEP * LEAF_UNITS))
        return NULL;
    shield.leaf_count++;
    release_store(&shield.top[index], (_Atomic uint8_t *)leaf);
    return (_Atomic uint8_t *)leaf;
}

static _Atomic uint8_t *leaf_of(uintptr_t address)
{
    uintptr_t index = address >> (SHIELD_UNIT_SHIFT + LEAF_SHIFT);
    return index < TOP_SIZE ? acquire_load(&shield.top[index]) : NULL;
}

static _Atomic uint8_t *byte_in(_Atomic uint8_t *leaf, uintptr_t address)
{
    return &leaf[(address >> SHIELD_UNIT_SHIFT) & (LEAF_UNITS - 1)];
}

static enum state state_of(uintptr_t address)
{
    _Atomic uint8_t *leaf = leaf_of(address);
    uint8_t byte = leaf == NULL ? 0 : acquire_load(byte_in(leaf, address));
    return byte >> 2 == relaxed_load(&shield.phase) ? (enum state)(byte & 3) : NONE;
}

static void count_edges(uintptr_t unit, bool clean)
{
    for (int side = 0; side < 2; side++) {
        uintptr_t other = side == 0 ? unit - SHIELD_UNIT : unit + SHIELD_UNIT;
        shield.edges += (state_of(other) == CLEAN) == clean ? (uint32_t)-1 : 1;
    }
}

/* False: there is no memory for the byte. */
static bool set_state(uintptr_t unit, enum state to)
{
    enum state from = state_of(unit);
    if (from == to)
        return true;
    _Atomic uint8_t *leaf = leaf_of(unit);
    if (leaf == NULL)
        leaf = leaf_make(unit >> (SHIELD_UNIT_SHIFT + LEAF_SHIFT));
    if (leaf == NULL)
        return false;
    if (from == CLEAN || to == CLEAN)
        count_edges(unit, to == CLEAN);
    release_store(byte_in(leaf, unit), (uint8_t)(shield.phase << 2 | to));
    return true;
}

/* Where the run of units in the state of `unit` ends. */
static uintptr_t run_end(uintptr_t unit, uintptr_t end)
{
    enum state first = state_of(unit);
    do {
        uintptr_t leaf = (uintptr_t)LEAF_UNITS * SHIELD_UNIT;
        unit = leaf_of(unit) == NULL ? align_up(unit + 1, leaf) : unit + SHIELD_UNIT;
    } while (unit < end && state_of(unit) == first);
    return size_min(unit, end);
}

/* ---- protections ---- */

static bool protect(uintptr_t start, uintptr_t end, int protection)
{
    return syscall3(__NR_mprotect, (long)start, (long)(end - start), protection) == 0;
}

static bool set_run(uintptr_t start, uintptr_t end, enum state to)
{
    bool all = true;
    for (uintptr_t unit = start; unit < end; unit += SHIELD_UNIT)
        all &= set_state(unit, to);
    return all;
}

/* The CLEAN units of [start, end) become writable and `to`. False: the kernel refused, and what it
 * refused is CLEAN still. .inv.mark */
static bool open_clean(uintptr_t start, uintptr_t end, enum state to)
{
    bool all = true;
    for (uintptr_t unit = start, next; unit < end; unit = next) {
        next = run_end(unit, end);
        if (state_of(unit) != CLEAN)
            continue;
        set_run(unit, next, to);
        if (!protect(unit, next, PROT_READ | PROT_WRITE)) {
            set_run(unit, next, CLEAN);
            all = false;
        }
    }
    return all;
}

static bool is_ours(uintptr_t unit)
{
    enum state state = state_of(unit);
    return state == CLEAN || state == OPEN;
}

/* Opens what there is of [start, end): a fork's child lacks what MADV_DONTFORK keeps from it. */
static void open_existing(uintptr_t start, uintptr_t end)
{
    uintptr_t middle = align_down(start + (end - start) / 2, PAGE_SIZE);
    if (protect(start, end, PROT_READ | PROT_WRITE) || middle == start)
        return;
    open_existing(start, middle);
    open_existing(middle, end);
}

/* Opens [start, end) for good, with few calls: OPEN units among CLEAN ones are no obstacle. This
 * splits no mapping, so it can fail only where it is refused on principle; then the program could
 * not go on. */
static void release(uintptr_t start, uintptr_t end)
{
    for (uintptr_t unit = start, next; unit < end; unit = next) {
        bool clean = false;
        for (next = unit; next < end && is_ours(next); next = run_end(next, end)) {
            clean |= state_of(next) == CLEAN;
        }
        if (clean) {
            set_run(unit, next, KEPT);
            if (shield.forked)
                open_existing(unit, next);
            else
                GC_CHECK(protect(unit, next, PROT_READ | PROT_WRITE));
        }
        next = next == unit ? run_end(unit, end) : next;
    }
}

static void release_all(void)
{
    for (uint32_t i = 0; i < shield.range_count && !shield.released; i++)
        release(shield.ranges[i].start, shield.ranges[i].end);
}

static void break_locked(void)
{
    relaxed_store(&shield.broken, true);
    release_all();
}

static const struct page_range *range_of(uintptr_t address)
{
    for (uint32_t i = 0; i < shield.range_count; i++)
        if (address - shield.ranges[i].start < shield.ranges[i].end - shield.ranges[i].start)
            return &shield.ranges[i];
    return NULL;
}

/* Opens the unit; more of them when mappings run short. */
static void open_around(uintptr_t unit)
{
    if (shield.edges < shield.edges_most &&
        open_clean(unit, unit + SHIELD_UNIT, OPEN))
        return;
    uintptr_t wide = align_down(unit, WIDE);
    if (shield.edges < 2 * shield.edges_most && open_clean(wide, wide + WIDE, OPEN))
        return;
    const struct page_range *range = range_of(unit);
    if (range == NULL || !open_clean(range->start, range->end, OPEN))
        break_locked();
}

static void keep_open_locked(uintptr_t start, uintptr_t end)
{
    if (!open_clean(start, end, KEPT) || !set_run(start, end, KEPT))
        break_locked();
}

/* ---- which memory is plain ---- */

static void read_plain(void)
{
    struct maps_reader reader;
    struct mapping m;
    shield.plain_count = shield.map_count = 0;
    if (!maps_open(&reader, shield.maps_buffer, sizeof(shield.maps_buffer)))
        return;
    while (maps_next(&reader, &m)) {
        shield.map_count++;
        bool plain = m.readable && m.writable && !m.executable && !m.shared &&
                     (m.kind == MAP_KIND_ANONYMOUS || m.kind == MAP_KIND_FILE_PRIVATE);
        if (plain && shield.plain_count < PLAIN_MOST)
            shield.plain[shield.plain_count++] = (struct page_range){m.start, m.end};
    }
    if (reader.failed)
        shield.plain_count = 0;
    maps_close(&reader);
    shield.plain_known = true;
}

/* Is it, and has it a page there? That is the kernel's answer to whether a fault is the shield's
 * where the unit is open: another task's fault may just have opened it. Linux 5.14.
 * One page of each mapping is made to exist before the mapping is split: else the kernel gives each
 * part that is written its own bookkeeping, and joins them no more. */
static bool is_writable(uintptr_t address)
{
    enum { POPULATE_WRITE = 23 };
    return syscall3(__NR_madvise, (long)align_down(address, PAGE_SIZE), PAGE_SIZE,
                    POPULATE_WRITE) == 0;
}

static bool in_plain_mapping(uintptr_t start, uintptr_t end)
{
    if (!shield.plain_known)
        read_plain();
    uint32_t low = 0, high = shield.plain_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (shield.plain[middle].end <= start)
            low = middle + 1;
        else
            high = middle;
    }
    uintptr_t to = start;
    for (; low < shield.plain_count && shield.plain[low].start <= to && to < end; low++) {
        is_writable(to);
        to = shield.plain[low].end;
    }
    return to >= end;
}

static bool may_be_shielded(uintptr_t start, uintptr_t end)
{
    if (start >= arena.base && end <= relaxed_load(&arena.end)) {
        is_writable(start);
        return true;
    }
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t leaves = (uintptr_t)shield.leaves;
    bool own = here - start < end - start || (uintptr_t)&shield - start < end - start ||
               (leaves < end && start < leaves + (uintptr_t)LEAVES_MOST * LEAF_UNITS);
    return !own && in_plain_mapping(start, end);
}

/* ---- limits ---- */

static uint32_t map_limit(void)
{
    char text[24];
    long fd = syscall3(__NR_open, (long)"/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC, 0);
    long got = fd < 0 ? -1 : syscall3(__NR_read, fd, (long)text, sizeof text);
    if (fd >= 0)
        syscall1(__NR_close, fd);
    uint32_t limit = 0;
    for (long i = 0; i < got && text[i] >= '0' && text[i] <= '9' && limit < 1u << 24; i++)
        limit = limit * 10 + (uint32_t)(text[i] - '0');
    return limit == 0 ? DEFAULT_MAP_LIMIT : limit;
}

/* Half of what there may be is the program's; a quarter is for single units, 2 * edges_most in
 * all. */
static void budget(uint32_t limit)
{
    uint32_t left = limit / 2 > shield.map_count ? limit / 2 - shield.map_count : 0;
    shield.edges_most = left / 2;
}

/* Read-only memory does not count against RLIMIT_DATA. The program could use up what that frees,
 * and opening would fail. */
static bool data_is_limited(void)
{
    struct rlimit limit;
    long result = syscall4(__NR_prlimit64, 0, RLIMIT_DATA, 0, (long)&limit);
    return result != 0 || limit.rlim_cur != RLIM_INFINITY;
}

/* ---- the contract ---- */

const char *shield_open(void)
{
    if (shield.leaves == NULL)
        shield.leaves = mem_reserve((size_t)LEAVES_MOST * LEAF_UNITS);
    if (shield.leaves == NULL)
        return "no address space for the table of written pages";
    return is_writable((uintptr_t)&shield) ? NULL : "it needs Linux 5.14";
}

const char *shield_begin(void)
{
    if (data_is_limited())
        return "RLIMIT_DATA is set: read-only pages could not be made writable again";
    if (++shield.phase > PHASES) {
        shield.phase = 1;
        for (uint32_t i = 0; i < shield.leaf_count * LEAF_UNITS; i++)
            shield.leaves[i] = 0;
    }
    shield.range_count = shield.edges = 0;
    shield.released = false;
    shield.edges_most = 0;
    shield.plain_known = false;
    relaxed_store(&shield.broken, false);
    return NULL;
}

bool shield_broken(void)
{
    return relaxed_load(&shield.broken);
}

uint32_t shield_edges(void)
{
    return shield.edges;
}

static void note_range(uintptr_t start, uintptr_t end)
{
    struct page_range *last = &shield.ranges[shield.range_count];
    if (shield.range_count > 0 && last[-1].end == start)
        last[-1].end = end;
    else
        shield.ranges[shield.range_count++] = (struct page_range){start, end};
}

static bool arm_locked(uintptr_t start, uintptr_t end)
{
    if (shield_broken() || shield.released || shield.range_count == RANGES_MOST ||
         !may_be_shielded(start, end))
        return false;
    if (shield.edges_most == 0) {
        if (!shield.plain_known)
            read_plain();
        budget(map_limit());
        if (shield.edges_most == 0)
            return false;
    }
    note_range(start, end);
    for (uintptr_t unit = start, next; unit < end; unit = next) {
        next = run_end(unit, end);
        if (state_of(unit) != NONE)
            continue;
        if (!set_run(unit, next, CLEAN) || !protect(unit, next, PROT_READ)) {
            /* .inv.clean: it may be read-only in part, so it is opened as if it were. */
            set_run(unit, next, KEPT);
            protect(unit, next, PROT_READ | PROT_WRITE);
            open_clean(start, end, KEPT);
            return false;
        }
    }
    return true;
}

bool shield_arm(uintptr_t start, uintptr_t end)
{
    start = align_up(start, SHIELD_UNIT);
    end = align_down(end, SHIELD_UNIT);
    if (start >= end)
        return false;
    shield_lock();
    bool armed = arm_locked(start, end);
    shield_unlock();
    return armed;
}

/* The OPEN units among the whole ones of [start, end) are shielded again. */
static void rearm(uintptr_t start, uintptr_t end)
{
    end = align_down(end, SHIELD_UNIT);
    shield_lock();
    for (uintptr_t unit = align_up(start, SHIELD_UNIT), next; unit < end; unit = next) {
        next = run_end(unit, end);
        if (state_of(unit) != OPEN || shield_broken())
            continue;
        set_run(unit, next, CLEAN);
        if (!protect(unit, next, PROT_READ)) {
            set_run(unit, next, KEPT);
            if (!protect(unit, next, PROT_READ | PROT_WRITE))
                break_locked();
        }
    }
    shield_unlock();
}

/* The next run of written memory at or after *at; its end, at most REARM_MOST later. */
static uintptr_t next_written(uintptr_t *at, uintptr_t end)
{
    while (*at < end && state_of(*at) == CLEAN)
        *at = align_down(*at, SHIELD_UNIT) + SHIELD_UNIT;
    uintptr_t stop = *at, most = size_min(end, align_down(*at, SHIELD_UNIT) + REARM_MOST);
    while (stop < most && state_of(stop) != CLEAN)
        stop = align_down(stop, SHIELD_UNIT) + SHIELD_UNIT;
    return size_min(stop, end);
}

void shield_take(uintptr_t start, uintptr_t end, bool again, pagemap_visit_fn *visit, void *data)
{
    while (start < end) {
        uintptr_t stop = next_written(&start, end);
        if (start >= end)
            return;
        if (again)
            rearm(start, stop);
        visit(start, stop, data);
        start = stop;
    }
}

bool shield_fault(uintptr_t address, uintptr_t stack_pointer)
{
    uintptr_t unit = align_down(address, SHIELD_UNIT);
    shield_lock();
    enum state state = state_of(unit);
    bool stack = address - (stack_pointer - STACK_NEAR) < 2 * STACK_NEAR;
    if (state == CLEAN && stack)
        keep_open_locked(align_down(address - STACK_BELOW, SHIELD_UNIT), unit + STACK_ABOVE);
    else if (state == CLEAN)
        open_around(unit);
    bool ours = state == CLEAN || (state != NONE && is_writable(address));
    shield_unlock();
    return ours;
}

void shield_keep_open(uintptr_t start, uintptr_t length)
{
    if (length == 0 || start >> ADDRESS_BITS != 0)
        return;
    uintptr_t most = (uintptr_t)1 << ADDRESS_BITS; /* where the stack ends, if it is not moved */
    uintptr_t end = align_up(start + size_min(length, KEEP_MOST), SHIELD_UNIT);
    end = size_min(end, most);
    start = align_down(start, SHIELD_UNIT);
    bool kept = true;
    for (uintptr_t unit = start; unit < end; unit += SHIELD_UNIT)
        kept &= state_of(unit) == KEPT;
    if (kept)
        return;
    shield_lock();
    keep_open_locked(start, end);
    shield_unlock();
}

void shield_keep_stack(uintptr_t stack_pointer)
{
    if (stack_pointer > STACK_BELOW)
        shield_keep_open(stack_pointer - STACK_BELOW, STACK_BELOW + STACK_ABOVE);
}

void shield_remap_locked(uintptr_t start, uintptr_t length)
{
    shield.plain_known = false;
    uintptr_t most = (uintptr_t)1 << ADDRESS_BITS;
    if (start >= most)
        return;
    uintptr_t end = align_up(start + size_min(length, most - start), SHIELD_UNIT);
    for (uintptr_t unit = align_down(start, SHIELD_UNIT), next; unit < end; unit = next) {
        next = run_end(unit, end);
        enum state state = state_of(unit);
        if (state == CLEAN || state == OPEN)
            keep_open_locked(unit, next);
    }
}

void shield_break(void)
{
    shield_lock();
    break_locked();
    shield_unlock();
}

void shield_release(void)
{
    for (uint32_t i = 0; i < shield.range_count; i++) {
        const struct page_range *range = &shield.ranges[i];
        for (uintptr_t at = range->start; at < range->end; at += RELEASE_STEP) {
            shield_lock();
            release(at, size_min(at + RELEASE_STEP, range->end));
            shield_unlock();
        }
    }
    shield.released = true;
}

void shield_end(void)
{
    release_all();
}

/* A child keeps mappings apart that were apart in the parent, also when nothing tells them apart
 * any more: each has pages' bookkeeping of its own by then, and the child's mremap would fail. */
void shield_before_fork_locked(void)
{
    for (uint32_t i = 0; i < shield.range_count && !shield.released; i++)
        if (!open_clean(shield.ranges[i].start, shield.ranges[i].end, OPEN))
            break_locked();
}

/* Another task of the parent may have held the lock. */
void shield_after_fork(void)
{
    atomic_store(&shield.lock, 0);
    shield.forked = true;
    release_all();
    shield.forked = false;
    relaxed_store(&shield.broken, true);
}
