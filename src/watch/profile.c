/* profile.c -- writing a snapshot: everything that was recorded, as text.
 *
 * Names are not looked up here: the command does that, with all the time and libraries it wants.
 * What is written is what the other observers keep; only the census of reachable blocks is taken
 * for it, into the stacks' accounts, under the PROFILE lock.
 *
 *   .inv.once   One profile is written at a time: the census counts into the stacks' accounts. */
#include "watch/profile.h"

#include "cycle/probation.h"
#include "gc/own_thread.h"
#include "heap/census.h"
#include "heap/size_class.h"
#include "mutator/alloc.h"
#include "mutator/sampler.h"
#include "sys/clock.h"
#include "sys/event.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/options.h"
#include "sys/print.h"
#include "sys/syscall.h"
#include "sys/task.h"
#include "watch/history.h"
#include "watch/leak.h"
#include "watch/leak_report.h"
#include "watch/modules.h"
#include "watch/stack_table.h"
#include "watch/stats.h"

#include <string.h>

struct writer {
    struct printer out;
    uint64_t lines;
};

static struct {
    struct lock lock;
    /* Blocks without a stack that were reached, by class; 0: large. */
    struct { uint64_t blocks, bytes; } reached[SIZE_CLASS_COUNT];
    union {
        struct stats_cycle cycles[STATS_CYCLES];
        struct stats_moment moments[STATS_HISTORY];
    };
} profile = {.lock = LOCK_INIT(PROFILE)};

/* ---- pieces ---- */

static void GC_PRINTF_LIKE(2, 3) add(struct writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printer_vprintf(&w->out, format, args);
    va_end(args);
}

static void end_line(struct writer *w)
{
    add(w, "\n");
    w->lines++;
}

static void GC_PRINTF_LIKE(2, 3) line(struct writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printer_vprintf(&w->out, format, args);
    va_end(args);
    end_line(w);
}

static void add_text(struct writer *w, const char *text)
{
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c == 0x7f || c == '\\')
            add(w, "\\x%02x", c);
        else
            add(w, "%c", c);
    }
}

static void text_line(struct writer *w, const char *word, const char *text)
{
    add(w, "%s ", word);
    add_text(w, text);
    end_line(w);
}

/* ---- the process ---- */

static void write_program(struct writer *w)
{
    char path[4096];
    long length = syscall3(__NR_readlink, (long)"/proc/self/exe", (long)path, sizeof(path) - 1);
    path[length > 0 ? length : 0] = 0;
    text_line(w, "program", path);
}

/* Each argument is a text with a zero behind it. */
static void write_arguments(struct writer *w)
{
    char text[4096 + 1];
    long got = file_read("/proc/self/cmdline", text, sizeof(text) - 1);
    text[got > 0 ? got : 0] = 0;
    for (const char *at = text; at < text + got; at += strlen(at) + 1)
        text_line(w, "argument", at);
}

static void write_process(struct writer *w, enum profile_reason reason)
{
    static const char *const reasons[] = {"exit", "request", "signal", "periodic"};
    line(w, "gcmalloc-profile 2");
    line(w, "process %ld %ld %ld", syscall0(__NR_getpid), syscall0(__NR_getppid),
         syscall0(__NR_getuid));
    write_program(w);
    write_arguments(w);
    line(w, "started %lu", clock_started_unix_ns());
    line(w, "taken %lu %s", clock_uptime_ns(), reasons[reason]);
}

static void write_option(const char *name, const char *value, void *data)
{
    struct writer *w = data;
    add(w, "option %s ", name);
    add_text(w, value);
    end_line(w);
}

static void write_totals(struct writer *w)
{
    struct totals totals;
    stats_read(&totals, mem_resident());
#define TOTAL(name, kind, help) line(w, "total %s %lu", #name, totals.name);
    TOTALS(TOTAL)
#undef TOTAL
}

static void write_module(const struct module *m, void *data)
{
    struct writer *w = data;
    add(w, "module %lx %lx %lu %lu ", m->start, m->end, m->loaded, m->unloaded);
    for (uint32_t i = 0; i < m->build_id_size; i++)
        add(w, "%02x", m->build_id[i]);
    add(w, m->build_id_size == 0 ? "- " : " ");
    add_text(w, m->path);
    end_line(w);
}

static void write_threads(struct writer *w)
{
    enum { THREADS_MOST = 1024 };
    int32_t tids[THREADS_MOST];
    long count = task_list(tids, THREADS_MOST);
    for (long i = 0; i < count && i < THREADS_MOST; i++) {
        char name[32] = "";
        if (own_thread_has(tids[i]))
            continue;
        struct task_path path = task_path(tids[i], "comm", NULL);
        long got = file_read(path.text, name, sizeof(name) - 1);
        if (got < 0)
            continue;
        name[got > 0 ? got - 1 : 0] = 0; /* the newline */
        add(w, "thread %d ", tids[i]);
        add_text(w, name);
        end_line(w);
    }
}

/* ---- blocks ---- */

static void write_stack(uint32_t stack, void *data)
{
    struct writer *w = data;
    struct stack_own own;
    stack_table_own(stack, &own);
    add(w, own.kept != 0 ? "branch" : "stack");
    add(w, " %u %lu", stack, stack_table_time(stack));
    if (own.kept != 0)
        add(w, " %u %u", own.parent, own.kept);
    for (unsigned i = 0; i < own.count; i++)
        add(w, " %lx", own.pcs[i]);
    end_line(w);
}

static void write_site(uint32_t stack, void *data)
{
    struct stack_account *a = stack_table_account(stack);
    /* What is freed meanwhile must not seem to be more than what was allocated. */
    uint64_t freed = acquire_load(&a->freed_blocks), freed_bytes = acquire_load(&a->freed_bytes);
    line(data, "site %u %lu %lu %lu %lu", stack,
         sampler_whole(relaxed_load(&a->allocated_blocks)),
         sampler_whole(relaxed_load(&a->allocated_bytes)),
         sampler_whole(freed), sampler_whole(freed_bytes));
}

static void forget_reached(uint32_t stack, void *data)
{
    (void)data;
    struct stack_account *a = stack_table_account(stack);
    a->reached_blocks = a->reached_bytes = a->reached_parts = a->reached_byte_parts = 0;
}

static void count_reached(const struct census_entry *entry, void *data)
{
    (void)data;
    if (entry->unreached)
        return;
    if (stack_table_has(entry->stack)) {
        struct stack_account *a = stack_table_account(entry->stack);
        uint64_t parts = alloc_parts_of_size(entry->size);
        a->reached_blocks++;
        a->reached_bytes += entry->bytes;
        a->reached_parts += parts;
        a->reached_byte_parts += parts * entry->bytes;
    } else {
        unsigned class = entry->size == 0 ? 0 : size_class_of(entry->size);
        profile.reached[class].blocks++;
        profile.reached[class].bytes += entry->bytes;
    }
}

static void write_reached(uint32_t stack, void *data)
{
    const struct stack_account *a = stack_table_account(stack);
    if (a->reached_blocks != 0)
        line(data, "reach %u 0 %lu %lu %lu %lu", stack, a->reached_blocks, a->reached_bytes,
             sampler_whole(a->reached_parts), sampler_whole(a->reached_byte_parts));
}

static void write_census(struct writer *w)
{
    memset(profile.reached, 0, sizeof(profile.reached));
    stack_table_each(forget_reached, NULL);
    census_take(count_reached, NULL);
    stack_table_each(write_reached, w);
    for (unsigned i = 0; i < SIZE_CLASS_COUNT; i++)
        if (profile.reached[i].blocks != 0)
            line(w, "reach 0 %u %lu %lu", i == 0 ? 0 : size_classes[i].size,
                 profile.reached[i].blocks, profile.reached[i].bytes);
}

static void write_leak(struct writer *w, const struct leak_group *g)
{
    add(w, "leak %u %u %s %s %lu %lu %u %u", g->stack, g->block_size,
        g->indirect ? "indirect" : "direct", g->reclaimed ? "reclaimed" : "remaining", g->blocks,
        g->bytes, g->age_least, g->age_most);
    if (g->stack != 0)
        add(w, " %lu %lu", sampler_whole(g->parts), sampler_whole(g->byte_parts));
    end_line(w);
}

/* One by one: while it is written, which may take its time, nobody who has a leak to note waits. */
static void write_leaks(struct writer *w)
{
    struct leak_group g;
    for (size_t i = 0; leak_group(i, &g); i++)
        write_leak(w, &g);
}

static void write_contradictions(struct writer *w)
{
    uint32_t stack;
    uint64_t count;
    for (uint32_t i = 0; probation_site(i, &stack, &count); i++)
        if (count != 0)
            line(w, "contradiction %u %lu", stack, count);
}

/* ---- time ---- */

/* Both structs are arrays of 64-bit words. */
static void write_words(struct writer *w, const char *word, const void *from, size_t size)
{
    const uint64_t *words = from;
    add(w, "%s", word);
    for (size_t i = 0; i < size / sizeof(*words); i++)
        add(w, " %lu", words[i]);
    end_line(w);
}

static void write_history(struct writer *w)
{
    uint32_t count = history_cycles(profile.cycles);
    for (uint32_t i = 0; i < count; i++)
        write_words(w, "cycle", &profile.cycles[i], sizeof(profile.cycles[i]));
    count = history_moments(profile.moments);
    for (uint32_t i = 0; i < count; i++)
        write_words(w, "moment", &profile.moments[i], sizeof(profile.moments[i]));
}

static void write_events(struct writer *w)
{
    static const char *const kinds[] = {"NONE",
#define KIND(name, help) #name,
                                        EVENT_KINDS(KIND)
#undef KIND
    };
    uint64_t count = event_count(), from = count > EVENTS_KEPT ? count - EVENTS_KEPT : 0;
    struct event e;
    for (uint64_t i = from; i < count; i++)
        if (event_get(i, &e))
            line(w, "event %lu %u %s %lu %lu", e.time, e.thread, kinds[e.kind], e.a, e.b);
}

bool profile_write(int fd, enum profile_reason reason, const char *const *notes,
                   const char *unrecorded)
{
    struct writer w = {.lines = 0};
    lock_acquire(&profile.lock);
    printer_start(&w.out, fd);
    write_process(&w, reason);
    options_each(write_option, &w);
    write_totals(&w);
    for (; *notes != NULL; notes++)
        text_line(&w, "note", *notes);
    if (unrecorded != NULL)
        text_line(&w, "unrecorded", unrecorded);
    modules_each(write_module, &w);
    if (modules_forgotten() != 0)
        line(&w, "forgotten %lu", modules_forgotten());
    write_threads(&w);
    stack_table_each(write_stack, &w);
    stack_table_each(write_site, &w);
    write_census(&w);
    write_leaks(&w);
    write_contradictions(&w);
    write_history(&w);
    write_events(&w);
    add(&w, "end %lu\n", w.lines);
    printer_flush(&w.out);
    lock_release(&profile.lock);
    return !w.out.failed;
}

struct lock *profile_lock(void)
{
    return &profile.lock;
}
