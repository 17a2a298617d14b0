/* roots.c -- reading the process's mappings as roots.
 *
 * Theory: a root is any readable private page that was written, and shared memory; not the segments
 * a linker knows of. /proc/thread-self/maps lists the mappings, the pagemap says which pages exist,
 * and the program's memory is read with process_vm_readv into a buffer, so that a page which cannot
 * be read (a guard page, a truncated file) is skipped instead of faulting.
 *
 *   .inv.own        The library's reservation and static data are not roots. What the program maps
 *                   into a hole of the reservation is (meta.c, .inv.shrunk).
 *   .inv.guarded    The pool of guarded blocks (guard.h) is hundreds of mappings of a page, most of
 *                   them inaccessible, at 15 us each in a stop. So what is live in it is read by
 *                   itself, whole in each pass, and its mappings are left out, and never armed.
 *   .inv.stack      A thread's stack is scanned from its stack pointer, less the red zone, or its
 *                   signal frame if that is lower (registers lie there), to the end of the mapping,
 *                   which holds its TLS and struct pthread too. This narrowing is applied only
 *                   where it is certain: the thread is registered, it runs on its own stack, nobody
 *                   else's stack nor an alternate signal stack is in that mapping; and what lies
 *                   below the thread's own stack is scanned. Anything else is scanned whole.
 *   .inv.listed     The list of mappings is believed only if the collecting thread's own stack is
 *                   on it: an empty file is not a process without roots.
 *   .inv.elsewhere  A stack pointer in the arena (a coroutine's stack) keeps that whole block.
 *   .inv.handed     Every register of a stopped thread is scanned as a root, wherever its signal
 *                   frame lies: a block that malloc is handing out just then is known to nobody but
 *                   a register, is not live yet, and is spared because it was seen there (judge.h).
 *                   Blocks that are reached later do not count for that: so a signal stack in the
 *                   arena is not only marked.
 *
 * What the program says (root_ranges.h). Ranges that it added are read whole in each pass, clipped
 * to what is mapped: shared mappings of files, whose pages may be in the file only, and what can be
 * read of devices. Ranges that it excluded are passed over wherever they lie; they are armed like
 * what is around them, since a mapping is armed whole (.inv.whole).
 *
 *   .inv.left_out  What is passed over is fixed for a mark (`left_out`), at its beginning: what is
 *                  excluded later was read already, and what was written there since would be
 *                  missed if it were to count again. A range that does not count as excluded any
 *                  more leaves `left_out` in the next pass, which reads it whole. From then on it
 *                  is like others. Ranges that are both added and excluded are read.
 *   .inv.pins      Pinned and ignored blocks (pins.h) are reached in each pass.
 *
 * Shared memory: a page without an entry in our page tables may still hold data, which neither
 * pagemap source reports; mincore knows it unless it was swapped out. So with swap in use shared
 * memory is read whole, and else the pages that pagemap or mincore report.
 *
 *   .inv.code       What may be executed is machine code that the program made, such as a JIT's.
 *                   A pointer in an instruction begins at any byte, so these mappings are read at
 *                   every byte (HotSpot has blocks to which nothing else points).
 *
 * Passes. With the world stopped everything can be read at once (ROOTS_ALL). A concurrent mark
 * reads in passes: each arms what it has not armed yet and reads it whole, and reads the rest where
 * it was written (ROOTS_CONCURRENT, any number); the last one runs in the pause (ROOTS_FINAL), and
 * it alone reads stacks, since only a stopped thread has a stack pointer.
 *
 *   .inv.armed      A range is in the list of armed ranges if it was armed in this cycle, and read
 *                   whole after that. What a pass does not find in the list it reads whole.
 *   .inv.whole      Registering a part of a mapping with the kernel splits it, and the program
 *                   would notice (map_gate.h). So a mapping is armed only if it still is what its
 *                   line said, and never in parts: not if a thread's stack lies in it.
 *   .inv.kernel     What only the kernel holds is read first (kernel_roots.h): what it gives back
 *                   meanwhile is found where it was put.
 *   .inv.shared     Other processes' writes to shared memory are not noticed. So it is read whole
 *                   in the pause, up to SHARED_WHOLE bytes a mapping; a larger one is armed. What
 *                   was written through another mapping of it is known by that one's pages, as long
 *                   as it is there. If the program has unmapped anything since, all is read. */
#include "gc/roots.h"

#include "base/check.h"
#include "gc/armed.h"
#include "gc/held.h"
#include "gc/kernel_roots.h"
#include "gc/map_gate.h"
#include "gc/protected.h"
#include "gc/queues.h"
#include "gc/root_ranges.h"
#include "gc/scan.h"
#include "gc/world.h"
#include "heap/slab.h"
#include "mutator/guard.h"
#include "mutator/pins.h"
#include "mutator/thread.h"
#include "sys/lock.h"
#include "sys/maps.h"
#include "sys/proc_mem.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <linux/sysinfo.h>
#include <signal.h>
#include <string.h>

enum {
    RED_ZONE = 128,
    MAPS_BUFFER = 64 << 10,
    /* Read at a time: half of a usual L2 cache. */
    READ_BUFFER = 256 << 10,
    EXCLUDED_MOST = 4,
    /* A stack's used part, with what lies above it, is read in one call if it is no larger: to ask
     * which of its pages exist costs as much as reading some. */
    STACK_AT_ONCE = 64 << 10,
    /* Bytes of shared memory a mapping that are read again in the pause: ~0.2 ms. */
    SHARED_WHOLE = 1 << 20,
    /* Pages asked of mincore at a time. */
    CORE_PAGES = 4096,
};

struct stack {
    uintptr_t low, hint;    /* scan from; an address in the thread's own stack or 0 */
    uintptr_t pointer;      /* where it runs */
    uintptr_t frame;        /* of the signal that stopped it, or 0 */
    uintptr_t own_low;      /* of the thread's own stack; what lies below is not its stack */
    uintptr_t alternate;    /* its alternate signal stack, or 0 */
    int32_t tid;
};

/* Addresses that tell to which mapping a stack belongs, in order. */
struct point {
    uintptr_t address;
    uint32_t stack;
    enum { POINT_HINT, POINT_POINTER, POINT_ALTERNATE } kind;
};

static struct {
    struct roots_files *files;
    struct maps_reader maps;
    struct page_range excluded[EXCLUDED_MOST];
    unsigned excluded_count;
    struct page_range own_image;    /* never armed */
    bool read_shared_whole;
    _Atomic bool shared_armed, unmapped; /* in this mark; .inv.shared */
    char *maps_buffer, *read_buffer;
    unsigned char *core;
    struct stack stacks[WORLD_TASKS_MOST + 1]; /* of this pass */
    size_t stack_count;
    struct tid_table stack_index;
    struct point points[3 * (WORLD_TASKS_MOST + 1)];
    size_t point_count;
    enum roots_pass pass;
    const struct barrier *barrier;
    enum pagemap_want want; /* of the mapping being scanned */
    bool has_stack;         /* the mapping being scanned holds a thread's own stack */
    struct page_range widen; /* its written pages are read with their neighbours' edges; or none */
    bool failed;            /* the page map could not be read */
    struct root_ranges added, left_out, excluded_now;
    struct marker *marker;
    struct roots_stats *stats;
    struct roots_seek *seek;
    struct roots_place place; /* of what is being scanned; for `seek` */
    bool unreadable;        /* the mapping being scanned is PROT_NONE */
    bool code;              /* it may be executed: .inv.code */
} roots GC_LARGE;

static const char requests_unseen[] =
    "the program uses io_uring or kernel aio, whose requests nobody can see";

void roots_exclude(uintptr_t start, uintptr_t end)
{
    GC_CHECK(roots.excluded_count < EXCLUDED_MOST);
    roots.excluded[roots.excluded_count++] = (struct page_range){start, end};
}

void roots_note_unmap(void)
{
    if (atomic_load(&roots.shared_armed))
        atomic_store(&roots.unmapped, true);
}

void roots_never_arm(uintptr_t start, uintptr_t end)
{
    roots.own_image = (struct page_range){start, end};
}

static bool get_buffers(void)
{
    if (roots.core != NULL)
        return true;
    roots.maps_buffer = meta_alloc(MAPS_BUFFER);
    roots.read_buffer = meta_alloc(READ_BUFFER + WORD_SIZE);
    if (roots.maps_buffer == NULL || roots.read_buffer == NULL)
        return false;
    roots.core = meta_alloc(CORE_PAGES);
    return roots.core != NULL && armed_init();
}

static bool swap_in_use(void)
{
    struct sysinfo info;
    return syscall1(__NR_sysinfo, (long)&info) != 0 || info.totalswap != info.freeswap;
}

const char *roots_prepare(void)
{
    atomic_store(&roots.shared_armed, false);
    atomic_store(&roots.unmapped, false);
    root_ranges_read(ROOT_RANGES_EXCLUDED, &roots.left_out, false);
    return get_buffers() ? NULL : "no memory for the root scanner's buffers";
}

const char *roots_open(struct roots_files *files)
{
    if (!pagemap_open(&files->pagemap))
        return "/proc/thread-self/pagemap cannot be opened";
    if (!proc_mem_open(&files->memory)) {
        pagemap_close(&files->pagemap);
        return "the process cannot read its own memory (process_vm_readv, /proc/thread-self/mem)";
    }
    return NULL;
}

void roots_close(struct roots_files *files)
{
    proc_mem_close(&files->memory);
    pagemap_close(&files->pagemap);
}

/* As mark_overlap(). */
static size_t overlap(void)
{
    return roots.code ? WORD_SIZE : mark_overlap();
}

static void at_place(enum roots_kind kind, uintptr_t start, int32_t tid)
{
    roots.place.kind = kind;
    roots.place.start = start;
    roots.place.tid = tid;
}

static bool is_sought(uintptr_t word)
{
    return scan_untag(word) - roots.seek->start < roots.seek->size;
}

static struct stack *stack_of(int32_t tid);

/* They lie in the signal's frame, below the stack pointer and its red zone. */
static void note_register(struct roots_place *place)
{
    const struct stack *s = place->kind == ROOTS_STACK ? stack_of(place->tid) : NULL;
    if (s != NULL && s->frame != 0 && place->address >= s->frame &&
        place->address < s->pointer - RED_ZONE)
        place->kind = ROOTS_REGISTER;
}

/* What was scanned last, words[0..count) from `address`, may have been it. A disguised one is not
 * found among the words. */
static void look_at(const uintptr_t *words, size_t count, uintptr_t address)
{
    struct roots_seek *seek = roots.seek;
    if (seek == NULL || seek->found)
        return;
    mark_flush(roots.marker);
    if (relaxed_load(slot_of(seek->start)) != roots.marker->epoch)
        return;
    seek->found = true;
    seek->place = roots.place;
    seek->place.address = 0;
    for (size_t at = 0; at + WORD_SIZE <= count * WORD_SIZE; at++) {
        uintptr_t word;
        memcpy(&word, (const char *)words + at, sizeof word);
        if (is_sought(word)) {
            seek->place.address = address + at;
            note_register(&seek->place);
            return;
        }
    }
}

static void scan_pages(uintptr_t start, uintptr_t end)
{
    const uintptr_t *words = (const uintptr_t *)(const void *)roots.read_buffer;
    while (start < end) {
        size_t want = size_min(end - start, READ_BUFFER);
        size_t more = start + want < end ? overlap() : 0;
        size_t got = proc_mem_read(&roots.files->memory, roots.read_buffer, start, want + more,
                                   roots.unreadable);
        got = align_down(got, WORD_SIZE);
        if (roots.code)
            mark_code(roots.marker, words, got / WORD_SIZE);
        else
            mark_words(roots.marker, words, got / WORD_SIZE);
        look_at(words, got / WORD_SIZE, start);
        got = size_min(got, want);
        roots.stats->other_bytes += got;
        start = got == want ? start + got : align_down(start + got, PAGE_SIZE) + PAGE_SIZE;
    }
}

/* .inv.left_out */
static void scan_counting(uintptr_t start, uintptr_t end)
{
    const struct root_ranges *out = &roots.left_out;
    for (size_t i = root_ranges_find(out, start); i < out->count && start < end; i++) {
        uintptr_t from = align_up(out->ranges[i].start, WORD_SIZE);
        if (out->ranges[i].start >= end)
            break;
        if (from > start)
            scan_pages(start, size_min(from, end));
        start = size_max(start, align_down(out->ranges[i].end, WORD_SIZE));
    }
    if (start < end)
        scan_pages(start, end);
}

/* Scans [start, end) less what is excluded, which may cut it anywhere. */
static void scan_allowed(uintptr_t start, uintptr_t end, unsigned from)
{
    for (unsigned i = from; i < roots.excluded_count; i++) {
        struct page_range x = roots.excluded[i];
        if (x.end <= start || x.start >= end)
            continue;
        if (x.start > start)
            scan_allowed(start, align_up(x.start, WORD_SIZE), i + 1);
        if (x.end >= end)
            return;
        start = align_down(x.end, WORD_SIZE);
    }
    scan_counting(start, end);
}

static void scan_range(uintptr_t start, uintptr_t end, void *data)
{
    (void)data;
    if (start > roots.widen.start)
        start -= overlap();
    if (end < roots.widen.end)
        end += overlap();
    scan_allowed(start, end, 0);
}

static void scan_populated(uintptr_t start, uintptr_t end)
{
    if (!pagemap_each(&roots.files->pagemap, roots.want, start, end, scan_range, NULL))
        roots.failed = true;
}

static void scan_whole_pages(uintptr_t start, uintptr_t end, void *data)
{
    (void)data;
    scan_pages(start, end);
}

static void scan_in_core(uintptr_t start, uintptr_t end)
{
    uintptr_t from = UINTPTR_MAX; /* of a run of pages that are there */
    for (uintptr_t at = start; at < end; at += (uintptr_t)CORE_PAGES << PAGE_SHIFT) {
        size_t pages = size_min((end - at) >> PAGE_SHIFT, CORE_PAGES);
        bool known = syscall3(__NR_mincore, (long)at, (long)(pages << PAGE_SHIFT),
                              (long)roots.core) == 0;
        for (size_t i = 0; i < pages; i++) {
            uintptr_t page = at + (i << PAGE_SHIFT);
            if (!known || (roots.core[i] & 1)) {
                from = size_min(from, page);
                continue;
            }
            if (from < page)
                scan_counting(from, page);
            from = UINTPTR_MAX;
        }
    }
    if (from < end)
        scan_counting(from, end);
}

static void scan_shared(uintptr_t start, uintptr_t end)
{
    if (roots.read_shared_whole)
        scan_counting(start, end);
    else
        scan_in_core(start, end);
}

static void scan_whole(const struct mapping *map, uintptr_t start, uintptr_t end)
{
    if (map->kind == MAP_KIND_SHARED_MEMORY)
        scan_shared(start, end);
    else
        scan_populated(start, end);
}

/* Written since it was armed; a hole counts as written. */
static void scan_written(uintptr_t start, uintptr_t end, void *data)
{
    const struct mapping *map = data;
    roots.stats->written_pages += (end - start) >> PAGE_SHIFT;
    /* Half of a word may be all that was written. To read a page of shared memory makes it. */
    if (map->kind != MAP_KIND_SHARED_MEMORY)
        roots.widen = (struct page_range){map->start, map->end};
    scan_whole(map, start, end);
    roots.widen = (struct page_range){UINTPTR_MAX, 0};
}

static bool overlaps(const struct mapping *map, struct page_range range)
{
    return map->start < range.end && map->end > range.start;
}

static bool may_arm(const struct mapping *map)
{
    if (roots.pass != ROOTS_CONCURRENT || (roots.barrier->stops && !map->writable))
        return false;
    if (overlaps(map, roots.own_image))
        return false;
    for (unsigned i = 0; i < roots.excluded_count; i++)
        if (overlaps(map, roots.excluded[i]))
            return false;
    return map->kind != MAP_KIND_SHARED_MEMORY || map->end - map->start > SHARED_WHOLE;
}

/* .inv.whole. A part of which the rest is in the list is no whole: what was armed there may have
 * been another mapping. */
static bool is_whole(const struct mapping *map, uintptr_t start, uintptr_t end)
{
    return !roots.has_stack && start == map->start && end == map->end &&
           maps_is_whole(&roots.maps, start, end);
}

static bool arm(const struct mapping *map, uintptr_t start, uintptr_t end)
{
    if (!may_arm(map))
        return false;
    if (map->kind == MAP_KIND_SHARED_MEMORY)
        atomic_store(&roots.shared_armed, true); /* first: it is read after that */
    if (!roots.barrier->whole_mappings)
        return roots.barrier->arm(start, end);
    if (!map_gate_close())
        return false;
    bool armed = is_whole(map, start, end) && roots.barrier->arm(start, end);
    map_gate_open();
    return armed;
}

/* A part of a mapping that is either armed as a whole or not at all. */
static void scan_part(struct mapping *map, uintptr_t start, uintptr_t end, bool armed)
{
    bool again = roots.pass == ROOTS_CONCURRENT;
    bool all = !again && map->kind == MAP_KIND_SHARED_MEMORY &&
               (map->executable || atomic_load(&roots.unmapped));
    if (armed && !all) {
        roots.barrier->take(start, end, again, scan_written, map);
        if (again)
            armed_add(start, end);
        return;
    }
    if (arm(map, start, end))
        armed_add(start, end);
    scan_whole(map, start, end);
}

static void scan_ordinary(struct mapping *map, uintptr_t start, uintptr_t end)
{
    if (roots.pass == ROOTS_ALL && start < end) {
        scan_whole(map, start, end);
        return;
    }
    for (uintptr_t at = start, to = end; at < end; at = to) {
        bool armed = armed_part(at, end, &to);
        scan_part(map, at, to, armed);
    }
}

static const struct point *first_point(uintptr_t address)
{
    size_t low = 0, high = roots.point_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (roots.points[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return &roots.points[low];
}

/* The one thread whose own stack is in the mapping; NULL if there is none, or more than one.
 * *certain: .inv.stack's terms hold, so that only what lies above its stack pointer is in use. */
static const struct stack *stack_in(const struct mapping *map, bool *certain)
{
    const struct point *end = roots.points + roots.point_count;
    const struct stack *only = NULL;
    bool alone = roots.pass != ROOTS_CONCURRENT;
    unsigned hints = 0;
    for (const struct point *p = first_point(map->start); p < end && p->address < map->end; p++)
        if (p->kind == POINT_HINT && hints++ == 0)
            only = &roots.stacks[p->stack];
    for (const struct point *p = first_point(map->start); p < end && p->address < map->end; p++)
        alone &= p->kind != POINT_ALTERNATE && &roots.stacks[p->stack] == only;
    *certain = hints == 1 && alone && only->pointer >= map->start && only->pointer < map->end &&
               only->hint >= only->pointer;
    return hints == 1 ? only : NULL;
}

/* The thread's own stack, from `start` to `end`. The first page is cut; the rest goes by what
 * exists (a stack may be deep but sparse), unless it is small. */
static void scan_own_stack(uintptr_t start, uintptr_t end, int32_t tid)
{
    uint64_t before = roots.stats->other_bytes;
    struct roots_place outside = roots.place;
    at_place(ROOTS_STACK, start, tid);
    uintptr_t page = size_min(align_up(start, PAGE_SIZE), end);
    if (end - start <= STACK_AT_ONCE)
        page = end;
    scan_allowed(start, size_min(page + overlap(), end), 0);
    if (page < end)
        scan_populated(page, end);
    roots.stats->stack_bytes += roots.stats->other_bytes - before;
    roots.stats->other_bytes = before;
    roots.place = outside;
}

/* Below the thread's own stack the mapping may hold anything; above it lie its TLS and struct
 * pthread. */
static void scan_anonymous(struct mapping *map)
{
    bool certain;
    const struct stack *stack = stack_in(map, &certain);
    if (stack == NULL) {
        scan_ordinary(map, map->start, map->end);
        return;
    }
    roots.has_stack = true;
    uintptr_t low = size_max(align_up(stack->own_low, PAGE_SIZE), map->start);
    uintptr_t high = align_down(stack->hint, PAGE_SIZE) + PAGE_SIZE;
    low = size_min(low, high);
    scan_ordinary(map, map->start, low);
    if (certain && stack->low > low)
        low = size_min(align_down(stack->low, WORD_SIZE), high);
    if (roots.pass != ROOTS_CONCURRENT) {
        if (map->end - low <= STACK_AT_ONCE)
            high = map->end; /* what is above it along with it */
        scan_own_stack(low, high, stack->tid);
    }
    scan_ordinary(map, high, map->end);
}

/* What cannot be read at its first word is a device's, and not read page by page. */
static bool can_be_read(uintptr_t start)
{
    return proc_mem_read(&roots.files->memory, roots.read_buffer, start, WORD_SIZE, false) != 0;
}

/* What does not exist of a mapping without a file holds nothing. */
static void scan_added_part(const struct mapping *map, uintptr_t start, uintptr_t end)
{
    bool memory = map->kind == MAP_KIND_ANONYMOUS;
    roots.want = PAGEMAP_POPULATED;
    if (memory && !pagemap_each(&roots.files->pagemap, roots.want, align_down(start, PAGE_SIZE),
                                align_up(end, PAGE_SIZE), scan_whole_pages, NULL))
        roots.failed = true;
    else if (!memory && can_be_read(start))
        scan_pages(start, end);
}

static void scan_added(const struct mapping *map)
{
    const struct root_ranges *r = &roots.added;
    at_place(ROOTS_ADDED, map->start, 0);
    for (size_t i = root_ranges_find(r, map->start);
         i < r->count && r->ranges[i].start < map->end; i++)
        scan_added_part(map, size_max(align_down(r->ranges[i].start, WORD_SIZE), map->start),
                        size_min(align_up(r->ranges[i].end, WORD_SIZE), map->end));
}

/* .bss lies behind the file's last mapping, and has no name. */
static void note_mapping(const struct mapping *map)
{
    static uintptr_t last_end; /* of the one before */
    if (roots.seek == NULL)
        return;
    bool continues = map->start == last_end && roots.place.name[0] != 0 &&
                     (map->name[0] == 0 || strcmp(map->name, roots.place.name) == 0);
    last_end = map->end;
    if (!continues) {
        at_place(ROOTS_MAPPING, map->start, 0);
        size_t length = size_min(strlen(map->name), ROOTS_NAME_MAX - 1);
        memcpy(roots.place.name, map->name, length);
        roots.place.name[length] = 0;
    }
    roots.place.kind = ROOTS_MAPPING;
}

static void scan_mapping(struct mapping *map)
{
    note_mapping(map);
    roots.unreadable = !map->readable;
    roots.code = map->executable;
    roots.has_stack = false;
    roots.want = map->kind == MAP_KIND_FILE_PRIVATE ? PAGEMAP_COPIED : PAGEMAP_POPULATED;
    if (map->kind == MAP_KIND_ANONYMOUS)
        scan_anonymous(map);
    else if (map->kind == MAP_KIND_FILE_PRIVATE || map->kind == MAP_KIND_SHARED_MEMORY)
        scan_ordinary(map, map->start, map->end);
    scan_added(map);
}

/* For marker.read_carefully. Several markers may be here. */
static void read_carefully(struct marker *m, struct work work)
{
    uintptr_t buffer[PAGE_SIZE / WORD_SIZE + 1], end = work.start + work.size;
    for (uintptr_t at = work.start, next; at < end; at = next) {
        next = size_min(align_down(at, PAGE_SIZE) + PAGE_SIZE, end);
        size_t more = next < end ? mark_overlap() : 0;
        size_t got = proc_mem_read(&roots.files->memory, buffer, at, next - at + more, true);
        mark_words(m, buffer, got / WORD_SIZE);
    }
}

/* A mapping in the arena: the program may have changed what is over the heap's own. */
static const char *note_own(const struct mapping *map)
{
    uintptr_t end = size_min(map->end, arena.base + ((uintptr_t)arena.committed << SLAB_SHIFT));
    if (map->start < arena.base || map->start >= end)
        return NULL;
    if (map->readable && map->kind == MAP_KIND_ANONYMOUS)
        return NULL;
    return protected_add(map->start, end) ? NULL : "the program protects too much of its heap";
}

static void scan_clipped(const struct mapping *map, uintptr_t start, uintptr_t end)
{
    struct mapping part = *map;
    part.start = size_max(map->start, start);
    part.end = size_min(map->end, end);
    if (part.start < part.end)
        scan_mapping(&part);
}

/* .inv.guarded: the edges of the pool may be joined to a mapping of the program's, too. */
static void scan_between(const struct mapping *map, uintptr_t start, uintptr_t end)
{
    uintptr_t low, high;
    guard_pool(&low, &high);
    scan_clipped(map, start, size_min(end, low));
    scan_clipped(map, size_max(start, high), end);
}

/* .inv.guarded */
static void scan_guarded(void)
{
    uintptr_t start, end;
    at_place(ROOTS_GUARDED, 0, 0);
    for (unsigned i = 0; guard_slot(i, &start, &end); i++)
        scan_pages(start, align_up(end, WORD_SIZE));
}

/* The kernel joins a mapping of the program's to the reservation's next to it (.inv.own). */
static const char *scan_line(const struct mapping *map)
{
    struct mapping own = *map;
    uintptr_t from = 0;
    for (unsigned i = 0; i < ARENA_PARTS; i++) {
        scan_between(map, from, arena.own[i].start);
        from = arena.own[i].end;
    }
    scan_between(map, from, UINTPTR_MAX);
    own.start = size_max(map->start, arena.own[ARENA_BLOCKS].start);
    own.end = size_min(map->end, arena.own[ARENA_BLOCKS].end);
    if (strncmp(map->name, "/[aio]", 6) == 0 || strcmp(map->name, "anon_inode:[io_uring]") == 0)
        roots.stats->interlock = requests_unseen;
    return own.start < own.end ? note_own(&own) : NULL;
}

static const char *scan_maps(void)
{
    struct mapping map;
    const char *reason = NULL;
    bool listed = false; /* .inv.listed */
    uintptr_t here = (uintptr_t)&map;
    roots.failed = false;
    if (!maps_open(&roots.maps, roots.maps_buffer, MAPS_BUFFER))
        return "/proc/thread-self/maps cannot be opened";
    /* While the program runs, mappings are split and joined between two reads of the file: a line
     * may tell again of what an earlier one told. */
    for (uintptr_t told = 0; reason == NULL && maps_next(&roots.maps, &map);) {
        map.start = size_max(map.start, told);
        if (map.start >= map.end)
            continue;
        told = map.end;
        listed |= here >= map.start && here < map.end;
        reason = scan_line(&map);
    }
    maps_close(&roots.maps);
    if (reason == NULL && (roots.maps.failed || !listed))
        reason = "/proc/thread-self/maps cannot be read";
    return reason == NULL && roots.failed ? "the page map cannot be read" : reason;
}

static void add_point(uintptr_t address, size_t stack, int kind)
{
    if (address != 0)
        roots.points[roots.point_count++] = (struct point){address, (uint32_t)stack, kind};
}

static void sift(struct point *heap, size_t at, size_t count)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1].address > heap[child].address)
            child++;
        if (heap[at].address >= heap[child].address)
            return;
        struct point other = heap[at];
        heap[at] = heap[child];
        heap[child] = other;
    }
}

/* Heapsort: in place, and without libc's qsort, which allocates. */
static void sort_points(void)
{
    struct point *heap = roots.points;
    for (size_t i = roots.point_count / 2; i-- > 0;)
        sift(heap, i, roots.point_count);
    for (size_t end = roots.point_count; end-- > 1;) {
        struct point last = heap[end];
        heap[end] = heap[0];
        heap[0] = last;
        sift(heap, 0, end);
    }
}

/* `alternate`: the thread's sigaltstack, whose address only the kernel may hold. `red_zone`: what
 * it has in use below its stack pointer. */
static void add_stack(int32_t tid, uintptr_t pointer, size_t red_zone, uintptr_t frame,
                      uintptr_t alternate)
{
    uintptr_t low = pointer - red_zone;
    /* The signal frame is on the same stack, below; or on an alternate one, scanned as found. */
    if (frame != 0 && frame < pointer && pointer - frame < READ_BUFFER)
        low = frame;
    tid_table_put(&roots.stack_index, tid, (uint16_t)roots.stack_count);
    add_point(pointer, roots.stack_count, POINT_POINTER);
    add_point(alternate, roots.stack_count, POINT_ALTERNATE);
    roots.stacks[roots.stack_count++] = (struct stack){low, 0, pointer, frame, 0, alternate, tid};
    mark_word(roots.marker, alternate);
}

static struct stack *stack_of(int32_t tid)
{
    uint16_t index;
    return tid_table_get(&roots.stack_index, tid, &index) ? &roots.stacks[index] : NULL;
}

/* Where a stopped thread's stack begins and ends. */
static void add_hint(const struct park *p, int32_t tid)
{
    struct stack *s = stack_of(tid);
    if (s == NULL)
        return;
    s->hint = p->stack_hint;
    s->own_low = p->stack_low;
    add_point(s->hint, (size_t)(s - roots.stacks), POINT_HINT);
}

/* A running thread: only where its stack is. */
static void add_running(const struct park *p, int32_t tid)
{
    if (roots.stack_count == WORLD_TASKS_MOST + 1)
        return;
    struct stack *s = &roots.stacks[roots.stack_count];
    *s = (struct stack){.hint = p->stack_hint, .own_low = p->stack_low, .tid = tid};
    add_point(s->hint, roots.stack_count++, POINT_HINT);
}

static void each_place(void (*add)(const struct park *p, int32_t tid))
{
    uint32_t count;
    struct park *places = park_places(&count);
    for (uint32_t i = 0; i < count; i++) {
        int32_t tid = relaxed_load(&places[i].tid);
        if (tid != 0)
            add(&places[i], tid);
    }
}

/* A stack in the arena: its block lives, and what is used of it, from `low` upward, is scanned like
 * any other stack. */
static void scan_stack_in_arena(uintptr_t pointer, uintptr_t low)
{
    struct block b;
    if (!arena_contains(pointer) || !block_find(pointer, &b))
        return;
    mark_word(roots.marker, pointer);
    look_at(NULL, 0, 0);
    scan_pages(align_down(size_max(low, b.start), WORD_SIZE), b.start + b.size);
}

static void scan_stacks_in_arena(void)
{
    for (size_t i = 0; i < roots.stack_count; i++) {
        at_place(ROOTS_STACK, 0, roots.stacks[i].tid);
        scan_stack_in_arena(roots.stacks[i].pointer, roots.stacks[i].low);
    }
    for (size_t i = 0; i < roots.stack_count; i++) { /* .inv.handed */
        at_place(ROOTS_STACK, 0, roots.stacks[i].tid);
        scan_stack_in_arena(roots.stacks[i].frame, roots.stacks[i].frame);
    }
}

/* Others have ended. */
static bool has_answered(const struct stopped_task *t)
{
    return acquire_load(&((struct stopped_task *)(uintptr_t)t)->here) == t->generation;
}

static void collect_stopped(const struct own_stack *self)
{
    size_t count;
    const struct stopped_task *tasks = world_tasks(&count);
    if (self->low != 0) {
        stack_t alternate = {0};
        syscall2(__NR_sigaltstack, 0, (long)&alternate);
        add_stack(self->tid, self->low, RED_ZONE, 0, (uintptr_t)alternate.ss_sp);
    }
    for (size_t i = 0; i < count; i++) {
        const struct stopped_task *t = &tasks[i];
        if (has_answered(t))
            add_stack(t->tid, t->stack_pointer, t->parked ? 0 : RED_ZONE, t->frame, t->alternate);
    }
    each_place(add_hint);
}

static void collect_stacks(const struct own_stack *self)
{
    roots.stack_count = roots.point_count = 0;
    tid_table_clear(&roots.stack_index);
    if (roots.pass == ROOTS_CONCURRENT) {
        lock_acquire(thread_registry_lock());
        each_place(add_running);
        lock_release(thread_registry_lock());
    } else {
        collect_stopped(self);
    }
    sort_points();
}

static const char no_task[] =
    "no thread of the program's is known, whose descriptors could be read";

/* Whose descriptors are read: the collector's thread has its own, any of the program's has the
 * program's. 0: the caller's. -1: none is known. */
static int32_t task_with_files(const struct own_stack *self)
{
    int32_t leader = (int32_t)syscall0(__NR_getpid);
    if (self->low != 0)
        return 0;
    for (size_t i = 0; i < roots.stack_count; i++)
        if (task_lives(roots.stacks[i].tid)) /* its place may have outlived it */
            return roots.stacks[i].tid;
    return task_lives(leader) ? leader : -1;
}

/* World stopped: one that has answered. */
static int32_t stopped_task_with_files(const struct own_stack *self)
{
    size_t count;
    const struct stopped_task *tasks = world_tasks(&count);
    if (self->low != 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (has_answered(&tasks[i]))
            return tasks[i].tid;
    int32_t leader = (int32_t)syscall0(__NR_getpid); /* the caller, then */
    return task_lives(leader) ? leader : -1;
}

const char *roots_scan_queues(struct marker *m, const struct roots_request *request)
{
    int32_t task = stopped_task_with_files(&request->self);
    return task < 0 ? no_task : queues_scan(m, task);
}

static bool has_place(int32_t task)
{
    uint32_t count;
    bool found = false;
    lock_acquire(thread_registry_lock());
    struct park *places = park_places(&count);
    for (uint32_t i = 0; i < count && !found; i++)
        found = relaxed_load(&places[i].tid) == task;
    lock_release(thread_registry_lock());
    return found;
}

/* Beside the program. A task on its way out has no descriptors any more, which looks like none: but
 * it leaves its place before that. */
static const char *scan_kernel_concurrently(struct marker *m, int32_t task)
{
    bool registered = task == 0 || has_place(task);
    held_forget_signals();
    const char *reason = kernel_roots_scan(m, task);
    if (reason == NULL)
        reason = queues_find_beside(task);
    if (reason != NULL || task == 0 || (task_lives(task) && has_place(task) == registered))
        return reason;
    return "a thread ended while its descriptors were read";
}

static const char *scan_kernel(struct marker *m, const struct own_stack *self)
{
    bool beside = roots.pass == ROOTS_CONCURRENT;
    int32_t task = beside ? task_with_files(self) : stopped_task_with_files(self);
    const char *reason;
    if (task < 0) {
        reason = no_task;
    } else if (beside) {
        reason = scan_kernel_concurrently(m, task);
    } else {
        reason = kernel_roots_scan(m, task);
        if (reason == NULL && roots.pass == ROOTS_ALL)
            reason = queues_scan(m, task);
    }
    if (queues_have_ring())
        roots.stats->interlock = requests_unseen;
    return reason == NULL ? held_mark(m) : reason;
}

static void mark_pin(uintptr_t block, void *data)
{
    mark_word(data, block);
}

/* .inv.left_out. What is not mapped is passed over. */
static void scan_included(void)
{
    struct root_ranges *out = &roots.left_out;
    for (size_t i = 0; i < out->count;) {
        struct page_range range = out->ranges[i];
        size_t at = root_ranges_find(&roots.excluded_now, range.start);
        const struct page_range *now = &roots.excluded_now.ranges[at];
        if (at < roots.excluded_now.count && now->start == range.start && now->end == range.end) {
            i++;
            continue;
        }
        root_ranges_cut(out, i);
        scan_pages(align_down(range.start, WORD_SIZE), align_up(range.end, WORD_SIZE));
    }
}

/* After kernel and registers, before memory. */
static void scan_told(struct marker *m)
{
    bool stopped = roots.pass != ROOTS_CONCURRENT;
    root_ranges_read(ROOT_RANGES_ADDED, &roots.added, stopped);
    root_ranges_read(ROOT_RANGES_EXCLUDED, &roots.excluded_now, stopped);
    scan_included();
    at_place(ROOTS_PINNED, 0, 0);
    pins_each(mark_pin, m); /* .inv.pins */
    look_at(NULL, 0, 0);
}

const char *roots_scan(struct marker *m, const struct roots_request *request,
                       struct roots_stats *stats)
{
    *stats = (struct roots_stats){0};
    roots.marker = m;
    roots.stats = stats;
    roots.seek = request->seek;
    roots.place = (struct roots_place){.kind = ROOTS_KERNEL};
    roots.pass = request->pass;
    roots.files = request->files;
    roots.read_shared_whole = swap_in_use();
    roots.barrier = request->barrier;
    relaxed_store(&m->read_carefully, read_carefully);
    protected_pass_begin();
    collect_stacks(&request->self);
    const char *reason = scan_kernel(m, &request->self); /* .inv.kernel: before any memory */
    look_at(NULL, 0, 0);
    m->note_newborn = request->pass != ROOTS_CONCURRENT;
    roots.unreadable = roots.code = false;
    roots.widen = (struct page_range){UINTPTR_MAX, 0};
    roots.want = PAGEMAP_POPULATED;
    scan_stacks_in_arena();
    scan_guarded();
    scan_told(m);
    if (reason == NULL)
        reason = scan_maps();
    protected_pass_end();
    mark_flush(m);
    m->note_newborn = false;
    if (request->pass == ROOTS_CONCURRENT)
        armed_turn();
    return reason;
}
