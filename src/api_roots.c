/* api_roots.c -- gcmalloc.h, section 4: what is a root, pins, leaf memory, what keeps a block.
 *
 * Arguments are checked here, and results become errno; what is done is in gc/root_ranges.c,
 * mutator/pins.c, mutator/alloc.c and gc/why.c. With mode=off, or without an arena, nothing is ever
 * reclaimed: then all is as without the library. A signal handler that interrupted one of our slow
 * paths is told to come again (EAGAIN): it could wait for a lock that its own thread holds. */
#define GCMALLOC_IMPLEMENTATION
#include "gcmalloc.h"

#include "api.h"
#include "cycle/collector.h"
#include "gc/root_ranges.h"
#include "gc/why.h"
#include "mutator/alloc.h"
#include "mutator/entry.h"
#include "mutator/pins.h"
#include "runtime.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/print.h"
#include "watch/stack_table.h"
#include "watch/symbol.h"

#include <string.h>

void *leaf_miss(size_t size);
void *leaf_slow(size_t size);

ENTRY_STUB(leaf_miss, leaf_slow);

/* ---- ranges ---- */

static int change_range(const void *start, size_t size, enum root_ranges_kind kind,
                        enum root_ranges_result (*change)(enum root_ranges_kind kind,
                                                          struct page_range range))
{
    static const int errors[] = {[ROOT_RANGES_OVERLAP] = EEXIST, [ROOT_RANGES_UNKNOWN] = ENOENT,
                                 [ROOT_RANGES_FULL] = ENOMEM};
    struct page_range range = {(uintptr_t)start, (uintptr_t)start + size};
    runtime_start();
    if (start == NULL || size == 0 || range.end < range.start ||
        range.end > UINTPTR_MAX - PAGE_SIZE)
        return api_fail(EINVAL);
    if (!runtime_has_collector())
        return 0;
    if (lock_any_held())
        return api_fail(EAGAIN);
    enum root_ranges_result result = change(kind, range);
    return result == ROOT_RANGES_DONE ? 0 : api_fail(errors[result]);
}

int gcmalloc_add_roots(const void *start, size_t size)
{
    return change_range(start, size, ROOT_RANGES_ADDED, root_ranges_add);
}

int gcmalloc_remove_roots(const void *start, size_t size)
{
    return change_range(start, size, ROOT_RANGES_ADDED, root_ranges_remove);
}

int gcmalloc_exclude(const void *start, size_t size)
{
    return change_range(start, size, ROOT_RANGES_EXCLUDED, root_ranges_add);
}

int gcmalloc_include(const void *start, size_t size)
{
    return change_range(start, size, ROOT_RANGES_EXCLUDED, root_ranges_remove);
}

/* ---- pins ---- */

static enum pins_result pin(uintptr_t block)
{
    return pins_add(block, PINS_PINNED);
}

static enum pins_result ignore(uintptr_t block)
{
    return pins_add(block, PINS_IGNORED);
}

static int change_pin(void *block, enum pins_result (*change)(uintptr_t block))
{
    static const int errors[] = {[PINS_UNKNOWN] = EINVAL, [PINS_FULL] = ENOMEM};
    runtime_start();
    if (block == NULL)
        return api_fail(EINVAL);
    if (!runtime_has_collector())
        return 0;
    if (lock_any_held())
        return api_fail(EAGAIN);
    enum alloc_use use = alloc_use(block);
    if (use != ALLOC_BLOCK)
        return use == ALLOC_LIBC ? 0 : api_fail(EINVAL);
    enum pins_result result = change((uintptr_t)block);
    return result == PINS_DONE ? 0 : api_fail(errors[result]);
}

int gcmalloc_pin(void *block)
{
    return change_pin(block, pin);
}

int gcmalloc_unpin(void *block)
{
    return change_pin(block, pins_remove);
}

int gcmalloc_ignore(void *block)
{
    return change_pin(block, ignore);
}

/* ---- leaf memory ---- */

void *leaf_slow(size_t size)
{
    runtime_start();
    return alloc_leaf(size);
}

void *gcmalloc_alloc_leaf(size_t size)
{
    return leaf_miss(size);
}

void *gcmalloc_block_of(const void *address, size_t *size)
{
    size_t usable = 0;
    void *block = lock_any_held() ? NULL : alloc_block_of(address, &usable);
    if (block != NULL && size != NULL)
        *size = usable;
    return block;
}

/* ---- what keeps a block ---- */

/* What there is no room for is counted only. */
struct text {
    char *buffer;
    size_t room, length;
};

static void add_text(struct text *t, const struct printer *line)
{
    if (t->length < t->room) {
        size_t most = size_min(line->used, t->room - t->length - 1);
        memcpy(t->buffer + t->length, line->text, most);
        t->buffer[t->length + most] = 0;
    }
    t->length += line->used;
}

static void print_place(struct printer *out, const struct roots_place *p)
{
    uintptr_t offset = p->address - p->start;
    if (p->kind == ROOTS_KERNEL)
        printer_printf(out, "held by the kernel, or in a message");
    else if (p->kind == ROOTS_PINNED)
        printer_printf(out, "pinned or ignored by the program");
    else if (p->kind == ROOTS_GUARDED)
        printer_printf(out, "guarded block, at 0x%lx", p->address);
    else if (p->kind == ROOTS_STACK)
        printer_printf(out, "stack of thread %d, at 0x%lx", p->tid, p->address);
    else if (p->kind == ROOTS_REGISTER)
        printer_printf(out, "register of thread %d", p->tid);
    else if (p->kind == ROOTS_ADDED)
        printer_printf(out, "added roots, at 0x%lx", p->address);
    else if (p->name[0] == '/')
        printer_printf(out, "static data of %s+0x%lx", p->name, offset);
    else
        printer_printf(out, "mapping %s at 0x%lx+0x%lx",
                       p->name[0] != 0 ? p->name : "without a name", p->start, offset);
    printer_printf(out, "\n");
}

static void print_step(struct printer *out, const struct why_step *step,
                       struct symbol_reader *reader)
{
    uintptr_t pcs[STACK_DEPTH_MAX];
    struct symbol s;
    printer_printf(out, "block of %zu bytes at 0x%lx", step->size, step->start);
    if (stack_table_get(step->stack, pcs) != 0) {
        symbol_find(reader, pcs[0] - 1, &s);
        printer_printf(out, " allocated from ");
        if (s.function[0] != 0)
            printer_printf(out, "%s ", s.function);
        printer_printf(out, "(%s+0x%lx)", s.module, s.module_offset);
    }
    printer_printf(out, "\n");
}

static void print_why(struct text *text, const struct why *why)
{
    struct symbol_reader reader;
    struct printer line;
    symbol_reader_open(&reader, NULL);
    printer_start(&line, -1);
    print_place(&line, &why->place);
    add_text(text, &line);
    for (size_t i = 0; i < why->count; i++) {
        if (why->skipped != 0 && i == why->count - 1) {
            printer_start(&line, -1);
            printer_printf(&line, "and %zu more blocks\n", why->skipped);
            add_text(text, &line);
        }
        printer_start(&line, -1);
        print_step(&line, &why->steps[i], &reader);
        add_text(text, &line);
    }
    symbol_reader_close(&reader);
}

struct question {
    uintptr_t block;
    struct why *why;
};

static void look_why(const struct roots_request *all, void *data)
{
    const struct question *q = data;
    why_find(all, q->block, q->why);
}

/* What the caller has on its stack begins at `low`, above our own frames: the block's address is
 * in these, and must not be in a mapping. */
static GC_NOINLINE long find_why(const void *block, struct text *text, struct why *why,
                                 uintptr_t low)
{
    struct question question = {(uintptr_t)block, why};
    if (!collector_inspect(look_why, &question, low))
        return api_fail(EAGAIN);
    if (!why->complete)
        return api_fail(ENOMEM);
    if (why->reached)
        print_why(text, why);
    return (long)text->length;
}

long gcmalloc_why_alive(const void *block, char *buffer, size_t room)
{
    uintptr_t low = (uintptr_t)__builtin_frame_address(0) + 2 * WORD_SIZE;
    struct text text = {buffer, buffer == NULL ? 0 : room, 0};
    runtime_start();
    if (text.room != 0)
        buffer[0] = 0;
    if (!runtime_has_collector())
        return api_fail(ENOSYS);
    if (lock_any_held())
        return api_fail(EAGAIN);
    if (block == NULL || alloc_use(block) != ALLOC_BLOCK || !arena_contains((uintptr_t)block))
        return api_fail(EINVAL);
    struct why *why = mem_map(align_up(sizeof *why, PAGE_SIZE));
    if (why == NULL)
        return api_fail(ENOMEM);
    long length = find_why(block, &text, why, low);
    mem_release(why, align_up(sizeof *why, PAGE_SIZE));
    return length;
}
