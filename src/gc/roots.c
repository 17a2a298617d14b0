/* roots.c -- reading the process's mappings as roots.
 *
 * Theory: a root is any readable private page that was written, and shared memory; not the segments
 * a linker knows of. /proc/thread-self/maps lists the mappings, the pagemap says which pages exist,
 * and the program's memory is read with process_vm_readv into a buffer, so that a page which cannot
 * be read (a guard page, a truncated file) is skipped instead of faulting.
 *
 *   .inv.own        The library's reservation and static data are not roots.
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
 * Shared memory: a page without an entry in our page tables may still hold data, which neither
 * pagemap source reports; mincore knows it unless it was swapped out. So with swap in use shared
 * memory is read whole, and else the pages that pagemap or mincore report. */
#include "gc/roots.h"

#include "base/check.h"
#include "gc/protected.h"
#include "gc/world.h"
#include "heap/slab.h"
#include "mutator/thread.h"
#include "sys/lock.h"
#include "sys/maps.h"
#include "sys/proc_mem.h"
#include "sys/syscall.h"

#include <linux/sysinfo.h>
#include <signal.h>

enum {
    RED_ZONE = 128,
    MAPS_BUFFER = 64 << 10,
    /* Read at a time: half of a usual L2 cache. */
    READ_BUFFER = 256 << 10,
    EXCLUDED_MOST = 4,
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

static struct {
    struct pagemap pagemap;
    struct proc_mem memory;
    struct maps_reader maps;
    struct page_range excluded[EXCLUDED_MOST];
    unsigned excluded_count;
    bool read_shared_whole;
    char *maps_buffer, *read_buffer;
    unsigned char *core;
    struct stack stacks[WORLD_TASKS_MOST + 1]; /* of this stop */
    size_t stack_count;
    struct marker *marker;
    struct roots_stats *stats;
    bool unreadable;        /* the mapping being scanned is PROT_NONE */
} roots;

void roots_exclude(uintptr_t start, uintptr_t end)
{
    GC_CHECK(roots.excluded_count < EXCLUDED_MOST);
    roots.excluded[roots.excluded_count++] = (struct page_range){start, end};
}

static bool get_buffers(void)
{
    if (roots.core != NULL)
        return true;
    roots.maps_buffer = meta_alloc(MAPS_BUFFER);
    roots.read_buffer = meta_alloc(READ_BUFFER);
    if (roots.maps_buffer == NULL || roots.read_buffer == NULL)
        return false;
    roots.core = meta_alloc(CORE_PAGES);
    return roots.core != NULL;
}

static bool swap_in_use(void)
{
    struct sysinfo info;
    return syscall1(__NR_sysinfo, (long)&info) != 0 || info.totalswap != info.freeswap;
}

const char *roots_prepare(void)
{
    return get_buffers() ? NULL : "no memory for the root scanner's buffers";
}

const char *roots_open(void)
{
    const char *reason = roots_prepare();
    if (reason != NULL)
        return reason;
    if (!pagemap_open(&roots.pagemap))
        return "/proc/thread-self/pagemap cannot be opened";
    if (!proc_mem_open(&roots.memory)) {
        pagemap_close(&roots.pagemap);
        return "the process cannot read its own memory (process_vm_readv, /proc/thread-self/mem)";
    }
    roots.read_shared_whole = swap_in_use();
    return NULL;
}

void roots_close(void)
{
    proc_mem_close(&roots.memory);
    pagemap_close(&roots.pagemap);
}

struct pagemap *roots_pagemap(void)
{
    return &roots.pagemap;
}

static void scan_pages(uintptr_t start, uintptr_t end)
{
    while (start < end) {
        size_t want = size_min(end - start, READ_BUFFER);
        size_t got = proc_mem_read(&roots.memory, roots.read_buffer, start, want,
                                   roots.unreadable);
        got = align_down(got, WORD_SIZE);
        mark_words(roots.marker, (const uintptr_t *)(const void *)roots.read_buffer,
                   got / WORD_SIZE);
        roots.stats->other_bytes += got;
        start = got == want ? start + got : align_down(start + got, PAGE_SIZE) + PAGE_SIZE;
    }
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
    scan_pages(start, end);
}

static void scan_range(uintptr_t start, uintptr_t end, void *data)
{
    (void)data;
    scan_allowed(start, end, 0);
}

static const char *scan_populated(uintptr_t start, uintptr_t end, enum pagemap_want want)
{
    bool complete = pagemap_each(&roots.pagemap, want, start, end, scan_range, NULL);
    return complete ? NULL : "the page map cannot be read";
}

static void scan_in_core(uintptr_t start, uintptr_t end)
{
    for (uintptr_t at = start; at < end; at += (uintptr_t)CORE_PAGES << PAGE_SHIFT) {
        size_t pages = size_min((end - at) >> PAGE_SHIFT, CORE_PAGES);
        bool known = syscall3(__NR_mincore, (long)at, (long)(pages << PAGE_SHIFT),
                              (long)roots.core) == 0;
        for (size_t i = 0; i < pages; i++)
            if (!known || (roots.core[i] & 1))
                scan_pages(at + (i << PAGE_SHIFT), at + ((i + 1) << PAGE_SHIFT));
    }
}

static void scan_shared(uintptr_t start, uintptr_t end)
{
    if (roots.read_shared_whole)
        scan_pages(start, end);
    else
        scan_in_core(start, end);
}

/* The one registered thread whose own stack is in the mapping, if .inv.stack's terms hold. */
static const struct stack *narrowing_stack(const struct mapping *map)
{
    const struct stack *only = NULL;
    for (size_t i = 0; i < roots.stack_count; i++) {
        const struct stack *s = &roots.stacks[i];
        bool hint_in = s->hint >= map->start && s->hint < map->end;
        bool pointer_in = s->pointer >= map->start && s->pointer < map->end;
        if (s->alternate >= map->start && s->alternate < map->end)
            return NULL;
        if (!hint_in && !pointer_in)
            continue;
        if (only != NULL || !hint_in || !pointer_in || s->hint < s->pointer)
            return NULL;
        only = s;
    }
    return only;
}

static const char *scan_anonymous(const struct mapping *map)
{
    uintptr_t start = map->start;
    const struct stack *stack = narrowing_stack(map);
    if (stack != NULL && stack->low > start)
        start = align_down(stack->low, WORD_SIZE);
    if (stack == NULL)
        return scan_populated(start, map->end, PAGEMAP_POPULATED);
    /* Below the thread's own stack the mapping may hold anything. */
    uintptr_t below = size_min(align_up(stack->own_low, PAGE_SIZE), start);
    const char *reason = below > map->start
                             ? scan_populated(map->start, below, PAGEMAP_POPULATED) : NULL;
    if (reason != NULL)
        return reason;
    uint64_t before = roots.stats->other_bytes;
    /* The first page is cut; the rest goes by what exists (a stack may be deep but sparse). */
    uintptr_t page = size_min(align_up(start, PAGE_SIZE), map->end);
    scan_allowed(start, page, 0);
    reason = scan_populated(page, map->end, PAGEMAP_POPULATED);
    roots.stats->stack_bytes += roots.stats->other_bytes - before;
    roots.stats->other_bytes = before;
    return reason;
}

static const char *scan_mapping(const struct mapping *map)
{
    roots.unreadable = !map->readable;
    switch (map->kind) {
    case MAP_KIND_ANONYMOUS:
        return scan_anonymous(map);
    case MAP_KIND_FILE_PRIVATE:
        return scan_populated(map->start, map->end, PAGEMAP_COPIED);
    case MAP_KIND_SHARED_MEMORY:
        scan_shared(map->start, map->end);
        return NULL;
    default:
        return NULL;
    }
}

static bool whole_is_own(const struct mapping *map)
{
    return map->start >= arena.reserved && map->end <= arena.reserved_end;
}

/* For marker.scan_protected. */
static void scan_protected_block(struct marker *m, struct work work)
{
    GC_ASSERT(m == roots.marker);
    roots.unreadable = true;
    scan_pages(work.start, work.start + work.size);
}

/* A mapping in the reservation: the program may have changed what is over the heap's own. */
static const char *note_own(const struct mapping *map)
{
    uintptr_t end = size_min(map->end, arena.base + ((uintptr_t)arena.committed << SLAB_SHIFT));
    if (map->start < arena.base || map->start >= end)
        return NULL;
    if (map->readable && map->kind == MAP_KIND_ANONYMOUS)
        return NULL;
    return protected_add(map->start, end) ? NULL : "the program protects too much of its heap";
}

/* `known`: an address that is surely mapped (.inv.listed). */
static const char *scan_maps(uintptr_t known)
{
    struct mapping map;
    const char *reason = NULL;
    bool listed = false;
    if (!maps_open(&roots.maps, roots.maps_buffer, MAPS_BUFFER))
        return "/proc/thread-self/maps cannot be opened";
    while (reason == NULL && maps_next(&roots.maps, &map)) {
        listed |= known >= map.start && known < map.end;
        reason = whole_is_own(&map) ? note_own(&map) : scan_mapping(&map);
    }
    if (reason == NULL && (roots.maps.failed || !listed))
        reason = "/proc/thread-self/maps cannot be read";
    maps_close(&roots.maps);
    return reason;
}

/* `alternate`: the thread's sigaltstack, whose address only the kernel may hold. */
static void add_stack(int32_t tid, uintptr_t pointer, uintptr_t frame, uintptr_t alternate)
{
    uintptr_t low = pointer - RED_ZONE;
    /* The signal frame is on the same stack, below; or on an alternate one, scanned as found. */
    if (frame != 0 && frame < pointer && pointer - frame < READ_BUFFER)
        low = frame;
    roots.stacks[roots.stack_count++] = (struct stack){low, 0, pointer, frame, 0, alternate, tid};
    mark_word(roots.marker, alternate);
}

static void add_hint(struct thread *thread, void *data)
{
    (void)data;
    for (size_t i = 0; i < roots.stack_count; i++)
        if (roots.stacks[i].tid == thread->tid) {
            roots.stacks[i].hint = thread->stack_hint;
            roots.stacks[i].own_low = thread->stack_low;
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
    scan_pages(align_down(size_max(low, b.start), WORD_SIZE), b.start + b.size);
}

static void collect_stacks(const struct own_stack *self)
{
    size_t count;
    const struct stopped_task *tasks = world_tasks(&count);
    roots.stack_count = 0;
    stack_t alternate = {0};
    syscall2(__NR_sigaltstack, 0, (long)&alternate);
    add_stack(self->tid, self->low, 0, (uintptr_t)alternate.ss_sp);
    for (size_t i = 0; i < count; i++)
        if (acquire_load(&((struct stopped_task *)(uintptr_t)&tasks[i])->here) ==
            tasks[i].generation)
            add_stack(tasks[i].tid, tasks[i].stack_pointer, tasks[i].frame,
                      tasks[i].alternate);
    thread_each_locked(add_hint, NULL);
}

const char *roots_scan(struct marker *m, const struct own_stack *self, struct roots_stats *stats)
{
    *stats = (struct roots_stats){0, 0};
    roots.marker = m;
    roots.stats = stats;
    m->scan_protected = scan_protected_block;
    protected_reset();
    collect_stacks(self);
    m->note_newborn = true;
    roots.unreadable = false;
    for (size_t i = 0; i < roots.stack_count; i++)
        scan_stack_in_arena(roots.stacks[i].pointer, roots.stacks[i].low);
    for (size_t i = 0; i < roots.stack_count; i++) /* .inv.handed */
        scan_stack_in_arena(roots.stacks[i].frame, roots.stacks[i].frame);
    const char *reason = scan_maps(self->low);
    mark_flush(m);
    m->note_newborn = false;
    return reason;
}
